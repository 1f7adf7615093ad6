"""A checkpoint's chat template: conversations → prompts, and prompts in which continuations are scored.

A template may leave a thought open at the end of a prompt. A letter scored after such a prompt would be the beginning
of a thought rather than an answer. The thought is therefore closed first. It is closed as the template itself closes an
empty thought, either when its variable switches thoughts off or in an earlier answer. If the template does neither,
only the closing mark is added.

Not here: what is wrong with a template (`harness.backends.chat_probes`), and what a run says about its prompts
(`harness.backends.conversations`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

from harness.checkpoints import templates
from harness.checkpoints.types import Tokenizer
from harness.engine.decoding import families
from harness.engine.decoding.thinking import KNOWN, Marks
from harness.errors import HarnessError

Turn = dict[str, str]
"""A turn of a conversation: `role` and `content`."""
_QUESTION: Turn = {"role": "user", "content": "Q7f3a"}
_ANSWER: Turn = {"role": "assistant", "content": "A9c2e"}
_THINKING_VARIABLES = ("enable_thinking", "thinking", "reasoning", "enable_reasoning")
"""Names of the variable with which templates switch thoughts off."""


class UnusableTemplateError(HarnessError):
    """A chat template that is missing or cannot be rendered, as opposed to a fault of the machine that renders it."""


class Ending(NamedTuple):
    """The end of a prompt at which a thought is open, or at which the model may still choose to begin a thought."""

    tail: str
    """The text after the last question."""
    closing: str
    """The text that replaces `tail` in a prompt after which a continuation is scored."""
    is_thought: bool
    """Whether the prompt ends within a thought, rather than within the header of an answer."""


class ChatTemplate:
    """The chat template of one checkpoint, with the variables with which it is rendered."""

    def __init__(
        self,
        name: str,
        tokenizer: Tokenizer,
        arguments: Mapping[str, Any] = MappingProxyType({}),
        marks: Sequence[Marks] = KNOWN,
    ) -> None:
        self.name = name
        """The checkpoint's name in messages."""
        self.tokenizer = tokenizer
        self.arguments = arguments
        """Variables besides the conversation, such as `enable_thinking`."""
        self.marks = marks
        """The marks between which the model writes its thoughts."""
        self._endings: dict[str, Ending] = {}  # by the tail: thoughts that are opened for some questions only

    @property
    def text(self) -> str:
        """The template itself."""
        return families.template_text(self.tokenizer)

    def render(self, turns: Sequence[Turn], *, generation: bool = True, **variables: Any) -> str:
        """Return the conversation `turns` as text.

        With `generation`, the text ends where an answer begins; without it, the last turn is left open to be continued.
        Raises UnusableTemplateError if the template is missing or cannot be rendered within bounds of time and size,
        and HarnessError if the process that renders it fails.
        """
        if not self.tokenizer.chat_template:
            raise UnusableTemplateError(f"{self.name} has no chat template: leave --apply-chat-template out")
        settings = {
            "add_generation_prompt": generation,
            "continue_final_message": not generation,
            **self.arguments,
            **variables,
        }
        try:
            return templates.render(self.tokenizer, turns, **settings)
        except templates.TemplateRenderingError as error:
            message = f"the chat template of {self.name} cannot be rendered ({error})"
            raise UnusableTemplateError(f"{message}: correct it, or leave --apply-chat-template out") from error

    def closed(self, prompt: str, turns: Sequence[Turn] = ()) -> str:
        """Return `prompt`, the rendered `turns`; if a thought is open at its end, the thought is closed first."""
        ending = self.ending(prompt, turns)
        return prompt if ending is None else prompt.removesuffix(ending.tail) + ending.closing

    def ending(self, prompt: str, turns: Sequence[Turn] = ()) -> Ending | None:
        """Return the end of `prompt` if a thought, or the header of an answer, is open there; else None.

        `prompt` is the rendered `turns`. A template may open thoughts for some questions only, so the end of this very
        prompt decides.
        """
        if self.closing is not None and prompt.endswith(self.tail):
            return Ending(self.tail, self.closing, is_thought=self.opened is not None)
        tail = _behind(prompt, turns)
        family = next((family for family in self.marks if family.is_open(tail)), None)
        if family is None:  # the question stands elsewhere, or in other words
            end = prompt.rstrip()
            family = next((family for family in self.marks if end.endswith(family.open.rstrip())), None)
            if family is None:
                return None
            tail = prompt[end.rindex(family.open.rstrip()) :]
        if tail not in self._endings:
            self._endings[tail] = Ending(tail, self._closed_thought(family, tail, turns), is_thought=True)
        return self._endings[tail]

    def leaves_open(self, prompt: str) -> bool:
        """Return whether `prompt` ends like a prompt in which this template leaves a thought open."""
        is_usual = self.opened is not None and prompt.endswith(self.tail)
        return is_usual or any(map(prompt.endswith, self._endings))

    @cached_property
    def tail(self) -> str:
        """The text between the last question and its answer; empty if the template cannot be rendered."""
        try:
            return self._tail([_QUESTION])
        except UnusableTemplateError:
            return ""

    @cached_property
    def opened(self) -> Marks | None:
        """The marks of the thought that prompts leave open, or None."""
        return next((family for family in self.marks if family.is_open(self.tail)), None)

    @cached_property
    def closing(self) -> str | None:
        """The text that replaces `tail` in prompts after which continuations are scored; None if nothing is replaced.

        The tail is replaced if the template opens a thought, or if it ends prompts within the header of an answer.
        gpt-oss's template ends within the header, where the model has yet to choose a channel.
        """
        if self.opened is not None:
            return self._closed_thought(self.opened, self.tail, [_QUESTION])
        lead = self.lead
        if not self.tail or lead == self.tail or not lead.startswith(self.tail):
            return None
        header = lead[len(self.tail) :]
        chooses = any(family.ending and family.ending_pattern.search(header) for family in self.marks)
        return lead if chooses else None

    @property
    def may_think(self) -> bool:
        """Whether the template writes an empty thought before an earlier answer, but not at the end of prompts."""
        header = self.lead.removeprefix(self.tail)
        is_longer = bool(self.tail) and self.lead.startswith(self.tail)
        return is_longer and self.closing is None and any(family.end(header) is not None for family in self.marks)

    @cached_property
    def lead(self) -> str:
        """The text between the last question and its answer in a conversation that has the answer; empty if unknown."""
        return self._lead([_QUESTION])

    @property
    def switch(self) -> str:
        """The variable that, if false, makes the template end prompts with an empty thought; empty if there is none."""
        tails = self._tails_without_thought([_QUESTION])
        return next((name for name, tail in tails.items() if any(m.end(tail) is not None for m in self.marks)), "")

    def _closed_thought(self, family: Marks, tail: str, turns: Sequence[Turn]) -> str:
        """Return `tail`, the text after the question of `turns`, with its open thought closed.

        The thought is open between the marks of `family`.
        """
        header = tail[: list(family.beginning_pattern.finditer(tail))[-1].start()]
        for candidate in self._tails_without_thought(turns).values():
            if candidate.startswith(header) and not family.is_open(candidate):
                return candidate
        # An earlier answer without any mark has lost its thought: no new answer begins like this.
        lead = self._lead(turns)
        if lead.startswith(header) and family.end(lead) is not None and not family.is_open(lead):
            return lead
        return _with_close(tail, family)

    def _tails_without_thought(self, turns: Sequence[Turn]) -> dict[str, str]:
        """Return how the prompt of `turns` ends without thoughts, by the variable that switches thoughts off."""
        tails = {}
        for name in _THINKING_VARIABLES:
            if name in self.text:
                try:
                    tails[name] = self._tail(turns, **{name: False})
                except UnusableTemplateError:
                    continue
        return tails

    def _tail(self, turns: Sequence[Turn], **variables: Any) -> str:
        return _behind(self.render(turns, **variables), turns)

    def _lead(self, turns: Sequence[Turn]) -> str:
        """Return the text that the template writes between the last of `turns` and an answer; empty if unknown."""
        try:
            text = self.render([*turns, _ANSWER], generation=False)
        except UnusableTemplateError:
            return ""
        return _behind(text.rpartition(_ANSWER["content"])[0], turns)


def _behind(prompt: str, turns: Sequence[Turn]) -> str:
    """Return the text of `prompt` after the last of `turns`; empty if this turn is no question or not in `prompt`."""
    content = turns[-1]["content"].strip() if turns and turns[-1]["role"] == "user" else ""
    _, is_found, after = prompt.rpartition(content) if content else ("", "", "")
    return after if is_found else ""


def _with_close(text: str, family: Marks) -> str:
    """Return `text`, which ends in an open thought, followed by the closing mark.

    The white space at the end of `text` is repeated before the mark.
    """
    return f"{text}{text[len(text.rstrip()) :]}{family.close}"
