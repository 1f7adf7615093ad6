"""The prompts of a report rendered again: by the protocol in its manifest, and the chat template of its checkpoint.

Not here: comparing them (`harness.verification.rescoring`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from harness.backends.chat import ChatTemplate
from harness.backends.conversations import Conversations
from harness.backends.request_kinds import whole_texts
from harness.checkpoints import loading
from harness.checkpoints.located import Located
from harness.engine.decoding import families
from harness.errors import HarnessError
from harness.reports.report import Report
from harness.runs.options import Options, chat_template_digest, prompt_settings
from harness.tasks.protocols.bits_per_character import BitsPerCharacter
from harness.tasks.task import Request, Task


class Built(NamedTuple):
    """The requests of a task."""

    requests: dict[int, list[Request]]
    """The requests of each document, by its place in the split."""
    problem: str = ""
    """Why the requests do not have the prompts of the run; empty if they do."""


class Renderer:
    """Renders the prompts of one report."""

    def __init__(self, report: Report, located: Located | None) -> None:
        """Read the chat template of `located`, the checkpoint at hand, if the run applied a chat template."""
        self._report = report
        self.other_template = ""
        """Why the chat template at hand is not the one of the run. Empty if it is the same, or if the run applied
        none."""
        self._conversations: Conversations | None = None
        self._problem = ""
        protocol = report.manifest.protocol
        if protocol.recorded:
            self._problem = "the answers were recorded elsewhere, and so were the prompts"
        elif protocol.chat_template is not None:
            self._learn(located, protocol.chat_template)

    def _learn(self, located: Located | None, expected: str) -> None:
        if located is None:
            self._problem = "the chat template is that of the checkpoint, which is not at hand"
            return
        try:
            tokenizer = loading.load_tokenizer(located)
        except HarnessError as error:
            self._problem = str(error)
            return
        if (digest := chat_template_digest(tokenizer)) != expected:
            is_there = f"has the sha256 {digest[:12]}…" if digest else "is missing"
            self.other_template = (
                f"the checkpoint's chat template {is_there}, prompts were rendered by {expected[:12]}…"
            )
            self._problem = self.other_template
            return
        arguments = self._report.manifest.protocol.chat_template_arguments
        marks = families.learn(tokenizer, located.reference.think).marks
        self._conversations = Conversations(ChatTemplate(located.name, tokenizer, arguments, marks))

    def build(self, task: Task, options: Options) -> Built:
        """Return the requests of `task`. If prompts cannot be rendered as in the run, they have no chat template.

        Raises HarnessError if requests cannot be built at all.
        """
        settings: dict[str, Any] = {**prompt_settings(options)}
        problem = self._problem
        if problem:
            settings = {}
        elif self._conversations is not None:
            self._conversations.scores_continuations = task.scores_continuations
            settings["chat_template"] = self._render
        size = self._report.manifest.checkpoint.max_length
        if isinstance(task.lm_eval, BitsPerCharacter) and size is not None:
            task.set_stride(whole_texts.stride(options.stride, size))
        task.reseed(options.seed)
        requests: dict[int, list[Request]] = {}
        for request in task.build_requests(limit=options.limit, **settings):
            requests.setdefault(request.doc_id, []).append(request)
        task.release_requests()
        return Built(requests, problem)

    def _render(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        assert self._conversations is not None
        return self._conversations.prompt(chat_history, generation=add_generation_prompt)
