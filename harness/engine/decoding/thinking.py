"""Where a thought ends and the answer begins, for models that reason before they answer.

A thought extends from its opening mark, such as `<think>` (or from the first character, if the prompt left a thought
open), to the last closing mark. The answer is what follows, without leading space, as in lm-eval
(`postprocess_generated_text` in lm_eval/models/utils.py, with `think_end_token="</think>"`). A thought that never ends
has no answer: the answer is the empty text, not an excerpt of the thought, and it is counted. Text without marks is
unchanged.

Not here: which marks a checkpoint uses (`harness.engine.decoding.families`), tokens, and what makes a model reason (its
chat template).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

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
    """Whether a text with a closing mark has a thought even if it does not begin with an opening mark."""

    @cached_property
    def beginning_pattern(self) -> re.Pattern[str]:
        """The pattern of an opening mark."""
        return re.compile(self.beginning or re.escape(self.open.rstrip()))

    @cached_property
    def ending_pattern(self) -> re.Pattern[str]:
        """The pattern of a closing mark."""
        return re.compile(self.ending or re.escape(self.close))

    @property
    def texts(self) -> tuple[str, ...]:
        """All marks, as a model would write them."""
        return tuple(text for text in (self.open, self.close, self.answer_open, self.answer_close) if text)

    def begins(self, text: str) -> bool:
        """Return whether `text` begins with a thought."""
        return self.beginning_pattern.match(text.lstrip()) is not None

    def end(self, text: str) -> int | None:
        """Return the place after the last closing mark in `text`, or None."""
        ends = [match.end() for match in self.ending_pattern.finditer(text)]
        return ends[-1] if ends else None

    def is_open(self, text: str) -> bool:
        """Return whether the last opening mark in `text` has no closing mark behind it."""
        starts = [match.end() for match in self.beginning_pattern.finditer(text)]
        return bool(starts) and self.ending_pattern.search(text, starts[-1]) is None

    def __str__(self) -> str:
        return f"{self.open.strip()} … {self.close}"


THINK = Marks(OPEN, CLOSE)
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
    Marks("<thinking>", "</thinking>", closes_alone=False),
    Marks("<thought>", "</thought>", closes_alone=False),  # EXAONE Deep
    Marks("<Thought>", "</Thought>", closes_alone=False),  # Marco-o1
    Marks("<reasoning>", "</reasoning>", closes_alone=False),
    Marks("<reason>", "</reason>", closes_alone=False),
)
"""The marks of all known families. In a text of an unknown model all are tried, in this order."""


class Parts(NamedTuple):
    """A generated text in two parts: `thought + answer` is the text, except for the mark that ends an answer."""

    thought: str
    """The thought with its marks and the space after it; empty if there is none."""
    answer: str
    finished: bool
    """Whether no thought was left open."""


def split(text: str, opened: bool = False, marks: Sequence[Marks] = KNOWN) -> Parts:
    """Return the thought and the answer in `text`; `opened` says that the prompt had begun the thought.

    If the text begins with the opening mark of one of `marks`, the others are ordinary text.
    """
    begun = next((family for family in marks if family.begins(text)), None)
    if begun is not None and not opened:
        ends = _ends(text, [begun])
    else:
        ends = _ends(text, [family for family in marks if family.closes_alone])
        if opened and not ends:
            ends = _ends(text, marks)
    if not ends:
        is_unfinished = opened or begun is not None
        return Parts(text, "", finished=False) if is_unfinished else Parts("", text, finished=True)
    end, family = max(ends, key=lambda pair: pair[0])
    answer = text[end:].lstrip()
    if family.answer_open and answer.startswith(family.answer_open):
        answer = answer.removeprefix(family.answer_open).lstrip()
    thought = text[: len(text) - len(answer)]
    if family.answer_close and family.answer_close in answer:
        answer = answer[: answer.rindex(family.answer_close)].rstrip()
    return Parts(thought, answer, finished=True)


def _ends(text: str, marks: Sequence[Marks]) -> list[tuple[int, Marks]]:
    """Return where thoughts of `marks` end in `text`."""
    return [(end, family) for family in marks if (end := family.end(text)) is not None]


def leaves_open(prompt: str, marks: Sequence[Marks] = KNOWN) -> bool:
    """Return whether `prompt` ends with an open thought, as the templates of DeepSeek-R1 and Qwen3-Thinking do."""
    end = prompt.rstrip()
    return any(end.endswith(family.open.rstrip()) for family in marks)
