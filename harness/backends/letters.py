"""How answer letters tokenise: whether A, B, C and D are four distinct single tokens where an answer begins.

ChatGLM-6B's letters are other ids after a space than after a colon, and C-Eval's own script hard-coded the wrong ones
for ChatGLM2 (github.com/hkust-nlp/ceval/issues/53): a task that reads the logits of the last position means nothing
unless they are resolved for each tokenizer and each prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.backends.encoding import Encoder

LETTERS = ("A", "B", "C", "D")
# How answers begin in Chinese prompts, and in English ones.
BEGINNINGS = {"答案：": "", "Answer:": " "}


class Letters(NamedTuple):
    """The token ids of some answers after one prompt, in order."""

    answers: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]

    @property
    def single(self) -> bool:
        """Every answer is a single token, and no two are the same."""
        return all(len(one) == 1 for one in self.ids) and len(set(self.ids)) == len(self.ids)

    def __str__(self) -> str:
        shown = ", ".join(
            f"{answer} {'+'.join(map(str, ids))}" for answer, ids in zip(self.answers, self.ids, strict=True)
        )
        return shown if self.single else f"{shown}: not {len(self.ids)} distinct single tokens"


def after(encoder: Encoder, prompt: str, answers: Sequence[str] = LETTERS) -> Letters:
    """Return the ids that `answers` have as continuations of `prompt`, as they are scored."""
    pairs = encoder.pairs([(prompt, answer) for answer in answers])
    return Letters(tuple(answer.strip() for answer in answers), tuple(tuple(pair.continuation) for pair in pairs))


def usual(encoder: Encoder) -> dict[str, Letters]:
    """Return the letters after the usual beginnings of an answer."""
    return {begin: after(encoder, begin, [space + x for x in LETTERS]) for begin, space in BEGINNINGS.items()}
