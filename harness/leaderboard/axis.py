"""The scale on which the plain table draws the intervals of a column."""

from __future__ import annotations

import math
from typing import NamedTuple

from harness.leaderboard.comparison import interval
from harness.leaderboard.table import Series


class Axis(NamedTuple):
    """The scale on which a column's intervals are drawn, in the metric's own unit."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, column: Series) -> Axis:
        """Return the axis of `column`.

        For fractions it is 0 to 1. Otherwise it ends at round numbers, and contains 0 and all that is drawn.
        """
        if column.first.fraction:
            return cls(0.0, 0.5, 1.0)
        cells = [cell for cell in column.cells if cell]
        ends = [end for cell in cells for end in interval(cell.score)]
        ends += [bound for cell in cells for bound in (cell.chance, cell.ceiling) if bound is not None]
        low, high = 0.0 - _round_up(-min(ends)), _round_up(max(ends))
        return cls(low, (low + high) / 2, high) if high > low else cls(0.0, 0.5, 1.0)

    def place(self, value: float) -> str:
        """Return the place of `value` as a CSS percentage; values outside the scale are placed at the nearer end."""
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def _round_up(number: float) -> float:
    """Round `number` up to 1, 2 or 5 times a power of ten; return 0 if it is 0 or less."""
    if number <= 0:
        return 0.0
    power = float(10.0 ** math.floor(math.log10(number)))
    return next(step * power for step in (1, 2, 5, 10) if number <= step * power * (1 + 1e-9))
