"""Paired tests and intervals for metrics of a whole corpus: BLEU, micro F1, a ratio of sums.

The questions asked are those of `harness.verdicts.stats.means`. A document contributes sufficient statistics (k
numbers), and the metric is a function of the sums of these numbers over documents. So resampling a corpus is a matrix
product of weights and statistics, and the metric is computed again from only k numbers per resample.

The interval and the standard error come from the paired bootstrap over documents, or over clusters (Koehn 2004); the
test of a loss is approximate randomisation, which swaps the two answers to a document (Riezler and Maxwell 2005: its
error rate is correct where the bootstrap's is not). If there are more than `GROUPS` units (clusters, or documents),
they are assigned at random to that many groups, which are drawn and swapped as a whole. Because this only swaps units
together, the test stays exact, and the spread of the sums is the same on average.

Not here: the metrics themselves (`harness.metrics`), or scores that are means (`harness.verdicts.stats.means`).
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
"""Largest number of units (clusters, or documents) that are drawn or swapped separately."""
CHUNK = 2**21
"""Number of resampling weights that are converted to floating point at a time, to save memory."""

Metric = Callable[[Array], Array]
"""A function from sums of statistics, one row per corpus, to the metric of each corpus."""
Units = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Corpora:
    """Sufficient statistics of the same documents for two checkpoints, each of shape (documents, k).

    The metric must depend only on the proportions of the sums, so that repeating a corpus does not change its value.
    The largest possible loss is taken to be the baseline's value. Perplexity has no largest loss, so no test can rule
    out a loss of perplexity that none of the documents shows.
    """

    baseline: Array
    candidate: Array
    metric: Metric
    """Maps sums of statistics to the metric, converted so that more is better."""
    clusters: Units | None = None
    """The cluster number of each document, from 0 without gaps; None if every document is its own cluster."""
    seed: int = 0

    @property
    def n(self) -> int:
        """Number of documents."""
        return len(self.baseline)

    @property
    def units(self) -> int:
        """Number of clusters, or of documents if every document is its own cluster."""
        return self.n if self.clusters is None else int(self.clusters.max()) + 1

    @functools.cached_property
    def scores(self) -> tuple[float, float]:
        """The metric of the baseline and of the candidate, over all documents."""
        baseline, candidate = self.metric(np.stack([self.baseline.sum(axis=0), self.candidate.sum(axis=0)]))
        return float(baseline), float(candidate)

    @property
    def difference(self) -> float:
        """The candidate's metric over all documents minus the baseline's."""
        baseline, candidate = self.scores
        return candidate - baseline

    @functools.cached_property
    def by_document(self) -> Array:
        """For each document, how the baseline's metric changes if the candidate's answer replaces the baseline's."""
        return self._changes(self.baseline, self.candidate)

    @property
    def lost(self) -> int:
        """Number of documents for which the candidate's answer, in place of the baseline's, lowers the metric."""
        return int((self.by_document < 0).sum())

    @property
    def gained(self) -> int:
        """Number of documents for which the candidate's answer, in place of the baseline's, raises the metric."""
        return int((self.by_document > 0).sum())

    @functools.cached_property
    def resampled(self) -> Array:
        """The difference between candidate and baseline in each of `RESAMPLES` resampled corpora."""
        baseline, candidate = (self._grouped(side) for side in (self.baseline, self.candidate))
        draws = _draws(RESAMPLES, len(baseline), self.seed)
        sums = np.split(_product(draws, np.hstack([baseline, candidate])), 2, axis=1)
        return self.metric(sums[1]) - self.metric(sums[0])

    @functools.cached_property
    def stderr(self) -> float | None:
        """Standard deviation of the difference over resampled corpora; None if the difference does not vary."""
        count = min(self.units, GROUPS)
        spread = float(self.resampled.std())
        return spread * (count / (count - 1)) ** 0.5 if count > 1 and spread > 0 else None

    def interval(self, confidence: float = 0.95) -> Interval | None:
        """Return the percentile interval of the difference over resampled corpora; None if it does not vary."""
        if self.stderr is None:
            return None
        tail = (1 - confidence) / 2
        low, high = np.quantile(self.resampled, [tail, 1 - tail])
        return Interval(float(low), float(high))

    def p_non_inferiority(self, margin: float) -> float:
        """Return the one-sided p-value of "the candidate is worse by `margin` or more".

        This is a t test with the bootstrap's standard error, adjusted by `with_one_more_loss`. The share of resampled
        corpora beyond the margin is not used as p-value, because it is too small if few documents changed.
        """
        if self.stderr is None:
            return p_unseen_loss(self.difference, margin, self._span, self.units)
        more = with_one_more_loss(self.difference, self.stderr, self._shares, self._span)
        return float(special.stdtr(min(self.units, GROUPS), -(more.difference + margin) / more.stderr))

    @property
    def p_loss(self) -> float:
        """The p-value of "the candidate is no worse": the share of random swaps with at least the observed loss."""
        return (1 + float((self._swapped <= self.difference + self._slack).sum())) / (RESAMPLES + 1)

    @property
    def p_gain(self) -> float:
        """The p-value of "the candidate is no better": the share of random swaps with at least the observed gain."""
        return (1 + float((self._swapped >= self.difference - self._slack).sum())) / (RESAMPLES + 1)

    def needed_to_tell(self, *, alpha: float = 0.05, power: float = 0.8) -> float:
        """Return the number of documents that would detect this difference in a two-sided test with `power`.

        The number is computed as in `Differences.needed_to_tell`, from the variance over resampled corpora.
        """
        least = fewest_units(alpha / 2) * self.n / self.units
        return max(documents_needed(abs(self.difference), self._variance, alpha / 2, power), least)

    def needed_to_pass(self, margin: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
        """Return the number of documents that would show non-inferiority with `power`, if the difference persists."""
        least = units_to_see_loss(self.difference, margin, self._span, alpha) * self.n / self.units
        return max(documents_needed(self.difference + margin, self._variance, alpha, power), least)

    @functools.cached_property
    def _swapped(self) -> Array:
        """The difference after each of `RESAMPLES` random swaps of the two checkpoints' answers."""
        baseline, candidate = (self._grouped(side) for side in (self.baseline, self.candidate))
        moved = _product(_swaps(RESAMPLES, len(baseline), self.seed), candidate - baseline)
        return self.metric(candidate.sum(axis=0) - moved) - self.metric(baseline.sum(axis=0) + moved)

    @property
    def _slack(self) -> float:
        return 1e-9 * max(1.0, abs(self.difference))  # equal differences must compare as equal despite rounding

    @property
    def _variance(self) -> float:
        return with_one_more_loss(self.difference, self.stderr or 0.0, self._shares, self._span).stderr ** 2 * self.n

    @property
    def _shares(self) -> Array:
        """The change that each unit makes, scaled so that the mean over all units approximates the difference."""
        sides = (self._by_cluster(side) for side in (self.baseline, self.candidate))
        changes = self.by_document if self.clusters is None else self._changes(*sides)
        return changes * self.units

    @functools.cached_property
    def _span(self) -> float:
        """The largest possible loss of a unit, scaled like `_shares`: the largest share of any unit in the baseline."""
        table = np.abs(self._by_cluster(self.baseline))
        total = table.sum(axis=0)
        used = np.count_nonzero(total)
        weights = np.divide(1.0, total * used, out=np.zeros(total.size), where=total > 0)
        share = float((table @ weights).max()) if used else 1.0
        return abs(self.scores[0]) * share * self.units

    def _changes(self, baseline: Array, candidate: Array) -> Array:
        """Return, for each row, the change of the baseline's metric if the candidate's row replaces the baseline's."""
        total = baseline.sum(axis=0)
        before = self.metric(total[None])
        chunks = (slice(start, start + size) for start, size in _chunks(*baseline.shape))
        after = np.concatenate([self.metric(total - baseline[rows] + candidate[rows]) for rows in chunks])
        changes = after - before
        is_rounding = np.abs(changes) < 1e-12 * max(1.0, abs(self.scores[0]))
        changes[(candidate == baseline).all(axis=1) | is_rounding] = 0
        return changes

    def _by_cluster(self, statistics: Array) -> Array:
        return statistics if self.clusters is None else _summed(statistics, self.clusters, self.units)

    def _grouped(self, statistics: Array) -> Array:
        """Return the sums of `statistics` over each unit (cluster, or document), or over each group of many units."""
        if self.units <= GROUPS:
            return self._by_cluster(statistics)
        groups = np.random.default_rng(self.seed).permutation(self.units) % GROUPS
        return _summed(statistics, groups if self.clusters is None else groups[self.clusters], GROUPS)


def _summed(statistics: Array, groups: Units, count: int) -> Array:
    columns = [np.bincount(groups, weights=column, minlength=count) for column in statistics.T]
    return np.stack(columns, axis=1)


Weights = npt.NDArray[np.uint8]
"""How often each unit (cluster, or document) is drawn. A byte suffices: the mean is 1, so 256 draws never occur."""


@functools.lru_cache(maxsize=2)
def _draws(rows: int, count: int, seed: int) -> Weights:
    """Return how often each of `count` units is drawn, one row per resample; cached for tasks of equal size."""
    generator = np.random.default_rng(seed)
    draws = np.empty((rows, count), dtype=np.uint8)
    for start, size in _chunks(rows, count):
        units = generator.integers(0, count, size=(size, count))
        units += count * np.arange(size)[:, None]
        draws[start : start + size] = np.bincount(units.ravel(), minlength=size * count).reshape(size, count)
    return draws


@functools.lru_cache(maxsize=2)
def _swaps(rows: int, count: int, seed: int) -> Weights:
    """Return which of `count` units are swapped, one row per random swap; cached for tasks of equal size."""
    return np.random.default_rng(seed).integers(0, 2, size=(rows, count), dtype=np.uint8)


def _product(weights: Weights, statistics: Array) -> Array:
    pieces = (weights[start : start + size] for start, size in _chunks(*weights.shape))
    return np.concatenate([piece.astype(np.float64) @ statistics for piece in pieces])


def _chunks(rows: int, count: int) -> Iterator[tuple[int, int]]:
    size = max(1, CHUNK // count)
    for start in range(0, rows, size):
        yield start, min(size, rows - start)
