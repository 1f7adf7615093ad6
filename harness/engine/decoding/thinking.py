"""Where a thought ends and the answer begins, for models that reason before they answer.

A thought extends from its opening mark, such as `<think>`, to its closing mark. If the prompt left a thought open, this
thought begins with the first character. The answer is what follows the last thought, without leading space, as in
lm-eval (`postprocess_generated_text` in lm_eval/models/utils.py, with `think_end_token="</think>"`). If the last
thought never ends, the answer is the empty text, not an excerpt of the thought or of what precedes it. Such answers are
counted. Text without marks is unchanged, and so is an answer that is split again.

Not here: which marks a checkpoint uses (`harness.engine.decoding.families`), tokens, and what makes a model reason (its
chat template).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from harness.common.visible import first_visible

OPEN, CLOSE = "<think>", "</think>"


@dataclass(frozen=True)
class Marks:
    """The texts between which one family of models writes its thoughts."""

    open: str
    """The text that begins a thought."""
    close: str
    """The text that ends a thought."""
    beginning: str = ""
    """A pattern of all texts that begin a thought, if `open` is not the only one."""
    ending: str = ""
    """A pattern of all texts that end a thought, if `close` is not the only one."""
    answer_open: str = ""
    """A text that may stand between a thought and its answer, and belongs to neither."""
    answer_close: str = ""
    """A text that ends an answer and does not belong to it."""
    closes_alone: bool = True
    """Whether a text that contains a closing mark has a thought even if it does not begin with an opening mark."""
    ignores_case: bool = False
    """Whether capitals make no difference, because the marks are ordinary words (<THINK>, <Think>)."""

    @cached_property
    def beginning_pattern(self) -> re.Pattern[str]:
        """The pattern of an opening mark."""
        return re.compile(self.beginning or self._literal(self.open.rstrip()))

    @cached_property
    def ending_pattern(self) -> re.Pattern[str]:
        """The pattern of a closing mark."""
        return re.compile(self.ending or self._literal(self.close))

    def _literal(self, mark: str) -> str:
        return f"(?i:{re.escape(mark)})" if self.ignores_case else re.escape(mark)

    def is_spelled_in(self, source: str) -> bool:
        """Return whether `source`, a chat template or a tokenizer's tokens, has a mark exactly as spelled here."""
        if self.ignores_case:
            return self.open.rstrip() in source or self.close in source
        return bool(self.beginning_pattern.search(source) or self.ending_pattern.search(source))

    @property
    def texts(self) -> tuple[str, ...]:
        """All marks of the family, as a model would write them."""
        return tuple(text for text in (self.open, self.close, self.answer_open, self.answer_close) if text)

    def begins(self, text: str) -> bool:
        """Return whether `text` begins with a thought."""
        return self.beginning_pattern.match(text.lstrip()) is not None

    def end(self, text: str) -> int | None:
        """Return the place after the last closing mark in `text`, or None if there is no closing mark."""
        ends = [match.end() for match in self.ending_pattern.finditer(text)]
        return ends[-1] if ends else None

    def is_open(self, text: str) -> bool:
        """Return whether the last opening mark in `text` has no closing mark after it."""
        starts = [match.end() for match in self.beginning_pattern.finditer(text)]
        return bool(starts) and self.ending_pattern.search(text, starts[-1]) is None

    def __str__(self) -> str:
        return f"{self.open.strip()} … {self.close}"


