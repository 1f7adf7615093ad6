"""What two checkpoints' answers to the same documents tell of their difference.

One number a document and checkpoint, more being better, and of each the *candidate's less the baseline's*: the mean of
these with its interval, and one-sided tests. `p_loss` asks whether the candidate is really worse, `p_non_inferiority`
whether it is worse by less than a margin. A large p-value of either proves nothing.

Documents that share a passage, a subject or a charge come in clusters, and then clusters are what varies: everything is
computed on their sums. Without clusters each document is one. A *unit* is a cluster, or a document that stands alone.

| documents | interval, non-inferiority | loss |
|---|---|---|
| right or wrong, each by itself | Tango's score interval (Tango 1998) | McNemar's exact test |
| anything else | Student's t on the clusters' sums | the same; of few clusters, their signs flipped |

Not here: corpus metrics (`harness.verdicts.stats.corpora`), several tasks at once (`harness.verdicts.gate`), or files.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

Array = npt.NDArray[np.float64]

FEW = 200
"""Clusters below which the t test's size is not to be relied on, so that signs are flipped instead."""
FLIPS = 9_999
"""Random flips of signs; with what was observed they make p-values in steps of 1/10,000. A smaller one is a bound."""
ALL_FLIPS = 13
"""Clusters up to which all flips are gone through."""


class Interval(NamedTuple):
    """Ends of an interval, in the metric's unit."""

    low: float
    high: float


