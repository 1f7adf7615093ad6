"""What two checkpoints' answers to the same documents tell of their difference.

One number a document and checkpoint, more being better, and of each the *candidate's less the baseline's*: the mean of
these with its interval, and two one-sided tests. `loss` asks whether the candidate is really worse, `non_inferiority`
whether it is worse by less than a margin. A large p-value of either proves nothing.

Documents that share a passage, a subject or a charge come in clusters, and then clusters are what varies: everything is
computed on their sums. Without clusters each document is one.

| documents | interval, non-inferiority | loss |
|---|---|---|
| right or wrong, each by itself | Tango's score interval (Tango 1998) | McNemar's exact test |
| anything else | Student's t on the clusters' sums | the same; of few clusters, their signs flipped |

Not here: corpus metrics (`harness.verdicts.corpus`), several tasks at once (`harness.verdicts.gate`), or files.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

Array = npt.NDArray[np.float64]

FEW = 200
"""Clusters below which the t test's size is not to be relied on, so that signs are flipped instead."""
FLIPS = 9_999
"""Random flips of signs; with what was observed they make p-values in steps of 1/10,000."""
ALL_FLIPS = 13
"""Clusters up to which all flips are gone through."""


class Interval(NamedTuple):
    """Ends of an interval, in the metric's unit."""

    low: float
    high: float


@dataclass(frozen=True)
class Differences:
    """Scores of the same n documents by two checkpoints, more being better."""

    baseline: Array
    candidate: Array
    clusters: npt.NDArray[np.int64] | None = None
    """A number for each document's cluster, from 0 on without gaps; None where every document stands alone."""

    @functools.cached_property
    def each(self) -> Array:
        """Candidate less baseline, document by document."""
        return self.candidate - self.baseline

    @property
    def n(self) -> int:
        """Number of documents."""
        return int(self.each.size)

    @functools.cached_property
    def mean(self) -> float:
        """The mean difference."""
        return math.fsum(self.each) / self.n

    @property
    def lost(self) -> int:
        """Documents on which the candidate scores lower."""
        return int((self.each < 0).sum())

    @property
    def gained(self) -> int:
        """Documents on which the candidate scores higher."""
        return int((self.each > 0).sum())

    @functools.cached_property
    def is_binary(self) -> bool:
        """Every score is right (1) or wrong (0), and each document stands alone."""
        both = np.concatenate([self.baseline, self.candidate])
        return self.clusters is None and bool(np.isin(both, (0.0, 1.0)).all())

    @functools.cached_property
    def sums(self) -> Array:
        """The sum of the differences in each cluster."""
        return self.each if self.clusters is None else np.bincount(self.clusters, weights=self.each).astype(np.float64)

    @functools.cached_property
    def sizes(self) -> Array:
        """The number of documents in each cluster."""
        return np.ones(self.n) if self.clusters is None else np.bincount(self.clusters).astype(np.float64)

    @functools.cached_property
    def stderr(self) -> float | None:
        """Standard error of the mean difference; None for a single cluster, which tells nothing of how they vary.

        With clusters it is the cluster-robust one, with the factor C/(C-1) for C clusters (Cameron and Miller 2015;
        Miller 2024, arXiv 2411.00640, eq. 4).
        """
        count = self.sums.size
        if count < 2:
            return None
        return math.sqrt(math.fsum((self.sums - self.mean * self.sizes) ** 2) * count / (count - 1)) / self.n

    @functools.cached_property
    def freedom(self) -> float:
        """Degrees of freedom: the effective number of clusters less one, C - 1 where all are of one size.

        n²/Σ nᵢ² (Kish 1965; Carter, Schnepel and Steigerwald 2017): one big cluster among small ones counts for most of
        what varies.
        """
        return float(self.n**2 / (self.sizes**2).sum()) - 1

    def interval(self, confidence: float = 0.95) -> Interval | None:
        """Return the two-sided interval of the mean difference, None where nothing tells how it varies."""
        tail = (1 - confidence) / 2
        if self.is_binary:
            return Interval(_tango_limit(self, tail), -_tango_limit(self.swapped(), tail))
        if not self.stderr or self.freedom <= 0:
            return None
        half = float(special.stdtrit(self.freedom, 1 - tail)) * self.stderr
        return Interval(self.mean - half, self.mean + half)

    def swapped(self) -> Differences:
        """Return the differences the other way round."""
        return Differences(self.candidate, self.baseline, self.clusters)