THINK = Marks(OPEN, CLOSE, ignores_case=True)
KNOWN = (
    THINK,
    Marks("[THINK]", "[/THINK]", closes_alone=False),  # Magistral
    Marks(  # gpt-oss: every channel except the final one is thought
        "<|channel|>analysis<|message|>",
        "<|channel|>final<|message|>",
        beginning=r"<\|channel\|>(?! *final)",
        ending=r"<\|channel\|> *final(?: *(?:<\|constrain\|>)?\w+)? *<\|message\|>",
    ),
    Marks("<|channel>thought\n", "<channel|>", beginning=r"<\|channel>", closes_alone=False),  # Gemma 4
    Marks("<seed:think>", "</seed:think>"),  # Seed-OSS
    Marks("<mm:think>", "</mm:think>"),  # MiniMax-M3
    Marks("<longcat_think>", "</longcat_think>"),  # LongCat-Flash-Thinking
    Marks("◁think▷", "◁/think▷"),  # Kimi-VL
    Marks(  # OpenThinker, Bespoke-Stratos, Sky-T1
        "<|begin_of_thought|>",
        "<|end_of_thought|>",
        answer_open="<|begin_of_solution|>",
        answer_close="<|end_of_solution|>",
    ),
    Marks(  # Command A Reasoning
        "<|START_THINKING|>",
        "<|END_THINKING|>",
        answer_open="<|START_RESPONSE|>",
        answer_close="<|END_RESPONSE|>",
    ),
    Marks("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    Marks("[unused16]", "[unused17]", closes_alone=False),  # openPangu
    Marks("<unused94>", "<unused95>", closes_alone=False),  # MedGemma
    Marks("<thinking>", "</thinking>", closes_alone=False, ignores_case=True),
    Marks("<thought>", "</thought>", closes_alone=False, ignores_case=True),  # EXAONE Deep, Marco-o1
    Marks("<reasoning>", "</reasoning>", closes_alone=False, ignores_case=True),
    Marks("<reason>", "</reason>", closes_alone=False, ignores_case=True),
)
"""The marks of all known families. In a text of an unknown model, all of them are tried, in this order."""


class Thought(NamedTuple):
    """A thought in a text."""

    start: int
    """Where the thought begins. After another thought, a closing mark without an opening mark is a thought by
    itself."""
    end: int | None
    """Where the thought ends; None if it is unfinished. Its closing mark belongs to it, and so does a mark that opens
    the answer."""
    family: Marks | None
    """The marks of the family whose closing mark ended the thought; None if it is unfinished."""


class Parts(NamedTuple):
    """A generated text in two parts: `thought + answer` is the text, except for the mark that ends an answer."""

    thought: str
    """Everything before the answer (thoughts, their marks, text and white space between them), or empty."""
    answer: str
    finished: bool
    """Whether no thought was left open."""


class _Mark(NamedTuple):
    start: int
    end: int
    is_closing: bool
    family: Marks


def split(text: str, opened: bool = False, marks: Sequence[Marks] = KNOWN) -> Parts:
    """Return the thoughts and the answer in `text`; `opened` says that the prompt had begun a thought."""
    *_, last = (None, *thoughts(text, opened, marks))
    if last is None:
        return Parts("", text, finished=True)
    if last.end is None or last.family is None:
        return Parts(text, "", finished=False)
    answer = text[last.end :].lstrip()
    thought = text[: len(text) - len(answer)]
    closing = last.family.answer_close
    if closing and closing in answer:
        answer = answer[: answer.rindex(closing)].rstrip()
    return Parts(thought, answer, finished=True)


def thoughts(text: str, opened: bool = False, marks: Sequence[Marks] = KNOWN) -> list[Thought]:
    """Return the thoughts in `text` in order; only the last may be unfinished.

    A thought at the beginning of the text or of an answer is ended only by a mark of the family that began it; other
    marks in it are ordinary text. Elsewhere, only a family with `closes_alone` begins a thought, and a closing mark of
    any such family ends it.
    """
    marks_in_text = _marks_in(text, marks)
    counting = [family for family in marks if family.closes_alone]
    thoughts: list[Thought] = []
    start, closers = 0, counting
    if opened and not any(mark.is_closing and mark.family in counting for mark in marks_in_text):
        closers = list(marks)
    is_open, place, answer_start = opened, 0, first_visible(text)
    for mark in marks_in_text:
        if mark.start < place:
            continue
        if is_open:
            if not mark.is_closing or mark.family not in closers:
                continue
        elif mark.start == answer_start and not mark.is_closing:
            is_open, start, closers, place = True, place, [mark.family], mark.end
            continue
        elif mark.family not in counting:
            continue
        elif not mark.is_closing:
            is_open, start, closers, place = True, mark.start, counting, mark.end
            continue
        else:
            start = mark.start if thoughts else 0  # without an opening mark the prompt may have had it
        is_open, place = False, _answer_start(text, mark.end, mark.family)
        answer_start = first_visible(text, place)
        thoughts.append(Thought(start, place, mark.family))
        if mark.family not in counting:
            counting = [*counting, mark.family]
    return [*thoughts, Thought(start, None, None)] if is_open else thoughts


def _marks_in(text: str, marks: Sequence[Marks]) -> list[_Mark]:
    """Return all occurrences of `marks` in `text` in order; of two at one place, the longer comes first."""
    unsorted = [
        _Mark(match.start(), match.end(), is_closing, family)
        for family in marks
        for is_closing, pattern in ((False, family.beginning_pattern), (True, family.ending_pattern))
        for match in pattern.finditer(text)
    ]
    return sorted(unsorted, key=lambda mark: (mark.start, -mark.end))


def _answer_start(text: str, end: int, family: Marks) -> int:
    """Return where the answer starts, with its leading space, after a thought of `family` whose mark ends at `end`."""
    visible = first_visible(text, end)
    has_opening = bool(family.answer_open) and text.startswith(family.answer_open, visible)
    return visible + len(family.answer_open) if has_opening else end


def leaves_open(prompt: str, marks: Sequence[Marks] = KNOWN) -> bool:
    """Return whether `prompt` ends with an open thought, as the templates of DeepSeek-R1 and Qwen3-Thinking do."""
    end = prompt.rstrip()
    return any(
        end.endswith(mark) or (family.ignores_case and end.casefold().endswith(mark.casefold()))
        for family in marks
        if (mark := family.open.rstrip())
    )
