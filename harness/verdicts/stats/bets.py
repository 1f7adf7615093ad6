"""Verdicts that may be looked at after every block of documents, and stopped at any of them.

A gambler bets on every document against a hypothesis on the mean difference of the population that documents were drawn
from. If it holds, no way of betting makes money on average, and the capital exceeds 1/α ever, at any time, with
probability α at most (Ville 1939). So a verdict may be taken as soon as it does, however often one looks, and what is
ruled out then has an error of α whether or not one goes on (Waudby-Smith and Ramdas 2024, arXiv 2010.09686, section 4).

The population is the same as in `harness.verdicts.stats.means`, so that a verdict means the same whether it was
stopped or not. Bets on the finite set of documents there are, without replacement, would be certain at its end (arXiv
2006.04347), but of that set only: one answer lost in 346 would be a loss for sure, and two equal checkpoints "differ"
in 42 of 100 gates.

**Units.** A document, or a whole cluster where documents belong together, with the sum of its differences S and of its
weights V. Against "the mean is m or less" a unit pays S - m V, against "m or more" the opposite, and neither is less
than -`low` (`_Bets`). Of the capital λ·`low`, at most `BOLDNESS`, is put at stake, and λ follows from the units before:
mean/(variance + mean²), which is nearly what would let capital grow fastest (aGRAPA, their section B.3).

**What is expected.** The running mean starts as if some documents had shown no change, `TRUST` of them in bets that
nothing was lost, which is what these bets are about, and `DOUBT` in bets on a loss. In a simulation (14,042 documents,
12 % of answers flipped, margin of 2 points) a look every 64 documents then passes an unchanged candidate after a median
of 2,240 documents, where starting from a single one takes 2,752; a loss of 3 points is blocked after 960 instead of
1,056, and greater ones as soon as without it.

**The last look.** Bets are slower than a test of a fixed number of documents, and where all documents have been read
anyway that test decides as well. Both may be wrong, so they share α: `share_of_looks` says how. Of few documents most
gates are read to the end, and half of α for either finds a loss of 5 points in 346 documents in 74 % of gates, four
fifths for looks in 62 %, the test alone in 83 %. Of many documents most gates end long before, and are 10 to 15 %
shorter with four fifths.

Not here: asking for documents, corpus metrics, which have no such bets and are read to the end, or several tasks
(`harness.verdicts.gate`). A mean over what was seen when it was stopped is biased, so none is given; the confidence
sequence is not.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.verdicts.stats.means import Array, Differences, Interval

BOLDNESS = 0.75
"""Of what could be lost at most, the share that is ever bet."""
DOUBT, TRUST = 25, 200
"""Documents without a change that the running mean starts with: in bets on a loss, and in those that there is none."""
MANY = 5_000
"""Units from which on most of alpha is for looks."""
GRID = 4_000
"""Means that a confidence sequence starts with, from one end of what is possible to the other."""
CHUNK = 64
"""Units that are bet on at a time, after which means that are ruled out leave the grid."""
FIRST, STEADY, GROWTH = 64, 512, 8
"""The first block, until where blocks are as small, and what part of the documents read makes a block from there on."""


def block_sizes(total: int) -> Iterator[int]:
    """Yield how many of `total` documents to read before each look.

    64 at a time until 512, where a broken checkpoint shows, then an eighth of what was read. In 14,042 documents that
    are 37 looks instead of 220, and an unchanged candidate passes after 19 instead of 38 and 5 % more documents. A look
    waits for its longest answer, and reads few-shot examples anew where the engine does not keep them: those of MMLU's
    57 subjects take 48 % of all tokens then instead of 68 %, and 20 % or 19 % where it does.
    """
    read = 0
    while read < total:
        size = FIRST if read < STEADY else read // GROWTH
        yield min(size, total - read)
        read += size


def share_of_looks(units: int) -> float:
    """Return the share of alpha that is for looks before the end; the rest is the last look's."""
    return 0.8 if units >= MANY else 0.5


class _Drawn(NamedTuple):
    """Units in the order in which they are bet on."""

    sums: Array
    """Of their differences."""
    sizes: Array
    """Their weights."""


