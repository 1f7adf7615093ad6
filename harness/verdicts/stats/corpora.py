"""The same questions of `harness.verdicts.stats.means` for metrics of a whole corpus: BLEU, micro F1, a ratio of sums.

A document adds its sufficient statistics, k numbers, and the metric is a function of their sums. So resampling a corpus
is a matrix product, weights by statistics, and what is scored again is k numbers a resample.

The interval and the standard error are of the paired bootstrap over documents, or over clusters where documents belong
together (Koehn 2004); loss is of approximate randomisation, which swaps both answers of a document (Riezler and Maxwell
2005: of the right size where the bootstrap's is not). Where there are more than `GROUPS` units they are dealt at random
into that many groups, which are drawn and swapped whole: swaps of groups are swaps, so the test stays exact, and the
spread of the sums is the same on average.

Not here: which metrics there are (`harness.metrics`), or scores that are means (`harness.verdicts.stats.means`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from harness.verdicts.stats.means import (
    Array,
    Interval,
    documents_needed,
    fewest_units,
    p_unseen_loss,
    units_to_see_loss,
    with_one_more_loss,
)

RESAMPLES = 10_000
GROUPS = 2_000
"""Units that are drawn or swapped at most."""
CHUNK = 2**21
"""Weights held as floating-point numbers at a time."""

Metric = Callable[[Array], Array]
"""Sums of statistics, a row a corpus, to the metric of each."""
Units = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Corpora:
    """Sufficient statistics of the same documents as two checkpoints answered them: each of shape (documents, k).

    The metric must depend on the proportions of the sums only, as of a corpus and its copies. What a candidate can lose
    at most is taken to be what the baseline has, which is no bound for a perplexity: there a loss that no document seen
    tells of is one that no test rules out.
    """

    baseline: Array
    candidate: Array
    metric: Metric
    """Of sums; more is better."""
    clusters: Units | None = None
    """A number for each document's cluster, from 0 on without gaps; None where every document stands alone."""
    seed: int = 0

    @property
    def n(self) -> int:
        """Number of documents."""
        return len(self.baseline)

    @property
    def units(self) -> int:
        """Number of clusters, or of documents where each stands alone."""
        return self.n if self.clusters is None else int(self.clusters.max()) + 1

    @functools.cached_property
    def scores(self) -> tuple[float, float]:
        """The metric of the baseline and of the candidate, over all documents."""
        baseline, candidate = self.metric(np.stack([self.baseline.sum(axis=0), self.candidate.sum(axis=0)]))
        return float(baseline), float(candidate)

    @property
    def difference(self) -> float:
        """The candidate's metric less the baseline's, over all documents."""
        baseline, candidate = self.scores
        return candidate - baseline

    @functools.cached_property
    def each(self) -> Array:
        """What the baseline's metric gains where the candidate answers one document, document by document."""
        return self._changes(self.baseline, self.candidate)

    @property
    def lost(self) -> int:
        """Documents whose answer by the candidate, in place of the baseline's, lowers the baseline's metric."""
        return int((self.each < 0).sum())

    @property
    def gained(self) -> int:
        """Documents whose answer by the candidate, in place of the baseline's, raises the baseline's metric."""
        return int((self.each > 0).sum())

    @functools.cached_property
    def resampled(self) -> Array:
        """The difference in `RESAMPLES` corpora of documents drawn anew."""
        baseline, candidate = (self._grouped(side) for side in (self.baseline, self.candidate))
        sums = np.split(
            _product(_draws(RESAMPLES, len(baseline), self.seed), np.hstack([baseline, candidate])), 2, axis=1
        )
        return self.metric(sums[1]) - self.metric(sums[0])

    @functools.cached_property
    def stderr(self) -> float | None:
        """The standard deviation of the resampled difference; None where there is none to tell how it varies."""
        count = min(self.units, GROUPS)
        spread = float(self.resampled.std())
        return spread * (count / (count - 1)) ** 0.5 if count > 1 and spread > 0 else None

    def interval(self, confidence: float = 0.95) -> Interval | None:
        """Return the percentile interval of the difference, None where nothing tells how it varies."""
        if self.stderr is None:
            return None
        tail = (1 - confidence) / 2
        low, high = np.quantile(self.resampled, [tail, 1 - tail])
        return Interval(float(low), float(high))

    def p_non_inferiority(self, margin: float) -> float:
        """Return the one-sided p-value of "the candidate is worse by `margin` or more": small where it is not.

        The t test on the bootstrap's standard error `with_one_more_loss`: the share of resampled corpora beyond the
        margin is too small where few documents changed.
        """
        if self.stderr is None:
            return p_unseen_loss(self.difference, margin, self._span, self.units)
        more = with_one_more_loss(self.difference, self.stderr, self._shares, self._span)
        return float(special.stdtr(min(self.units, GROUPS), -(more.difference + margin) / more.stderr))

    @property
    def p_loss(self) -> float:
        """The p-value of "the candidate is no worse": the share of swaps that show as great a loss or greater."""
        return (1 + float((self._swapped <= self.difference + self._slack).sum())) / (RESAMPLES + 1)

    @property
    def p_gain(self) -> float:
        """The p-value of "the candidate is no better": the share of swaps that show as great a gain or greater."""
        return (1 + float((self._swapped >= self.difference - self._slack).sum())) / (RESAMPLES + 1)

    def needed_to_tell(self, *, alpha: float = 0.05, power: float = 0.8) -> float:
        """Return how many documents would tell two such checkpoints apart, in a two-sided test with `power`.

        As `Differences.needed_to_tell`, of the resampled spread.
        """
        least = fewest_units(alpha / 2) * self.n / self.units
        return max(documents_needed(abs(self.difference), self._variance, alpha / 2, power), least)

    def needed_to_pass(self, margin: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
        """Return how many documents would show non-inferiority within `margin` with `power`, all going on as it has."""
        least = units_to_see_loss(self.difference, margin, self._span, alpha) * self.n / self.units
        return max(documents_needed(self.difference + margin, self._variance, alpha, power), least)

    @functools.cached_property
    def _swapped(self) -> Array:
        """The difference after `RESAMPLES` random swaps."""
        baseline, candidate = (self._grouped(side) for side in (self.baseline, self.candidate))
        moved = _product(_swaps(RESAMPLES, len(baseline), self.seed), candidate - baseline)
        return self.metric(candidate.sum(axis=0) - moved) - self.metric(baseline.sum(axis=0) + moved)

    @property
    def _slack(self) -> float:
        return 1e-9 * max(1.0, abs(self.difference))  # differences that are equal must count as equal

    @property
    def _variance(self) -> float:
        return with_one_more_loss(self.difference, self.stderr or 0.0, self._shares, self._span).stderr ** 2 * self.n

    @property
    def _shares(self) -> Array:
        """What each unit changes, on the scale on which their mean is about the difference."""
        sides = (self._clustered(side) for side in (self.baseline, self.candidate))
        changes = self.each if self.clusters is None else self._changes(*sides)
        return changes * self.units

    @functools.cached_property
    def _span(self) -> float:
        """The most that one unit can lose, on the same scale: of all that the baseline has, the largest share."""
        table = np.abs(self._clustered(self.baseline))
        total = table.sum(axis=0)
        used = np.count_nonzero(total)
        each = np.divide(1.0, total * used, out=np.zeros(total.size), where=total > 0)
        share = float((table @ each).max()) if used else 1.0
        return abs(self.scores[0]) * share * self.units

    def _changes(self, baseline: Array, candidate: Array) -> Array:
        """Return what the baseline's metric gains where one row of it is the candidate's."""
        total = baseline.sum(axis=0)
        before = self.metric(total[None])
        rows = (slice(start, start + size) for start, size in _chunks(*baseline.shape))
        found = np.concatenate([self.metric(total - baseline[some] + candidate[some]) for some in rows]) - before
        found[(candidate == baseline).all(axis=1) | (np.abs(found) < 1e-12 * max(1.0, abs(self.scores[0])))] = 0
        return found

    def _clustered(self, statistics: Array) -> Array:
        return statistics if self.clusters is None else _summed(statistics, self.clusters, self.units)

    def _grouped(self, statistics: Array) -> Array:
        """Return the sums of `statistics` in each of the units, or of their groups."""
        if self.units <= GROUPS:
            return self._clustered(statistics)
        dealt = np.random.default_rng(self.seed).permutation(self.units) % GROUPS
        return _summed(statistics, dealt if self.clusters is None else dealt[self.clusters], GROUPS)


def _summed(statistics: Array, groups: Units, count: int) -> Array:
    columns = [np.bincount(groups, weights=column, minlength=count) for column in statistics.T]
    return np.stack(columns, axis=1)


Weights = npt.NDArray[np.uint8]  # no unit is drawn 256 times: each is drawn once on average


@functools.lru_cache(maxsize=2)
def _draws(rows: int, count: int, seed: int) -> Weights:
    """Return how often each of `count` units is drawn, a row a resample; remembered, for the next task."""
    chance = np.random.default_rng(seed)
    found = np.empty((rows, count), dtype=np.uint8)
    for start, size in _chunks(rows, count):
        drawn = chance.integers(0, count, size=(size, count))
        drawn += count * np.arange(size)[:, None]
        found[start : start + size] = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
    return found


@functools.lru_cache(maxsize=2)
def _swaps(rows: int, count: int, seed: int) -> Weights:
    """Return which of `count` units are swapped, a row a swap; remembered, for the next task."""
    return np.random.default_rng(seed).integers(0, 2, size=(rows, count), dtype=np.uint8)


def _product(weights: Weights, statistics: Array) -> Array:
    pieces = (weights[start : start + size] for start, size in _chunks(*weights.shape))
    return np.concatenate([piece.astype(np.float64) @ statistics for piece in pieces])


def _chunks(rows: int, count: int) -> Iterator[tuple[int, int]]:
    size = max(1, CHUNK // count)
    for start in range(0, rows, size):
        yield start, min(size, rows - start)
