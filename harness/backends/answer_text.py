"""The answer in a generated text, which `harness run` and `harness score` read by the same rule.

A text is cut at the task's first stop string outside thoughts (`harness.engine.decoding.stopping.find_end`), and its
thoughts are removed (`harness.engine.decoding.thinking`). All metrics read the text that is left.

Not here: what a metric makes of that text (`harness.metrics`), or how many answers of a task were empty or cut (the
ledger of a report, `harness.reports.ledger`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from harness.checkpoints.reference import check_marks
from harness.common.visible import has_visible
from harness.engine.decoding import families, stopping, thinking
from harness.engine.decoding.thinking import KNOWN, Marks

Ending = Literal["stop", "empty", "limit", "thought", "unknown"]
"""How an answer ended. "stop": by itself or at a stop string. "empty": likewise, but without a visible character.
"limit": at the limit of tokens. "thought": inside a thought, so that there is no answer. "unknown": a recorded text
does not show how it ended."""


class AnswerText(str):
    """The text of an answer that metrics read, with how the answer ended; lm-eval treats it like any other text."""

    __slots__ = ("ending", "has_thought")

    ending: Ending
    has_thought: bool
    """Whether the generated text has a thought, before the answer or without an answer after it."""

    def __new__(cls, text: str, ending: Ending = "unknown", has_thought: bool = False) -> AnswerText:
        """Return an answer of this `text`."""
        answer = super().__new__(cls, text)
        answer.ending, answer.has_thought = ending, has_thought
        return answer

    def within(self, text: str) -> AnswerText:
        """Return `text`, which contains this answer, as an answer that ended in the same way."""
        return AnswerText(text, self.ending, self.has_thought)


def read(
    text: str,
    until: str | Sequence[str] = (),
    *,
    is_cut: bool | None = None,
    opened: bool = False,
    marks: Sequence[Marks] = KNOWN,
) -> AnswerText:
    """Return the answer in the generated `text`.

    `until` is the task's stop string, or a sequence of them. `is_cut` says whether the text reached its limit of tokens
    (None if unknown), and `opened` whether the prompt had begun a thought. `marks` are the texts around the model's
    thoughts.
    """
    until = [until] if isinstance(until, str) else until
    end = stopping.find_end(text, until, opened, marks)
    parts = thinking.split(text[:end], opened, marks)
    if not parts.finished:
        return AnswerText("", "thought", has_thought=True)
    ending: Ending = "unknown" if is_cut is None else "stop"
    if is_cut and end is None:
        ending = "limit"
    elif not has_visible(parts.answer):
        ending = "empty"
    elif end is not None:
        ending = "stop"
    return AnswerText(parts.answer, ending, bool(parts.thought))


def begins_in_thought(prompt: str, marks: Sequence[Marks] = KNOWN) -> bool:
    """Return whether text generated after `prompt` begins within a thought, which the model writes between `marks`."""
    return thinking.leaves_open(prompt, marks)


def marks_of(think: str | None) -> Sequence[Marks]:
    """Return the marks of thoughts that `think` names; if it is None, the marks of all known families.

    `think` is written as the value of `think=` in a checkpoint reference. Raises HarnessError if `think` is neither two
    marks nor `none`.
    """
    return KNOWN if think is None else families.named(check_marks(think, "", "--think "))