class Compared(Protocol):
    """Two checkpoints' answers to the same documents under one metric, more being better.

    `Differences` where the metric is a mean, `harness.verdicts.stats.corpora.Corpora` where it is of a whole corpus.
    """

    @property
    def n(self) -> int:
        """Number of documents."""

    @property
    def units(self) -> int:
        """Number of clusters, or of documents where each stands alone."""

    @property
    def scores(self) -> tuple[float, float]:
        """The metric of the baseline and of the candidate."""

    @property
    def difference(self) -> float:
        """The candidate's metric less the baseline's."""

    @property
    def stderr(self) -> float | None:
        """Standard error of the difference; None where nothing tells how it varies."""

    @property
    def lost(self) -> int:
        """Documents on which the candidate does worse."""

    @property
    def gained(self) -> int:
        """Documents on which the candidate does better."""

    @property
    def p_loss(self) -> float:
        """The one-sided p-value of "the candidate is no worse": small where the loss is real."""

    @property
    def p_gain(self) -> float:
        """The one-sided p-value of "the candidate is no better": small where the gain is real."""

    def interval(self, confidence: float = 0.95) -> Interval | None:
        """Return the two-sided interval of the difference, None where nothing tells how it varies."""

    def p_non_inferiority(self, margin: float) -> float:
        """Return the one-sided p-value of "the candidate is worse by `margin` or more": small where it is not."""

    def needed_to_tell(self, *, alpha: float = 0.05, power: float = 0.8) -> float:
        """Return how many documents would tell two such checkpoints apart, in a two-sided test with `power`."""

    def needed_to_pass(self, margin: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
        """Return how many documents would show non-inferiority within `margin` with `power`, all going on as it has."""


@dataclass(frozen=True)
class Differences:
    """Scores of the same n documents by two checkpoints, more being better."""

    baseline: Array
    candidate: Array
    clusters: npt.NDArray[np.int64] | None = None
    """A number for each document's cluster, from 0 on without gaps; None where every document stands alone."""
    span: float | None = None
    """The most that one document can lose, where that is more than 1 and than every score: the largest weight."""
    seed: int = 0

    @functools.cached_property
    def each(self) -> Array:
        """Candidate less baseline, document by document."""
        return self.candidate - self.baseline

    @property
    def n(self) -> int:
        """Number of documents."""
        return int(self.each.size)

    @property
    def units(self) -> int:
        """Number of clusters, or of documents where each stands alone."""
        return int(self.sums.size)

    @functools.cached_property
    def scores(self) -> tuple[float, float]:
        """The mean scores of the baseline and of the candidate."""
        return math.fsum(self.baseline) / self.n, math.fsum(self.candidate) / self.n

    @functools.cached_property
    def difference(self) -> float:
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
        return self.clusters is None and self.span in (None, 1) and bool(np.isin(both, (0.0, 1.0)).all())

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
        if self.units < 2:
            return None
        squares = math.fsum((self.sums - self.difference * self.sizes) ** 2)
        return math.sqrt(squares * self.units / (self.units - 1)) / self.n

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
        return Interval(self.difference - half, self.difference + half)

    def swapped(self) -> Differences:
        """Return the differences the other way round."""
        return Differences(self.candidate, self.baseline, self.clusters, self.span, self.seed)

    @functools.cached_property
    def p_loss(self) -> float:
        """The one-sided p-value of "the candidate is no worse": small where the loss is real.

        Given that two answers of a document differ in score, each is as likely the candidate's if nothing has changed:
        of right and wrong that is McNemar's exact test, P(Bin(b + c, 1/2) ≥ b) for b lost and c gained (McNemar 1947).
        Other scores, or clusters, have all signs flipped together cluster by cluster, which is exact under the same
        hypothesis (Fisher 1935), or where there are many the t test. 1 where no document differs.
        """
        if not self.each.any():
            return 1.0
        if self.is_binary:
            return float(special.bdtrc(self.lost - 1, self.lost + self.gained, 0.5))
        moved = self.sums[self.sums != 0]
        if moved.size < FEW:
            return _flipped(moved, self.seed)
        if not self.stderr:  # all changed alike
            return 0.5**moved.size if self.difference < 0 else 1.0
        return float(special.stdtr(self.freedom, self.difference / self.stderr))

    @property
    def p_gain(self) -> float:
        """The one-sided p-value of "the candidate is no better": small where the gain is real."""
        return self.swapped().p_loss

    def p_non_inferiority(self, margin: float) -> float:
        """Return the one-sided p-value of "the candidate is worse by `margin` or more": small where it is not.

        `margin` is positive, in the metric's unit. Of right and wrong, Tango's score test; of other scores and of
        clusters, the t test `with_one_more_loss`. Where no difference varies, and so none tells how, `p_unseen_loss`.
        """
        if self.is_binary and (self.lost or self.gained):
            return float(special.ndtr(-_tango(self, -margin)))
        if not self.stderr or self.freedom <= 0:
            return p_unseen_loss(self.difference, margin, self._span, self.units)
        more = with_one_more_loss(self.difference, self.stderr, self._shares, self._span)
        return float(special.stdtr(self.freedom + 1, -(more.difference + margin) / more.stderr))

    def needed_to_tell(self, *, alpha: float = 0.05, power: float = 0.8) -> float:
        """Return how many documents would tell two such checkpoints apart, in a two-sided test with `power`.

        (z₁₋α/₂ + z_power)² σ²/d² for the mean difference d and the variance σ² of one document, clusters taken as they
        are (Miller 2024, eq. 9), and never fewer than `fewest_units`; infinite if there is no difference. n divided by
        it is the resolution ratio.
        """
        least = fewest_units(alpha / 2) * self.n / self.units
        return max(documents_needed(abs(self.difference), self._variance, alpha / 2, power), least)

    def needed_to_pass(self, margin: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
        """Return how many documents would show non-inferiority within `margin` with `power`, all going on as it has.

        Infinite where the candidate is worse by the margin or more.
        """
        least = units_to_see_loss(self.difference, margin, self._span, alpha) * self.n / self.units
        return max(documents_needed(self.difference + margin, self._variance, alpha, power), least)

    @property
    def _variance(self) -> float:
        """The variance of one document, with one flip more, so that none seen is not none to come."""
        if self.is_binary:
            return (self.lost + self.gained + 1) / (self.n + 1) - self.difference**2
        return with_one_more_loss(self.difference, self.stderr or 0.0, self._shares, self._span).stderr ** 2 * self.n

    @property
    def _shares(self) -> Array:
        """What each cluster changes, on the scale on which the mean over clusters is the mean difference."""
        return self.sums * self.units / self.n

    @functools.cached_property
    def _span(self) -> float:
        """The most that one cluster can lose, on the same scale."""
        both = np.abs([self.baseline, self.candidate])
        span = max(self.span or 1.0, float(both.max()))
        return span * float(self.sizes.max()) * self.units / self.n


# --- what is rare -----------------------------------------------------------------------------------------------------


class _More(NamedTuple):
    difference: float
    stderr: float


def with_one_more_loss(difference: float, stderr: float, shares: Array, span: float) -> _More:
    """Return difference and standard error as if one unit more had been lost.

    Where few units changed, chance decides whether one that loses much was among them, and where none was, the t test
    takes for certain what is luck: of 100 documents of which 2 % lose everything, 13 have no such document. So one more
    is counted, as Agresti and Coull do for a proportion (1998). It loses as much as units changed in the root mean
    square, `span`, the most that one can lose, being counted as one of them: where many units changed, it changes
    nothing that matters. `shares` is what each unit changes, their mean being the difference.
    """
    count, changed = shares.size, int(np.count_nonzero(shares))
    lost = math.sqrt((math.fsum(shares**2) + span**2) / (changed + 1))
    return _More((count * difference - lost) / (count + 1), math.hypot(stderr, lost / count))


def p_unseen_loss(difference: float, margin: float, span: float, units: int) -> float:
    """Return the p-value of "worse by `margin` or more" where every unit of `units` changed by `difference` alike.

    If it is so, some units must lose more, at most `span`: a share of (d + margin) / (d + span) of them at least. The
    p-value is the probability of not having seen one.
    """
    return float((1 - _share_unseen(difference, margin, span)) ** units)


def units_to_see_loss(difference: float, margin: float, span: float, alpha: float) -> float:
    """Return of how many units `p_unseen_loss` is at most `alpha`: fewer prove nothing, however alike they are."""
    share = _share_unseen(difference, margin, span)
    if share in (0, 1):
        return math.inf if share == 0 else 1.0
    return math.log(alpha) / math.log1p(-share)


def _share_unseen(difference: float, margin: float, span: float) -> float:
    if difference <= -margin:
        return 0.0
    return (difference + margin) / (difference + span) if margin < span else 1.0


def documents_needed(distance: float, variance: float, tail: float, power: float) -> float:
    """Return how many documents show a `distance` in a one-sided test of size `tail`; infinite where there is none."""
    if distance <= 0:
        return math.inf
    return float((special.ndtri(1 - tail) + special.ndtri(power)) ** 2 * variance / distance**2)


def fewest_units(tail: float) -> float:
    """Return how many units a one-sided test of size `tail` needs, however clear a loss is: fewer fall so by chance."""
    return math.log2(1 / tail)


# --- signs flipped ----------------------------------------------------------------------------------------------------


def _flipped(sums: Array, seed: int) -> float:
    """Return the share of sign flips of `sums` that add up to no more than they do as they are."""
    observed = math.fsum(sums)
    slack = 1e-9 * float(np.abs(sums).sum())  # sums that are equal must count as equal, however they are added up
    if sums.size <= ALL_FLIPS:
        signs = 1 - 2.0 * ((np.arange(2**sums.size)[:, None] >> np.arange(sums.size)) & 1)
        return float((signs @ sums <= observed + slack).mean())
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(FLIPS, sums.size))
    share = float((1 + (signs @ sums <= observed + slack).sum()) / (FLIPS + 1))
    # Of all flips, no more do (Hoeffding 1963), which tells of losses too clear for as many as are drawn.
    most = math.exp(-(observed**2) / (2 * math.fsum(sums**2))) if observed < 0 else 1.0
    return min(share, most)


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
    return float(
        optimize.brentq(lambda value: _tango(differences, value) - wanted, -1.0, differences.difference, xtol=1e-12)
    )
