"""Verdicts that may be looked at after every block of documents, and stopped at any of them.

A gambler bets against a hypothesis on the mean difference. If it holds, no way of betting makes money on average, and
the capital exceeds 1/α ever, at any time, with probability α at most (Ville 1939). So a verdict may be taken as soon as
it does, however often one looks (Waudby-Smith and Ramdas 2024, arXiv 2010.09686). Documents are a finite population in
random order: what is left of a hypothesis shrinks with what was seen, and at the end nothing is uncertain
(Waudby-Smith and Ramdas 2020, arXiv 2006.04347).

Clusters are drawn whole: a unit is a document or a cluster, its value the sum of its documents' differences.

Not here: asking for documents (`harness.verdicts.gate`). A mean over what was seen when it was stopped is biased, so
none is given; the confidence sequence is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from harness.verdicts.paired import Array, Interval

BOLDNESS = 0.75
"""Of what could be lost at most, the share that is ever bet."""
GRID = 1000
"""Means that a confidence sequence looks at."""


@dataclass
class Evidence:
    """Capital of bets against "the mean difference is `null` or more" (`falls`), or "or less" (not `falls`).

    `total` units make the population, each unit's value lies in [-bound, bound], and the mean difference is that of the
    population's `documents`: the sum of all units' values over their number.
    """

    null: float
    falls: bool
    total: int
    documents: int
    bound: float = 1.0
    log_capital: float = 0.0
    best: float = 0.0
    """The largest log capital so far."""
    _seen: int = field(default=0, repr=False)
    _sum: float = field(default=0.0, repr=False)
    _squares: float = field(default=0.25, repr=False)
    _mean: float = field(default=0.5, repr=False)

    def bet(self, values: Array) -> None:
        """Take in the values of the next units, in the order in which they were drawn."""
        # As a share of what is possible, with the sign that makes the hypothesis "the mean is m or less".
        sign = -1.0 if self.falls else 1.0
        m = (1 + sign * self.null * self.documents / (self.total * self.bound)) / 2
        for value in values:
            self._bet_on((1 + sign * float(value) / self.bound) / 2, m)

    def _bet_on(self, share: float, m: float) -> None:
        left = self.total - self._seen
        now = (self.total * m - self._sum) / left
        if now < 0:  # what was seen is already more than the hypothesis allows
            self.log_capital = math.inf
        elif now < 1 and not math.isinf(self.log_capital):
            variance = self._squares / (self._seen + 1)
            edge = self._mean - now
            wager = min(max(edge / (variance + edge * edge), 0.0), BOLDNESS / max(now, 1e-12))
            self.log_capital += math.log1p(wager * (share - now))
        self.best = max(self.best, self.log_capital)
        self._seen += 1
        self._sum += share
        self._mean = (0.5 + self._sum) / (self._seen + 1)
        self._squares += (share - self._mean) ** 2

    @property
    def p_value(self) -> float:
        """The anytime-valid p-value: 1 over the largest capital."""
        return math.exp(-self.best)


def confidence_sequence(values: Array, *, total: int, documents: int, bound: float, alpha: float) -> Interval:
    """Return an interval of the mean difference that holds it at all times with probability 1 - `alpha`.

    `values` are those of the units seen so far, in order; else as `Evidence`. The means that bets against both sides,
    half of `alpha` each, have not ruled out at any time, on a grid of `GRID` and rounded outwards.
    """
    grid = np.linspace(0, 1, GRID + 1)
    shares = (1 + np.asarray(values, dtype=np.float64) / bound) / 2
    alive = _alive(shares, grid, total, alpha / 2) & _alive(1 - shares, 1 - grid, total, alpha / 2)
    kept = np.flatnonzero(alive)
    if not kept.size:  # between two points of the grid
        middle = float(shares.mean())
        kept = np.array([np.searchsorted(grid, middle)])
    low, high = grid[max(kept[0] - 1, 0)], grid[min(kept[-1] + 1, GRID)]
    scale = total * bound / documents
    return Interval(float(2 * low - 1) * scale, float(2 * high - 1) * scale)


def _alive(shares: Array, means: Array, total: int, alpha: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which of `means` bets that the mean is more have not ruled out."""
    capital, best = np.zeros(means.size), np.zeros(means.size)
    seen_sum, squares, mean = 0.0, 0.25, 0.5
    for seen, share in enumerate(shares):
        now = (total * means - seen_sum) / (total - seen)
        edge = mean - now
        wager = np.clip(edge / (squares / (seen + 1) + edge * edge), 0.0, BOLDNESS / np.maximum(now, 1e-12))
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.where(now < 1, np.log1p(wager * (share - now)), 0.0)
        capital = np.where(now < 0, np.inf, capital + gain)
        best = np.maximum(best, capital)
        seen_sum += share
        mean = (0.5 + seen_sum) / (seen + 2)
        squares += (share - mean) ** 2
    return np.asarray(best < -math.log(alpha))
