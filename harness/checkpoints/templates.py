"""Chat templates rendered within bounds of time, memory and size.

A template is a program that came with a checkpoint: it may loop for ever, or ask for a text of a terabyte. It is
rendered in a child process (`harness.checkpoints.template_worker`), which all templates of this process share.

Only what a template takes is its fault: computing time, memory, size, a crash. A child that cannot be started, or that
the system ends, is a fault of the machine and raises HarnessError.

Not here: what a template does to conversations (`harness.backends.chat`).
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.checkpoints import template_worker
from harness.checkpoints.types import Tokenizer
from harness.errors import HarnessError


class TemplateRenderingError(Exception):
    """A template that cannot be rendered; the message says why, on one line."""


class Bounds(NamedTuple):
    """What rendering may take."""

    seconds: float = 10.0
    """Seconds of computing for one conversation."""
    average: float = 0.1
    """Seconds of computing for each of many conversations."""
    memory: int = 1 << 30
    """Bytes of memory."""
    characters: int = 1 << 24
    """Characters of one text."""
    growth: int = 16
    """Characters of all texts together for each character of the conversations. In addition, `characters` are allowed,
    and 1,000 for each text."""
    waiting: float = 300.0
    """Seconds of waiting for a machine that is busy with something else."""


BOUNDS = Bounds()


@dataclass
class _Use:
    """What one template has taken so far."""

    texts: int = 0
    """Number of texts."""
    seconds: float = 0.0
    """Seconds of computing."""
    received: int = 0
    """Characters of the conversations."""
    written: int = 0
    """Characters of the texts."""
    fault: str = ""
    """The bound that the template exceeded; empty if it exceeded none. A template with a fault is not rendered
    again."""

    def excess(self, bounds: Bounds) -> str:
        """Return how the template exceeds `bounds` over all its texts; empty if it does not."""
        if self.seconds > bounds.seconds * 3 + bounds.average * self.texts:
            return f"it took {self.seconds:.0f} seconds of computing for {self.texts:,} conversations"
        if self.written > bounds.characters + 1000 * self.texts + bounds.growth * self.received:
            return f"it wrote {self.written:,} characters for {self.texts:,} conversations of {self.received:,}"
        return ""


_uses: dict[str, _Use] = {}
"""What each template has taken, by its text."""


def render(tokenizer: Tokenizer, turns: Sequence[Mapping[str, Any]], bounds: Bounds = BOUNDS, **settings: Any) -> str:
    """Return the conversation `turns` as the tokenizer's chat template writes it.

    `settings` are those of transformers' `apply_chat_template`, and variables of the template. Raises
    TemplateRenderingError if the template raises any exception or exceeds `bounds`. A template that exceeded them is
    not rendered again. Raises HarnessError if the child process cannot be started or does not answer.
    """
    from transformers import PreTrainedTokenizerBase

    if getattr(type(tokenizer), "apply_chat_template", None) is not PreTrainedTokenizerBase.apply_chat_template:
        try:  # a tokenizer that renders conversations by code of its own rather than by a template
            return str(tokenizer.apply_chat_template(list(turns), tokenize=False, **settings))
        except Exception as error:
            raise TemplateRenderingError(_line(str(error) or type(error).__name__)) from error
    return str(_rendered(tokenizer, turns, bounds, settings)["text"])


class Rendered(NamedTuple):
    """A conversation as text, and the parts of the text that the template marks as generated."""

    text: str
    spans: list[tuple[int, int]]
    """First character and end of each part between `{% generation %}` and `{% endgeneration %}`, in order."""


def marks_answers(tokenizer: Tokenizer) -> bool:
    """Return whether the tokenizer's chat template marks what is generated, with `{% generation %}`."""
    try:
        template = tokenizer.get_chat_template()
    except Exception:  # without a template, or with several of which none is the default
        return False
    return re.search(r"\{%[-+]?\s*generation\s*[-+]?%\}", template) is not None


def render_marked(tokenizer: Tokenizer, turns: Sequence[Mapping[str, Any]], bounds: Bounds = BOUNDS) -> Rendered:
    """Return the conversation `turns` as `render` does, and what of it the template marks as generated.

    Raises the errors of `render`.
    """
    reply = _rendered(tokenizer, turns, bounds, {"return_assistant_tokens_mask": True})
    return Rendered(str(reply["text"]), [(int(start), int(end)) for start, end in reply.get("spans", [])])


