"""Texts longer than the context → windows whose tokens are all scored, each once.

Every function returns pairs and, for each of them, whose it is; a text's log-likelihood is the sum over its windows.

Not here: scoring them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from harness.engine.encoding import Pair


class Windows(NamedTuple):
    """Pairs to score, and the index of the text that each is a part of."""

    pairs: list[Pair]
    owners: list[int]


def rolling(texts: Sequence[list[int]], start: int, max_length: int) -> Windows:
    """Return windows of token ids `texts` as lm-eval cuts them: disjoint, the first after the token `start`."""
    found = Windows([], [])
    for owner, ids in enumerate(texts):
        cuts = get_rolling_token_windows(ids, start, max_length, context_len=1)
        for context, continuation in map(make_disjoint_window, cuts):
            found.pairs.append(Pair(context, continuation))
            found.owners.append(owner)
    return found


def sliding(texts: Sequence[list[int]], start: int, max_length: int, strides: Sequence[int]) -> Windows:
    """Return windows of token ids `texts` after the token `start`, moving by as many new tokens as the text's stride.

    But for the first window's, each token sees at least the context less the stride.
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
