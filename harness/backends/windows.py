"""Cuts texts longer than the context into windows in which every token is scored exactly once.

Not here: scoring the windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.engine.requests import Pair


class Windows(NamedTuple):
    """Windows of several texts; a text's log-likelihood is the sum over its windows."""

    pairs: list[Pair]
    """One pair (context, continuation) for each window, to be scored."""
    owners: list[int]
    """The index of the text that each pair belongs to."""


def cut(texts: Sequence[list[int]], start: int, max_length: int, strides: Sequence[int]) -> Windows:
    """Return the windows of `texts` (token ids), each text preceded by the token `start`.

    The windows of text i move by the stride `strides[i]`. Outside a text's first window, each token has at least
    `max_length - stride` tokens before it. A stride of `max_length` gives the windows of lm-eval's rolling
    log-likelihood (`get_rolling_token_windows`, `make_disjoint_window`).
    """
    windows = Windows([], [])
    for owner, (ids, stride) in enumerate(zip(texts, strides, strict=True)):
        tokens = [start, *ids]
        begin, end = 1, min(len(tokens), max_length + 1)
        while begin < end:
            windows.pairs.append(Pair(tokens[max(0, end - 1 - max_length) : begin], tokens[begin:end]))
            windows.owners.append(owner)
            begin, end = end, min(len(tokens), end + stride)
    return windows