def loss(differences: Differences, *, seed: int = 0) -> float:
    """Return the one-sided p-value of "the candidate is no worse": small where the loss is real.

    Given that two answers of a document differ in score, each is as likely the candidate's if nothing has changed: of
    right and wrong that is McNemar's exact test, P(Bin(b + c, 1/2) ≥ b) for b lost and c gained (McNemar 1947). Other
    scores, or clusters, have all signs flipped together cluster by cluster, which is exact under the same hypothesis
    (Fisher 1935), or where there are many the t test. 1 where no document differs.
    """
    if not differences.each.any():
        return 1.0
    if differences.is_binary:
        flips = differences.lost + differences.gained
        return float(stats.binom.sf(differences.lost - 1, flips, 0.5))
    moved = differences.sums[differences.sums != 0]
    if moved.size < FEW:
        return _flipped(moved, seed)
    assert differences.stderr
    return float(special.stdtr(differences.freedom, differences.mean / differences.stderr))


def non_inferiority(differences: Differences, margin: float) -> float:
    """Return the one-sided p-value of "the candidate is worse by `margin` or more": small where it is not.

    `margin` is positive, in the metric's unit. Where the differences do not vary and so tell nothing of how they do, as
    where nothing differs between scores that are no right and wrong, each cluster is taken to be a draw of one that
    could have lost `margin` in all: then p is (1 - margin)^C for C clusters, the probability of not having seen one.
    """
    if differences.is_binary:
        return float(stats.norm.sf(_tango(differences, -margin)))
    if not differences.stderr or differences.freedom <= 0:
        return _never_seen(differences, margin)
    return float(special.stdtr(differences.freedom, -(differences.mean + margin) / differences.stderr))


def _never_seen(differences: Differences, margin: float) -> float:
    if differences.mean <= -margin:
        return 1.0
    return float((1 - min(margin, 1.0)) ** differences.sums.size)


def needed_to_tell(differences: Differences, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return how many documents would tell two such checkpoints apart, in a two-sided test with `power`.

    (z₁₋α/₂ + z_power)² σ²/d² for the mean difference d and the variance σ² of one document, clusters taken as they are
    (Miller 2024, eq. 9). Infinite where there is no difference. n divided by it is the resolution ratio.
    """
    return _needed(differences, abs(differences.mean), alpha / 2, power)


def needed_to_pass(differences: Differences, margin: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return how many documents would show non-inferiority within `margin` with `power`, if all goes on as it has.

    Infinite where the candidate is worse by the margin or more.
    """
    return _needed(differences, max(differences.mean + margin, 0.0), alpha, power)


def _needed(differences: Differences, distance: float, tail: float, power: float) -> float:
    if distance == 0:
        return math.inf
    if differences.is_binary:  # with one flip more, so that none seen is not none to come
        flips = (differences.lost + differences.gained + 1) / (differences.n + 1)
        variance = flips - differences.mean**2
    else:
        variance = (differences.stderr or 0.0) ** 2 * differences.n
    return float((special.ndtri(1 - tail) + special.ndtri(power)) ** 2 * variance / distance**2)


# --- signs flipped ----------------------------------------------------------------------------------------------------


def _flipped(sums: Array, seed: int) -> float:
    """Return the share of sign flips of `sums` that add up to no more than they do as they are."""
    observed = math.fsum(sums)
    slack = 1e-9 * float(np.abs(sums).sum())  # sums that are equal must count as equal, however they are added up
    if sums.size <= ALL_FLIPS:
        signs = 1 - 2.0 * ((np.arange(2**sums.size)[:, None] >> np.arange(sums.size)) & 1)
        return float((signs @ sums <= observed + slack).mean())
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(FLIPS, sums.size))
    return float((1 + (signs @ sums <= observed + slack).sum()) / (FLIPS + 1))


# --- Tango ------------------------------------------------------------------------------------------------------------


def _tango(differences: Differences, difference: float) -> float:
    """Return the score statistic of the hypothesis that shares of right answers differ by `difference`.

    Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", eq. 3 and 4: normal under the hypothesis, the variance taken where it holds, so that no flips at all are no
    certainty.
    """
    n, gained, lost = differences.n, differences.gained, differences.lost
    a = 2 * n
    b = -gained - lost + (2 * n - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    nuisance = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * nuisance + difference * (1 - difference))
    distance = gained - lost - n * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _tango_limit(differences: Differences, tail: float) -> float:
    """Return the lower limit: the least difference that a one-sided score test of size `tail` does not rule out."""
    wanted = float(special.ndtri(1 - tail))
    if differences.gained == 0 and differences.lost == differences.n:
        return -1.0
    return float(optimize.brentq(lambda value: _tango(differences, value) - wanted, -1.0, differences.mean, xtol=1e-12))
