"""Sequential tests of a difference: valid at every look, so that a gate may stop after any block of documents.

A gambler bets on every document against a hypothesis on the mean difference of the population that the documents were
drawn from. If the hypothesis is true, no betting strategy gains money on average, and the probability that the capital
ever exceeds 1/α is at most α (Ville 1939). So the hypothesis may be rejected as soon as the capital exceeds 1/α, no
matter how often one looks or whether one continues (Waudby-Smith and Ramdas 2024, arXiv 2010.09686, section 4).

The population is the same as in `harness.verdicts.stats.means`, so that a verdict means the same whether it was reached
early or not. Bets on the finite set of available documents, without replacement, would be certain at its end (arXiv
2006.04347), but only about that set: one answer lost in 346 would be a certain loss, and two equal checkpoints would
"differ" in 42 of 100 gates.

**Units.** A unit is a document, or a whole cluster of documents, with the sum S of its differences and the sum V of its
weights. Against "the mean is m or less" a unit pays S - m V; against "m or more" it pays m V - S. No payment is less
than some -low, which `_Bets` computes. The share λ·low of the capital is staked, at most `BOLDNESS`. λ follows from the
earlier units as mean/(variance + mean²), which is close to the fastest growth of the capital (aGRAPA, section B.3 of
the same paper).

**Prior.** The running mean starts as if some documents had shown no change. These are `TRUST` documents in bets that
nothing was lost, because no change is what such bets expect, and `DOUBT` documents in bets on a loss. In a simulation
(14,042 documents, 12 % of answers flipped, margin of 2 points, a look every 64 documents), an unchanged candidate then
passes after a median of 2,240 documents, instead of 2,752 when starting from a single document. A loss of 3 points is
blocked after 960 instead of 1,056 documents, and larger losses as soon as without the prior.

**The last look.** Bets need more documents than a test of a fixed number of documents. If all documents have been read
anyway, that test decides as well. Both the bets and that test may be wrong, so the two share α as `share_of_looks`
says. With few documents, most gates read them to the end: a loss of 5 points in 346 documents is found in 74 % of gates
with half of α for each, in 62 % with four fifths for the bets, and in 83 % by the fixed test alone. With many
documents, most gates end long before the last look, and are 10 to 15 % shorter with four fifths for the bets.

Not here: evaluating documents; corpus metrics, for which there are no such bets, so that all documents are read;
several tasks (`harness.verdicts.gate`). The mean over the documents read at a stopping time is biased and therefore not
offered; the confidence sequence is valid.
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
"""Largest share of the capital that is staked on one unit."""
DOUBT, TRUST = 25, 200
"""The running mean starts with this many invented documents without a change: `DOUBT` in bets on a loss, `TRUST` in
bets on no loss."""
MANY = 5_000
"""If there are at least this many units (clusters, or documents), most of alpha is for the looks before the end."""
GRID = 4_000
"""Number of steps of the grid of means for a confidence sequence, from one end of the possible range to the other."""
CHUNK = 64
"""Number of units (clusters, or documents) bet on at a time, before rejected means leave the grid."""
FIRST, STEADY, GROWTH = 64, 512, 8
"""A block has `FIRST` documents until `STEADY` documents have been read. After that, its size is the number of
documents read so far, divided by `GROWTH`."""


def block_sizes(total: int) -> Iterator[int]:
    """Yield the number of documents to read before each look, for `total` documents.

    Blocks have 64 documents until 512 are read, because these reveal a broken checkpoint. Later blocks have an eighth
    of the documents read so far. Compared with blocks of 64 throughout, 14,042 documents take 37 looks instead of 220,
    and an unchanged candidate passes after 19 looks instead of 38, with 5 % more documents. A look waits for the
    longest answer. It reads few-shot examples again unless the engine keeps them: with the examples of MMLU's 57
    subjects, 48 % of all tokens are read instead of 68 %, or 20 % instead of 19 % if the engine keeps them.
    """
    read = 0
    while read < total:
        size = FIRST if read < STEADY else read // GROWTH
        yield min(size, total - read)
        read += size


def share_of_looks(units: int) -> float:
    """Return the share of alpha that is for looks before the end; the rest is for the last look."""
    return 0.8 if units >= MANY else 0.5


class _Draws(NamedTuple):
    """Units (clusters, or documents) in the order in which they are bet on."""

    sums: Array
    """Sum of the differences of each unit (cluster, or document)."""
    sizes: Array
    """Sum of the weights of the documents of each unit (cluster, or document)."""


@dataclass
class SequentialTest:
    """The differences of one task or average, added block by block; p-values and interval are valid at any time.

    Decide only at the ends of blocks. The documents of an average must come in random order over all its tasks. Compare
    the p-values with alpha, or correct them for several tasks, as in tests of a fixed number of documents.
    """

    margin: float
    units: int
    """Total number of units: clusters if there are any, otherwise documents."""
    documents: int
    """Total number of documents; if documents are weighted, their weights add up to this number."""
    heaviest: float = 1.0
    """Largest weight of a unit: of a document, or of a cluster (the sum over its documents)."""
    bound: float | None = 1.0
    """Largest possible difference of a document's two scores, before weighting. None if the metric is unbounded, or
    once larger differences have occurred. Without a bound, only the last look is left."""
    is_finished: bool = field(default=False, init=False)
    _blocks: list[Differences] = field(default_factory=list, init=False, repr=False)
    _draws: list[_Draws] = field(default_factory=list, init=False, repr=False)
    _fixed: tuple[float, float] = field(default=(1.0, 1.0), init=False, repr=False)
    """The p-values of the last look: `p_loss`, then `p_non_inferiority`."""

    def __post_init__(self) -> None:
        # If the margin exceeds what can be lost, any document shows non-inferiority.
        least = max(-self.margin, -(self.bound or math.inf) * (1 - 1e-9))
        self._falls, self._holds = self._bets(np.zeros(1), sign=-1), self._bets(np.array([least]), sign=1)

    def add(self, block: Differences, weights: Array | None = None) -> None:
        """Add the next documents, in whole clusters. Scores in `block` are already multiplied by `weights`.

        The order within a block is not used, because answers come sorted by length and clusters by name. Units are bet
        on in a random order whose seed depends on the answers: with the same order for all answers, the largest gain of
        a first block would always come last, and the bets would exploit that. Raises ValueError after `finish`.
        """
        if self.is_finished:
            raise ValueError("no documents can be added after finish()")
        if not block.n:
            return
        self._blocks.append(block)
        if self.bound is None:
            return
        sums, sizes = _units(block, weights)
        if (np.abs(sums) > sizes * self.bound * (1 + 1e-9)).any() or sizes.max() > self.heaviest * (1 + 1e-9):
            self.bound = None  # the metric turns out to be unbounded, so its bets are not valid
            return
        by_value = np.lexsort((sizes, sums))
        content = np.column_stack([sums / self.bound, sizes])[by_value].astype(np.float32) + 0.0
        generator = np.random.default_rng([len(self._blocks), zlib.crc32(content.tobytes())])
        order = by_value[generator.permutation(sums.size)]
        for start in range(0, sums.size, CHUNK):
            chunk = order[start : start + CHUNK]
            self._draws.append(_Draws(sums[chunk], sizes[chunk]))
            self._falls.bet(self._draws[-1])
            self._holds.bet(self._draws[-1])

    def finish(self) -> None:
        """Take the last look, after all documents were added, with the tests of a fixed number of documents."""
        self.is_finished = True
        if self._blocks:
            everything = concatenated(self._blocks)
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
        """Return the confidence sequence: it contains the mean difference at all times with probability `confidence`.

        The sequence consists of the means that no bets have rejected, with half of the error on either side, rounded
        outwards to the grid of means. After `finish` it is intersected with the interval for a fixed number of
        documents, which has the last look's share of the error. None if nothing is known.
        """
        error = self._share_of_looks * (1 - confidence)
        fixed = concatenated(self._blocks).interval(confidence + error) if self.is_finished and self._blocks else None
        if self.bound is None or not self._draws:
            return fixed
        sequence = self._sequence(self.bound, error)
        low, high = max(sequence.low, fixed.low) if fixed else sequence.low, sequence.high
        high = min(high, fixed.high) if fixed else high
        return Interval(low, high) if low <= high else sequence

    def _sequence(self, bound: float, error: float) -> Interval:
        means = np.linspace(-bound, bound, GRID + 1)[1:-1]
        up, down = self._bets(means, sign=1), self._bets(means, sign=-1)
        for draws in self._draws:
            up.bet(draws)
            down.bet(draws)
            possible = np.maximum(up.best, down.best) < math.log(2 / error)
            if not possible.any():  # the remaining mean lies between two means of the grid
                break
            up.keep(possible)
            down.keep(possible)
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
    """The capital of bets for each m of `means`, against "the mean is at most m" (`sign` 1) or "at least m" (-1)."""

    def __init__(self, means: Array, sign: int, bound: float, heaviest: float, size: float) -> None:
        """`heaviest` and `size` are the largest and the average weight of a unit (cluster, or document)."""
        self.means, self.sign = means, sign
        self.best = np.zeros(means.size)
        """For each of the means, the largest logarithm of the capital so far."""
        self._log = np.zeros(means.size)
        self._most = BOLDNESS / (heaviest * (bound + sign * means))
        self._prior = (TRUST if sign > 0 else DOUBT) / size  # in units
        self._sum = -sign * means * size * self._prior
        self._squares = np.full(means.size, (bound * size) ** 2)
        self._count = 0

    def bet(self, draws: _Draws) -> None:
        """Bet on the units `draws`, in order."""
        paid = self.sign * (draws.sums[:, None] - draws.sizes[:, None] * self.means)
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

    def keep(self, mask: npt.NDArray[np.bool_]) -> None:
        """Remove the means for which `mask` is false, and their bets."""
        for name in ("means", "best", "_log", "_most", "_sum", "_squares"):
            setattr(self, name, getattr(self, name)[mask])


def concatenated(parts: list[Differences]) -> Differences:
    """Return the differences of all `parts`, no two of which share a cluster."""
    clusters, count = [], 0
    for part in parts:
        numbers = np.arange(part.n) if part.clusters is None else part.clusters
        clusters.append(numbers + count)
        count += int(numbers.max()) + 1
    has_clusters = any(part.clusters is not None for part in parts)
    return Differences(
        np.concatenate([part.baseline for part in parts]),
        np.concatenate([part.candidate for part in parts]),
        np.concatenate(clusters) if has_clusters else None,
        max((part.span for part in parts if part.span is not None), default=None),
    )


def _units(block: Differences, weights: Array | None) -> _Draws:
    if weights is None:
        return _Draws(block.sums, block.sizes)
    if block.clusters is None:
        return _Draws(block.sums, weights)
    return _Draws(block.sums, np.bincount(block.clusters, weights=weights).astype(np.float64))