@dataclass
class SequentialTest:
    """What has been seen so far of one task's, or one average's, differences: p-values and interval hold at any time.

    Decide at the ends of blocks only. An average's documents are to come in random order over all its tasks. P-values
    are to be compared with alpha, or to be corrected for several tasks, as those of a fixed number of documents are.
    """

    margin: float
    units: int
    """How many there are: clusters, where there are some, else documents."""
    documents: int
    """How many there are in all; weights, where documents have some, add up to it."""
    heaviest: float = 1.0
    """The largest weight of a unit: a document's, or a cluster's sum."""
    bound: float | None = 1.0
    """By how much scores of a document may differ, before they are weighed; None where a metric knows no bound, which
    leaves the last look only. Scores that are further apart make it None."""
    is_finished: bool = field(default=False, init=False)
    _seen: list[Differences] = field(default_factory=list, init=False, repr=False)
    _drawn: list[_Drawn] = field(default_factory=list, init=False, repr=False)
    _fixed: tuple[float, float] = field(default=(1.0, 1.0), init=False, repr=False)

    def __post_init__(self) -> None:
        # A margin that is more than can be lost is shown by any document.
        least = max(-self.margin, -(self.bound or math.inf) * (1 - 1e-9))
        self._falls, self._holds = self._bets(np.zeros(1), sign=-1), self._bets(np.array([least]), sign=1)

    def add(self, block: Differences, weights: Array | None = None) -> None:
        """Take in the next documents, clusters whole; scores are weighed already if there are `weights`.

        The order within a block does not count: answers come sorted by length, clusters by name. They are bet on in
        one that is drawn anew for other answers: were it the same for all, the greatest gain of a first block would
        always come last in it, and bets would know when.
        """
        if self.is_finished:
            raise ValueError("no documents can be added after finish()")
        if not block.n:
            return
        self._seen.append(block)
        if self.bound is None:
            return
        sums, sizes = _units(block, weights)
        if (np.abs(sums) > sizes * self.bound * (1 + 1e-9)).any() or sizes.max() > self.heaviest * (1 + 1e-9):
            self.bound = None  # the metric knows none after all, and its bets tell nothing
            return
        by_value = np.lexsort((sizes, sums))
        told = np.column_stack([sums / self.bound, sizes])[by_value].astype(np.float32) + 0.0
        drawn = np.random.default_rng([len(self._seen), zlib.crc32(told.tobytes())])
        order = by_value[drawn.permutation(sums.size)]
        for start in range(0, sums.size, CHUNK):
            chunk = order[start : start + CHUNK]
            self._drawn.append(_Drawn(sums[chunk], sizes[chunk]))
            self._falls.bet(self._drawn[-1])
            self._holds.bet(self._drawn[-1])

    def finish(self) -> None:
        """Take the last look, with the tests of a fixed number of documents: there are no more."""
        self.is_finished = True
        if self._seen:
            everything = concatenated(self._seen)
            self._fixed = everything.p_loss, everything.p_non_inferiority(self.margin)

    @property
    def p_loss(self) -> float:
        """The p-value of "the candidate is no worse"."""
        return self._p_value(self._falls, self._fixed[0])

    @property
    def p_non_inferiority(self) -> float:
        """The p-value of "the candidate is worse by the margin or more"."""
        return self._p_value(self._holds, self._fixed[1])

    def interval(self, confidence: float = 0.95) -> Interval | None:
        """Return what holds the mean difference at all times with probability `confidence`; None if nothing is known.

        The means that no bets have ruled out, half of the error on either side, rounded outwards to the grid; and at
        the end none outside of the interval of all documents, with the share of the error that is the last look's.
        """
        looks = self._share_of_looks * (1 - confidence)
        fixed = concatenated(self._seen).interval(confidence + looks) if self.is_finished and self._seen else None
        if self.bound is None or not self._drawn:
            return fixed
        sequence = self._sequence(self.bound, looks)
        low, high = max(sequence.low, fixed.low) if fixed else sequence.low, sequence.high
        high = min(high, fixed.high) if fixed else high
        return Interval(low, high) if low <= high else sequence

    def _sequence(self, bound: float, error: float) -> Interval:
        means = np.linspace(-bound, bound, GRID + 1)[1:-1]
        up, down = self._bets(means, sign=1), self._bets(means, sign=-1)
        for drawn in self._drawn:
            up.bet(drawn)
            down.bet(drawn)
            kept = np.maximum(up.best, down.best) < math.log(2 / error)
            if not kept.any():  # what is left lies between two means of the grid
                break
            up.keep(kept)
            down.keep(kept)
        step = 2 * bound / GRID
        return Interval(float(up.means[0]) - step, float(up.means[-1]) + step)

    @property
    def _share_of_looks(self) -> float:
        return 0.0 if self.bound is None else share_of_looks(self.units)

    def _p_value(self, bets: _Bets, fixed: float) -> float:
        share = self._share_of_looks
        looks = math.exp(-float(bets.best[0])) / share if share else 1.0
        last = fixed / (1 - share) if self.is_finished else 1.0
        return min(looks, last, 1.0)

    def _bets(self, means: Array, *, sign: int) -> _Bets:
        return _Bets(means, sign, self.bound or 1.0, self.heaviest, self.documents / self.units)


