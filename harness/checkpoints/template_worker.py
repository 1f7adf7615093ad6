"""The child process in which chat templates run, started by `harness.checkpoints.templates`.

A template is a program that came with a checkpoint. transformers' own function renders it, in a process whose computing
time and memory the operating system bounds, because neither a sandbox nor a count of steps stops one long call in C.

The process reads requests from its standard input and writes a reply to each to its standard output: 8 bytes of length,
then JSON. Its first message says whether it is ready. Requests are answered in a fork of it, so that only a fork ends
with a template that exceeds a bound: importing transformers takes seconds, a fork milliseconds. It imports nothing of
this package.
"""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any


def main() -> None:
    """Answer requests until the input ends, in one fork after another."""
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("r+b") as nothing:  # what a library prints must not come between replies
        for descriptor in (0, 1, 2):
            os.dup2(nothing.fileno(), descriptor)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they end the parent, which closes the input
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # the timer of _answer ends the fork, even within one call
    try:
        from transformers.utils import chat_template_utils
    except BaseException as error:
        send(target, {"failure": f"{type(error).__name__}: {error}"[:300]})
        return
    send(target, {"ready": True})
    while (code := _forked(source, target, chat_template_utils)) != 0:
        send(target, {"ended": code})


def _forked(source: IO[bytes], target: IO[bytes], library: Any) -> int:
    """Answer requests in a fork until the input ends, or the fork; return its exit code, negative for a signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        is_bounded = False
        while request := receive(source):
            if not is_bounded:
                _bound_memory(request["memory"])
                is_bounded = True
            send(target, _answer(request, library))
        code = 0
    finally:
        os._exit(code)


def _answer(request: dict[str, Any], library: Any) -> dict[str, Any]:
    """Return the reply to `request`: the `text` or the `error`, and in both cases the `seconds` of computing.

    With the setting `return_assistant_tokens_mask`, `spans` has the characters between the marks of generated texts.
    """
    before = time.process_time()
    reply = _rendered(request, library)
    return {**reply, "seconds": time.process_time() - before}


def _rendered(request: dict[str, Any], library: Any) -> dict[str, Any]:
    signal.setitimer(signal.ITIMER_PROF, request["seconds"])
    try:
        if "pattern" in request:
            with suppress(re.error):  # which PEFT reports
                for name in request["names"]:
                    for form in (r"{}$", r"(.*\.)?({})$", r"(?:^|.*?\.){}\.(\d+)\."):
                        re.match(form.replace("{}", request["pattern"]), name)
            return {"text": ""}
        texts, spans = library.render_jinja_template(
            conversations=[request["turns"]], chat_template=request["template"], **request["settings"]
        )
        text = str(texts[0])
        if len(text) > request["characters"]:
            return {"excess": True, "error": f"its text is longer than {request['characters']:,} characters"}
        json.dumps(text)
        return {"text": text, "spans": spans[0] if spans else []}
    except MemoryError:
        return {"excess": True, "error": f"it needs more than {request['memory'] >> 20:,} MiB of memory"}
    except RecursionError:
        return {"error": "it calls itself, or is nested, without end"}
    except BaseException as error:  # a template may cause any exception, and each is a fault of the template
        name = type(error).__name__
        with suppress(Exception):
            return {"error": str(error)[:2000] or name}
        return {"error": name}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _bound_memory(extra: int) -> None:
    """Limit this process to its present memory and `extra` bytes, on systems that can."""
    import resource

    with suppress(OSError, ValueError):
        present = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (present + extra, present + extra))


def send(stream: IO[bytes], content: dict[str, Any]) -> None:
    """Write `content` to `stream`."""
    data = json.dumps(content, default=lambda value: f"<{type(value).__name__}>").encode()
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> dict[str, Any]:
    """Return the next content in `stream`; {} at the end of the stream."""
    header = stream.read(8)
    if len(header) < 8:
        return {}
    (length,) = struct.unpack("<Q", header)
    data = stream.read(length)
    return dict(json.loads(data)) if len(data) == length else {}


if __name__ == "__main__":
    main()
