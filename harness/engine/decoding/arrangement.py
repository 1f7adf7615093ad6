"""The cheapest arrangement of rows (running answers) in lanes (rows of the batch) that fits in memory.

Not here: what a lane is, and how keys and values get into it (`harness.engine.decoding.lanes`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harness.engine.packing import tree


class Arrangement(NamedTuple):
    """How rows are arranged in lanes."""

    width: int
    """Number of neighbouring rows that share a lane."""
    tokens: int
    """Number of tokens that all lanes hold together."""
    cost: int
    """Cost of one decoding step of all rows, in tokens attended to."""


def arrange(shared: tree.Ints, lengths: tree.Ints, max_tokens: int, read_cost: int) -> Arrangement:
    """Return the cheapest arrangement of at most `max_tokens` tokens; if all have more, the one with the fewest.

    Row i has `lengths[i]` tokens, of which rows i and i + 1 have `shared[i]` in common. A decoding step reads
    everything in every lane once, and each row of a lane attends to the whole lane. The cost of a step is therefore:
    lanes × longest lane × (`read_cost` + rows of a lane).
    """
    arrangements = []
    width = 1
    while True:
        starts = np.arange(0, len(lengths), width)
        within = np.append(shared, lengths[-1])
        within[starts[1:] - 1] = lengths.max()  # the last row of a lane shares nothing with the next lane's first row
        trunks = np.minimum(np.minimum.reduceat(lengths, starts), np.minimum.reduceat(within, starts))
        rows = np.diff(starts, append=len(lengths))
        tokens = len(starts) * int((np.add.reduceat(lengths, starts) - (rows - 1) * trunks).max())
        arrangements.append(Arrangement(width, tokens, tokens * (read_cost + width)))
        if width >= len(lengths):
            break
        width = min(2 * width, len(lengths))
    fitting = [arrangement for arrangement in arrangements if arrangement.tokens <= max_tokens]
    if fitting:
        return min(fitting, key=lambda arrangement: arrangement.cost)
    return min(arrangements, key=lambda arrangement: arrangement.tokens)
