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


def cut(
    texts: Sequence[list[int]],
    beginning: Sequence[int],
    max_length: int,
    strides: Sequence[int],
    *,
    repeats_beginning: bool = False,
) -> Windows:
    """Return the windows of `texts` (token ids), each text preceded by the tokens `beginning`.

    With `repeats_beginning`, every window begins with these tokens, not only the first of a text.

    The windows of text i move by the stride `strides[i]`. Outside a text's first window, each token has at least
    `max_length - stride` tokens before it. A stride of `max_length` gives the windows of lm-eval's rolling
    log-likelihood (`get_rolling_token_windows`, `make_disjoint_window`).
    """
    windows = Windows([], [])
    lead = list(beginning) if repeats_beginning else []
    first = [] if repeats_beginning else list(beginning)
    room = max_length - len(lead)
    for owner, (ids, stride) in enumerate(zip(texts, strides, strict=True)):
        tokens = [*first, *ids]
        begin, end = len(first), min(len(tokens), room + 1)
        while begin < end:
            windows.pairs.append(Pair([*lead, *tokens[max(0, end - 1 - room) : begin]], tokens[begin:end]))
            windows.owners.append(owner)
            begin, end = end, min(len(tokens), end + min(stride, room))
    return windows
