"""How answer letters are tokenised, and whether A, B, C and D are four distinct single tokens where an answer begins.

ChatGLM-6B's letters have other ids after a space than after a colon, and C-Eval's own script hard-coded the wrong ids
for ChatGLM2 (github.com/hkust-nlp/ceval/issues/53). A task that reads the logits of the last position is meaningless
unless the letters' ids are determined for each tokenizer and each prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.backends.encoding import Encoder

LETTERS = ("A", "B", "C", "D")
BEGINNINGS = {"答案：": "", "Answer:": " "}
"""The text before an answer in Chinese and in English prompts → the space between this text and the answer."""


class Letters(NamedTuple):
    """The token ids of several answers after one prompt, in order."""

    answers: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]

    @property
    def are_single_tokens(self) -> bool:
        """Whether every answer is a single token and no two answers are the same token."""
        return all(len(answer_ids) == 1 for answer_ids in self.ids) and len(set(self.ids)) == len(self.ids)

    def __str__(self) -> str:
        text = ", ".join(
            f"{answer} {'+'.join(map(str, answer_ids))}"
            for answer, answer_ids in zip(self.answers, self.ids, strict=True)
        )
        return text if self.are_single_tokens else f"{text}: not {len(self.ids)} distinct single tokens"


def after(encoder: Encoder, prompt: str, answers: Sequence[str] = LETTERS) -> Letters:
    """Return the ids with which `answers` are scored as continuations of `prompt`."""
    pairs = encoder.pairs([(prompt, answer) for answer in answers])
    return Letters(tuple(answer.strip() for answer in answers), tuple(tuple(pair.continuation) for pair in pairs))


def after_usual_beginnings(encoder: Encoder) -> dict[str, Letters]:
    """Return the letters after each of the usual `BEGINNINGS` of an answer."""
    return {
        beginning: after(encoder, beginning, [space + letter for letter in LETTERS])
        for beginning, space in BEGINNINGS.items()
    }