def _rendered(
    tokenizer: Tokenizer, turns: Sequence[Mapping[str, Any]], bounds: Bounds, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the child's reply to a conversation. Raises the errors of `render`."""
    try:
        template = tokenizer.get_chat_template()
    except Exception as error:  # several templates, none of them named default
        raise TemplateRenderingError(_line(str(error))) from error
    use = _uses.setdefault(template, _Use())
    if use.fault:
        raise TemplateRenderingError(use.fault)
    request = {
        "template": template,
        "turns": [{key: value for key, value in turn.items() if value is not None} for turn in turns],
        "settings": {**tokenizer.special_tokens_map, **settings},
        "seconds": bounds.seconds,
        "memory": bounds.memory,
        "characters": bounds.characters,
    }
    reply = _WORKER.request(request, bounds)
    text = str(reply.get("text", ""))
    use.texts += 1
    use.seconds += float(reply.get("seconds", 0.0))
    use.received += sum(len(str(value)) for turn in turns for value in turn.values())
    use.written += len(text)
    use.fault = reply["error"] if reply.get("excess") else use.excess(bounds)
    if not use.fault and not _is_text(text) and all(_is_text(str(v)) for turn in turns for v in turn.values()):
        use.fault = "it writes half of a surrogate pair, which is no character"
    if use.fault or "error" in reply:
        raise TemplateRenderingError(_line(use.fault or reply["error"]))
    return reply


def is_quick(pattern: str, names: Sequence[str], bounds: Bounds = BOUNDS) -> bool:
    """Return whether matching `pattern` against each of `names` takes at most a fifth of the time for a conversation.

    Beyond 10,000 names, such as those of many experts, each name takes its share.
    The pattern comes with a checkpoint, as a template does, and is matched in the same process. Raises HarnessError if
    the child process cannot be started or does not answer.
    """
    seconds = bounds.seconds / 5 * max(1.0, len(names) / 10_000)
    request = {"pattern": pattern, "names": list(names), "seconds": seconds, "memory": bounds.memory}
    reply = _WORKER.request(request, bounds)
    return not (reply.get("excess") or reply.get("crash"))


_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
"""Signals by which a process ends through what it computes itself."""


class _Worker:
    """The child process, started at the first request and again after it was ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # a forked copy of this process must not talk to its parent's child

    def request(self, content: dict[str, Any], bounds: Bounds) -> dict[str, Any]:
        """Return the child's reply to `content`.

        The reply says so if `content` made the child exceed a bound (`excess`) or, twice, end itself (`crash`).
        Raises HarnessError if the child cannot be started, gives no reply in time, or is ended by something else.
        """
        with self._lock:
            code = self._exchange(content, bounds)
            if isinstance(code, int):  # it may have been ended before it received the request
                code = self._exchange(content, bounds)
            if not isinstance(code, int):
                return code
            cause = f"signal {-code}" if code < 0 else f"exit code {code}"
            if -code in _CRASHES:
                return {"error": f"it ended the process that rendered it, with {cause}", "crash": True}
            raise HarnessError(
                f"the process for chat templates was ended twice, with {cause}, as a system that is short of memory "
                "does: give the command again when more memory is free"
            )

    def _exchange(self, content: dict[str, Any], bounds: Bounds) -> dict[str, Any] | int:
        """Return the child's reply to `content`; if the child ended without one, its exit code."""
        process = self._started(bounds)
        assert process.stdin is not None
        try:
            template_worker.send(process.stdin, content)
            reply = _received(process, bounds)
        except ConnectionError:
            reply = {}
        except BaseException:  # such as Ctrl-C: the reply that is still to come belongs to no later request
            self._end()
            raise
        if reply is None:
            self._end()
            raise HarnessError(
                f"the process for chat templates gave no reply within {bounds.waiting:g} seconds, as on a machine that "
                "is too busy: give the command again when it is not"
            )
        if reply.get("ended") == -signal.SIGPROF:
            return {"error": f"it takes more than {content['seconds']:g} seconds of computing", "excess": True}
        if not reply or "ended" in reply:
            code = self._end()
            return int(reply.get("ended", code))
        return reply

    def _started(self, bounds: Bounds) -> subprocess.Popen[bytes]:
        """Return the child that runs; start one if there is none."""
        if self._process is not None and self._owner == os.getpid() and self._process.poll() is None:
            return self._process
        # -P: a folder of this package or of the user on the path would hide modules of the standard library.
        command = [sys.executable or "python3", "-P", str(Path(template_worker.__file__))]
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
        except OSError as error:
            raise _not_started(f"{command[0]}: {error.strerror}") from error
        self._process, self._owner = process, os.getpid()
        try:
            greeting = _received(process, bounds)
        except BaseException:
            self._end()
            raise
        if not (greeting or {}).get("ready"):
            code = self._end()
            if greeting is None:
                raise _not_started(f"not ready after {bounds.waiting:g} seconds")
            raise _not_started(greeting.get("failure") or f"{command[0]} ended with code {code}")
        return process

    def _end(self) -> int:
        """End the child and return its exit code, negative for a signal."""
        process, self._process = self._process, None
        assert process is not None
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):  # what was not sent cannot be flushed
                    stream.close()
        try:
            return process.wait(0.5)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with its fork
            return process.wait()


def _received(process: subprocess.Popen[bytes], bounds: Bounds) -> dict[str, Any] | None:
    """Return the next message of the child; {} at its end, None if there is none in time."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(bounds.waiting):
            return None
    return template_worker.receive(process.stdout)


def _not_started(reason: str) -> HarnessError:
    return HarnessError(
        f"the process for chat templates cannot be started ({_line(reason)}): check that this Python can start itself "
        "and import transformers, and that the machine has memory left"
    )


def _is_text(text: str) -> bool:
    """Return whether `text` can be written in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _line(message: str) -> str:
    """Return `message` on one line, shortened to what a person reads."""
    line = " ".join(message.encode("utf-8", "replace").decode().split())
    return line if len(line) <= 300 else f"{line[:300]}…"


_WORKER = _Worker()
