"""Contexts that a model reads both ways (ChatGLM-6B): each is one edge of the prefix tree, and is fed in one pass.

All tokens before `<sop>` see each other, so that contexts which end differently have other keys and values from the
first token on. Behind `<sop>`, the model is causal. Only answers to the very same context share its tokens.

Not here: positions (`harness.checkpoints.chatglm.positions`).
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.checkpoints.chatglm.positions import SpecialIds
from harness.errors import HarnessError


def lengths(sequences: Sequence[Sequence[int]], marks: SpecialIds | None) -> list[int] | None:
    """Return the number of tokens up to the first `<sop>` in each of `sequences`, with `<sop>`; None without `marks`.

    Raises HarnessError if a sequence lacks them, because a long answer left no room for them.
    """
    if marks is None:
        return None
    result = []
    for sequence in sequences:
        length = list(sequence).index(marks.sop) + 1 if marks.sop in sequence else 0
        if not {marks.gmask, marks.mask} & set(sequence[:length]):
            raise HarnessError(
                "an answer of a task fills the whole context, so that no room is left for [gMASK] <sop> before it: "
                "leave the task out, or set max_length= if the model supports more"
            )
        result.append(length)
    return result
