"""The same questions of `harness.verdicts.paired` for metrics of a whole corpus: BLEU, micro F1, a ratio of sums.

A document adds its sufficient statistics, k numbers, and the metric is a function of their sums. So resampling a corpus
is a matrix product, weights by statistics, and what is scored again is k numbers a resample.

The interval and non-inferiority are of the paired bootstrap over documents, or over clusters where documents belong
together (Koehn 2004); loss is of approximate randomisation, which swaps both answers of a document (Riezler and Maxwell
2005: of the right size where the bootstrap's is not).

Not here: which metrics there are (`harness.metrics`), or scores that are means (`harness.verdicts.paired`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.verdicts.paired import Array, Interval

RESAMPLES = 10_000
CHUNK = 2**24
"""Weights held at a time, so that memory does not grow with the corpus."""

Metric = Callable[[Array], Array]
"""Sums of statistics, a row a corpus, to the metric of each."""


@dataclass(frozen=True)
class Corpora:
    """Sufficient statistics of the same documents as two checkpoints answered them: each of shape (documents, k)."""

    baseline: Array
    candidate: Array
    metric: Metric
    """Of sums; more is better."""
    clusters: npt.NDArray[np.int64] | None = None
    seed: int = 0

    @functools.cached_property
    def difference(self) -> float:
        """The candidate's metric less the baseline's, over all documents."""
        both = np.stack([self.candidate.sum(axis=0), self.baseline.sum(axis=0)])
        candidate, baseline = self.metric(both)
        return float(candidate - baseline)

    @functools.cached_property
    def resampled(self) -> Array:
        """The difference in `RESAMPLES` corpora of documents drawn anew."""
        candidate, baseline = self._units(self.candidate), self._units(self.baseline)
        drawn = [
            self.metric(weights @ candidate) - self.metric(weights @ baseline)
            for weights in self._weights(len(baseline))
        ]
        return np.concatenate(drawn)

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return the percentile interval of the difference."""
        tail = (1 - confidence) / 2
        low, high = np.quantile(self.resampled, [tail, 1 - tail])
        return Interval(float(low), float(high))

    def non_inferiority(self, margin: float) -> float:
        """Return the share of resampled corpora on which the candidate is worse by `margin` or more."""
        return float((1 + (self.resampled <= -margin).sum()) / (RESAMPLES + 1))

    @functools.cached_property
    def loss(self) -> float:
        """The p-value of "the candidate is no worse": the share of swaps that show as great a loss or greater."""
        if (self.candidate == self.baseline).all():
            return 1.0
        moved = self._units(self.candidate) - self._units(self.baseline)
        candidate, baseline = self.candidate.sum(axis=0), self.baseline.sum(axis=0)
        slack, found = 1e-9 * max(1.0, abs(self.difference)), 0
        for swaps in self._swaps(len(moved)):
            changed = swaps @ moved
            differences = self.metric(candidate - changed) - self.metric(baseline + changed)
            found += int((differences <= self.difference + slack).sum())
        return (1 + found) / (RESAMPLES + 1)

    def _units(self, statistics: Array) -> Array:
        """Return the sums of `statistics` in each cluster."""
        if self.clusters is None:
            return statistics
        sums = np.zeros((int(self.clusters.max()) + 1, statistics.shape[1]))
        np.add.at(sums, self.clusters, statistics)
        return sums

    def _weights(self, count: int) -> Iterator[Array]:
        """Yield how often each of `count` units is drawn, a row a resample."""
        chance = np.random.default_rng(self.seed)
        for size in _chunks(count):
            drawn = chance.integers(0, count, size=(size, count))
            drawn += count * np.arange(size)[:, None]
            yield np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count).astype(np.float64)

    def _swaps(self, count: int) -> Iterator[Array]:
        chance = np.random.default_rng(self.seed)
        for size in _chunks(count):
            yield (chance.random((size, count)) < 0.5).astype(np.float64)


def ratio(sums: Array) -> Array:
    """Return numerators by denominators, 0 where these are 0: of the sums of (numerator, denominator) pairs."""
    below = sums[:, 1]
    return np.divide(sums[:, 0], below, out=np.zeros(len(sums)), where=below != 0)


def _chunks(count: int) -> Iterator[int]:
    size, left = max(1, CHUNK // count), RESAMPLES
    while left > 0:
        yield min(size, left)
        left -= size
