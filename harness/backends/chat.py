"""A checkpoint's chat template: conversations → prompts, and prompts in which continuations are scored.

A template may leave a thought open at the end of a prompt. A continuation that is scored there, such as a letter, would
be no answer but the first words of a thought, so the thought is closed first, as the template itself closes an empty
one: with its variable for answers without a thought, in an earlier turn, or else with the closing mark alone.

Not here: what is wrong with a template (`harness.backends.chat_probes`), and what a run says about its prompts
(`harness.backends.conversations`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

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


class ChatTemplate:
    """The chat template of one checkpoint, with the variables that it is rendered with."""

    def __init__(
        self,
        name: str,
        tokenizer: Tokenizer,
        arguments: Mapping[str, Any] = MappingProxyType({}),
        marks: Sequence[Marks] = KNOWN,
    ) -> None:
        self.name = name
        """What messages call the checkpoint."""
        self.tokenizer = tokenizer
        self.arguments = arguments
        """Variables besides the conversation, such as `enable_thinking`."""
        self.marks = marks
        """The marks of thoughts."""

    @property
    def text(self) -> str:
        """The template itself."""
        return families.template_text(self.tokenizer)

    def render(self, turns: Sequence[Turn], *, generation: bool = True, **variables: Any) -> str:
        """Return the conversation `turns` as text.

        With `generation`, the text ends where an answer begins; without, the last turn is left to be continued.
        Raises HarnessError if the template is missing or cannot be rendered.
        """
        from jinja2 import TemplateError

        if not self.tokenizer.chat_template:
            raise HarnessError(f"{self.name} has no chat template: leave --apply-chat-template out")
        settings = {
            "tokenize": False,
            "add_generation_prompt": generation,
            "continue_final_message": not generation,
            **self.arguments,
            **variables,
        }
        try:
            return str(self.tokenizer.apply_chat_template(list(turns), **settings))
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
            # a template may use its arguments in any way
            message = f"the chat template of {self.name} cannot be rendered ({error})"
            raise HarnessError(f"{message}: correct it, or leave --apply-chat-template out") from error

    def closed(self, prompt: str) -> str:
        """Return `prompt`, as this template ends it, with a thought that it leaves open closed."""
        if self.closing is not None and prompt.endswith(self.tail):
            return prompt.removesuffix(self.tail) + self.closing
        end = prompt.rstrip()
        family = next((family for family in self.marks if end.endswith(family.open.rstrip())), None)
        return prompt if family is None else _with_close(prompt, family)

    def leaves_open(self, prompt: str) -> bool:
        """Return whether `prompt` ends with the words with which this template leaves a thought open."""
        return self.opened is not None and prompt.endswith(self.tail)

    @cached_property
    def tail(self) -> str:
        """The text between the last question and its answer; empty if the template cannot be rendered."""
        try:
            return self._after_question()
        except HarnessError:
            return ""

    @cached_property
    def opened(self) -> Marks | None:
        """The marks of the thought that prompts leave open, or None."""
        return next((family for family in self.marks if family.is_open(self.tail)), None)

    @cached_property
    def closing(self) -> str | None:
        """What replaces `tail` in a prompt after which a continuation is scored, or None to leave prompts as they are.

        Besides templates that open a thought, these are templates whose prompts end within the header of an answer, as
        gpt-oss's do before the model has chosen a channel.
        """
        if self.opened is not None:
            return self._closed_thought(self.opened)
        lead = self.lead
        if not self.tail or lead == self.tail or not lead.startswith(self.tail):
            return None
        header = lead[len(self.tail) :]
        chooses = any(family.ending and family.ending_pattern.search(header) for family in self.marks)
        return lead if chooses else None

    @property
    def may_think(self) -> bool:
        """Whether the template writes an empty thought before an answer, but leaves it out of prompts."""
        header = self.lead.removeprefix(self.tail)
        is_longer = bool(self.tail) and self.lead.startswith(self.tail)
        return is_longer and self.closing is None and any(family.end(header) is not None for family in self.marks)

    @cached_property
    def lead(self) -> str:
        """The text between the last question and its answer where the conversation holds both; empty if unknown."""
        try:
            text = self.render([_QUESTION, _ANSWER], generation=False)
        except HarnessError:
            return ""
        before, _, _ = text.rpartition(_ANSWER["content"])
        return before.rpartition(_QUESTION["content"])[2]

    def _closed_thought(self, family: Marks) -> str:
        """Return `tail` with its thought of `family` closed."""
        start = list(family.beginning_pattern.finditer(self.tail))[-1].start()
        header = self.tail[:start]
        for candidate in self._tails_without_thought():
            if candidate.startswith(header) and not family.is_open(candidate):
                return candidate
        # An earlier answer without any mark has lost its thought: no new answer begins like this.
        if self.lead.startswith(header) and family.end(self.lead) is not None and not family.is_open(self.lead):
            return self.lead
        return _with_close(self.tail, family)

    def _tails_without_thought(self) -> list[str]:
        """Return how prompts end with each of the template's variables that switch thoughts off."""
        tails = []
        for name in _THINKING_VARIABLES:
            if name in self.text:
                try:
                    tails.append(self._after_question(**{name: False}))
                except HarnessError:
                    continue
        return tails

    def _after_question(self, **variables: Any) -> str:
        return self.render([_QUESTION], **variables).rpartition(_QUESTION["content"])[2]


def _with_close(text: str, family: Marks) -> str:
    """Return `text`, which ends with an open thought, with the closing mark of `family` after equal white space."""
    return f"{text}{text[len(text.rstrip()) :]}{family.close}"
