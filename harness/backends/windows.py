"""Texts longer than the context → windows whose tokens are all scored, each once.

Not here: scoring them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.engine.requests import Pair


class Windows(NamedTuple):
    """Pairs to score, and the index of the text that each is a part of; a text's log-likelihood is the sum."""

    pairs: list[Pair]
    owners: list[int]


def cut(texts: Sequence[list[int]], start: int, max_length: int, strides: Sequence[int]) -> Windows:
    """Return windows of token ids `texts` after the token `start`, moving by as many new tokens as the text's stride.

    But for the first window's, each token sees at least the context less the stride. A stride of the whole context
    gives the windows of lm-eval's rolling log-likelihood (`get_rolling_token_windows`, `make_disjoint_window`).
    """
    found = Windows([], [])
    for owner, (ids, stride) in enumerate(zip(texts, strides, strict=True)):
        tokens = [start, *ids]
        begin, end = 1, min(len(tokens), max_length + 1)
        while begin < end:
            found.pairs.append(Pair(tokens[max(0, end - 1 - max_length) : begin], tokens[begin:end]))
            found.owners.append(owner)
            begin, end = end, min(len(tokens), end + stride)
    return found