class _Bets:
    """Capitals of bets against each of `means`: against "the mean is no more" (`sign` 1) or "no less" (`sign` -1)."""

    def __init__(self, means: Array, sign: int, bound: float, heaviest: float, size: float) -> None:
        """`heaviest` and `size` are the largest and the average weight of a unit."""
        self.means, self.sign = means, sign
        self.best = np.zeros(means.size)
        """The largest logarithm of the capital so far."""
        self._log = np.zeros(means.size)
        self._most = BOLDNESS / (heaviest * (bound + sign * means))
        self._prior = (TRUST if sign > 0 else DOUBT) / size  # in units
        self._sum = -sign * means * size * self._prior
        self._squares = np.full(means.size, (bound * size) ** 2)
        self._count = 0

    def bet(self, drawn: _Drawn) -> None:
        """Bet on the next units, in their order."""
        paid = self.sign * (drawn.sums[:, None] - drawn.sizes[:, None] * self.means)
        count = self._count + np.arange(len(paid) + 1)[:, None]
        totals = np.vstack([self._sum, self._sum + paid.cumsum(axis=0)])
        mean = totals / (self._prior + count)
        squares = np.vstack([self._squares, self._squares + ((paid - mean[1:]) ** 2).cumsum(axis=0)])
        before = mean[:-1]
        stake = np.clip(before / (squares[:-1] / (1 + count[:-1]) + before**2), 0.0, self._most)
        path = self._log + np.log1p(stake * paid).cumsum(axis=0)
        self.best = np.maximum(self.best, path.max(axis=0))
        self._log, self._sum, self._squares = path[-1], totals[-1], squares[-1]
        self._count += len(paid)

    def keep(self, kept: npt.NDArray[np.bool_]) -> None:
        """Forget all other means."""
        for name in ("means", "best", "_log", "_most", "_sum", "_squares"):
            setattr(self, name, getattr(self, name)[kept])


def concatenated(parts: list[Differences]) -> Differences:
    """Return the differences of all `parts`, each of whose clusters are its own."""
    clusters, known = [], 0
    for part in parts:
        own = np.arange(part.n) if part.clusters is None else part.clusters
        clusters.append(own + known)
        known += int(own.max()) + 1
    alone = all(part.clusters is None for part in parts)
    return Differences(
        np.concatenate([part.baseline for part in parts]),
        np.concatenate([part.candidate for part in parts]),
        None if alone else np.concatenate(clusters),
        max((part.span for part in parts if part.span is not None), default=None),
    )


def _units(block: Differences, weights: Array | None) -> _Drawn:
    if weights is None:
        return _Drawn(block.sums, block.sizes)
    if block.clusters is None:
        return _Drawn(block.sums, weights)
    return _Drawn(block.sums, np.bincount(block.clusters, weights=weights).astype(np.float64))
