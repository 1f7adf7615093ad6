"""Paired tests and intervals for scores that are means over documents.

Each document has one number per checkpoint, converted so that more is better; the difference of a document is
*candidate minus baseline*. This module gives the mean difference with its interval, and one-sided tests: `p_loss` of
whether the candidate is really worse, `p_non_inferiority` of whether it is worse by less than a margin. A large p-value
proves nothing.

Documents that share a passage, a subject or a charge form clusters. Then clusters are the independent observations, and
everything is computed from the sums over clusters. A *unit* is a cluster, or a document if every document is its own
cluster.

| documents | interval, non-inferiority | loss |
|---|---|---|
| right or wrong, no clusters | Tango's score interval (Tango 1998) | McNemar's exact test |
| anything else | Student's t on the units' sums | the same; with few units, random sign flips |

Not here: corpus metrics (`harness.verdicts.stats.corpora`), several tasks at once (`harness.verdicts.gate`), or files.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

Array = npt.NDArray[np.float64]

FEW = 200
"""Number of units (clusters, or documents) below which signs are flipped, because the t test is not reliable."""
FLIPS = 9_999
"""Number of random sign flips. The observed signs count as one more flip, so p-values are multiples of 1/10,000, except
those that Hoeffding's bound makes smaller."""
ALL_FLIPS = 13
"""Number of units (clusters, or documents) up to which all sign flips are enumerated."""


class Interval(NamedTuple):
    """The lower and upper end of an interval, in the metric's unit."""

    low: float
    high: float


@dataclass(frozen=True)
class Differences:
    """The scores of the same n documents for two checkpoints; more is better."""

    baseline: Array
    candidate: Array
    clusters: npt.NDArray[np.int64] | None = None
    """The cluster number of each document, from 0 without gaps; None if every document is its own cluster."""
    span: float | None = None
    """The largest possible loss of one document (the largest weight). Not needed if 1 or the largest score is
    larger."""
    seed: int = 0

    @functools.cached_property
    def by_document(self) -> Array:
        """Candidate minus baseline, for each document."""
        return self.candidate - self.baseline

    @property
    def n(self) -> int:
        """Number of documents."""
        return int(self.by_document.size)

    @property
    def units(self) -> int:
        """Number of clusters, or of documents if every document is its own cluster."""
        return int(self.sums.size)

    @functools.cached_property
    def scores(self) -> tuple[float, float]:
        """The mean scores of the baseline and of the candidate."""
        return math.fsum(self.baseline) / self.n, math.fsum(self.candidate) / self.n

    @functools.cached_property
    def difference(self) -> float:
        """The mean difference."""
        return math.fsum(self.by_document) / self.n

    @property
    def lost(self) -> int:
        """Number of documents on which the candidate scores lower."""
        return int((self.by_document < 0).sum())

    @property
    def gained(self) -> int:
        """Number of documents on which the candidate scores higher."""
        return int((self.by_document > 0).sum())

    @functools.cached_property
    def is_binary(self) -> bool:
        """Whether every score is right (1) or wrong (0), without clusters or weights."""
        both = np.concatenate([self.baseline, self.candidate])
        return self.clusters is None and self.span in (None, 1) and bool(np.isin(both, (0.0, 1.0)).all())

    @functools.cached_property
    def sums(self) -> Array:
        """Sum of the differences of each unit (cluster, or document)."""
        return (
            self.by_document
            if self.clusters is None
            else np.bincount(self.clusters, weights=self.by_document).astype(np.float64)
        )

    @functools.cached_property
    def sizes(self) -> Array:
        """Number of documents in each unit (cluster, or document)."""
        return np.ones(self.n) if self.clusters is None else np.bincount(self.clusters).astype(np.float64)

    @functools.cached_property
    def stderr(self) -> float | None:
        """Standard error of the mean difference; None for a single cluster or document, which shows no variation.

        With clusters, this is the cluster-robust standard error with the factor C/(C-1) for C clusters (Cameron and
        Miller 2015; Miller 2024, arXiv 2411.00640, eq. 4).
        """
        if self.units < 2:
            return None
        squares = math.fsum((self.sums - self.difference * self.sizes) ** 2)
        return math.sqrt(squares * self.units / (self.units - 1)) / self.n

    @functools.cached_property
    def freedom(self) -> float:
        """Degrees of freedom: the effective number of units minus one, which is C - 1 for C clusters of equal size.

        The effective number is n²/Σ nᵢ² (Kish 1965; Carter, Schnepel and Steigerwald 2017), because one large cluster
        among small ones accounts for most of the variation.
        """
        return float(self.n**2 / (self.sizes**2).sum()) - 1

    def interval(self, confidence: float = 0.95) -> Interval | None:
        """Return the two-sided interval of the mean difference; None if the variance cannot be estimated."""
        tail = (1 - confidence) / 2
        if self.is_binary:
            return Interval(_tango_limit(self, tail), -_tango_limit(self.swapped(), tail))
        if not self.stderr or self.freedom <= 0:
            return None
        half = float(special.stdtrit(self.freedom, 1 - tail)) * self.stderr
        return Interval(self.difference - half, self.difference + half)

    def swapped(self) -> Differences:
        """Return the differences with baseline and candidate exchanged."""
        return Differences(self.candidate, self.baseline, self.clusters, self.span, self.seed)

    @functools.cached_property
    def p_loss(self) -> float:
        """The one-sided p-value of "the candidate is no worse", small if a loss is real, and 1 if no document differs.

        Under this hypothesis, if the two answers to a document score differently, either score is equally likely
        to be the candidate's. For right and wrong answers this gives McNemar's exact test, P(Bin(b + c, 1/2) ≥ b) for
        b lost and c gained (McNemar 1947). For other scores or clusters, the signs of whole units are flipped at
        random, which is exact under the same hypothesis (Fisher 1935); with many units, the t test is used.
        """
        if not self.by_document.any():
            return 1.0
        if self.is_binary:
            return float(special.bdtrc(self.lost - 1, self.lost + self.gained, 0.5))
        moved = self.sums[self.sums != 0]
        if moved.size < FEW:
            return _flipped(moved, self.seed)
        if not self.stderr:  # all units changed by the same amount
            return 0.5**moved.size if self.difference < 0 else 1.0
        return float(special.stdtr(self.freedom, self.difference / self.stderr))

    @property
    def p_gain(self) -> float:
        """The one-sided p-value of "the candidate is no better": small if the gain is real."""
        return self.swapped().p_loss

    def p_non_inferiority(self, margin: float) -> float:
        """Return the one-sided p-value of "the candidate is worse by `margin` or more": small if that is unlikely.

        `margin` is positive, in the metric's unit. For right and wrong answers, the p-value is that of Tango's score
        test. For other scores or clusters, it is that of the t test, adjusted by `with_one_more_loss`. If all
        differences are equal, it is `p_unseen_loss` instead.
        """
        if self.is_binary and (self.lost or self.gained):
            return float(special.ndtr(-_tango(self, -margin)))
        if not self.stderr or self.freedom <= 0:
            return p_unseen_loss(self.difference, margin, self._span, self.units)
        more = with_one_more_loss(self.difference, self.stderr, self._shares, self._span)
        return float(special.stdtr(self.freedom + 1, -(more.difference + margin) / more.stderr))

    def needed_to_tell(self, *, alpha: float = 0.05, power: float = 0.8) -> float:
        """Return the number of documents that would detect this difference in a two-sided test with `power`.

        (z₁₋α/₂ + z_power)² σ²/d² for the mean difference d and the variance σ² of one document, with the same
        clustering (Miller 2024, eq. 9), and at least `fewest_units`; infinite if there is no difference. The number of
        documents divided by the number needed is the resolution ratio.
        """
        least = fewest_units(alpha / 2) * self.n / self.units
        return max(documents_needed(abs(self.difference), self._variance, alpha / 2, power), least)

    def needed_to_pass(self, margin: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
        """Return the number of documents that would show non-inferiority with `power`, if the difference persists.

        Infinite if the candidate is worse by the margin or more.
        """
        least = units_to_see_loss(self.difference, margin, self._span, alpha) * self.n / self.units
        return max(documents_needed(self.difference + margin, self._variance, alpha, power), least)

    @property
    def _variance(self) -> float:
        """The variance of one document's difference, as if one more answer had flipped, because flips may be unseen."""
        if self.is_binary:
            return (self.lost + self.gained + 1) / (self.n + 1) - self.difference**2
        return with_one_more_loss(self.difference, self.stderr or 0.0, self._shares, self._span).stderr ** 2 * self.n

    @property
    def _shares(self) -> Array:
        """The changes of the units (clusters, or documents), scaled so that their mean is the mean difference."""
        return self.sums * self.units / self.n

    @functools.cached_property
    def _span(self) -> float:
        """The largest possible loss of one unit (cluster, or document), on the scale of `_shares`."""
        both = np.abs([self.baseline, self.candidate])
        span = max(self.span or 1.0, float(both.max()))
        return span * float(self.sizes.max()) * self.units / self.n


# --- rare losses ------------------------------------------------------------------------------------------------------


class _Adjusted(NamedTuple):
    difference: float
    stderr: float


def with_one_more_loss(difference: float, stderr: float, shares: Array, span: float) -> _Adjusted:
    """Return the difference and the standard error as if one more unit (cluster, or document) had been lost.

    If few units changed, it is chance whether a large loss is among them. Without a large loss, the t test is
    overconfident: for example, if 2 % of documents lose everything, 13 % of samples of 100 documents contain no such
    document. So one more lost unit is counted, as Agresti and Coull (1998) do for a proportion. The loss of that unit
    is the root mean square of the changes of the units that changed, with `span` (the largest possible loss of a unit)
    counted as one of these changes. If many units changed, the effect is negligible. `shares` are the changes of the
    units; their mean is the difference.
    """
    count, changed = shares.size, int(np.count_nonzero(shares))
    lost = math.sqrt((math.fsum(shares**2) + span**2) / (changed + 1))
    return _Adjusted((count * difference - lost) / (count + 1), math.hypot(stderr, lost / count))


def p_unseen_loss(difference: float, margin: float, span: float, units: int) -> float:
    """Return the p-value of "worse by `margin` or more" if each of `units` units changed by the same `difference`.

    Units are clusters, or documents. If the hypothesis is true, some unseen units must lose more, though at most `span`
    each; for a difference d, the share of such units is at least (d + margin) / (d + span). The p-value is the
    probability of having seen none of them.
    """
    return float((1 - _share_unseen(difference, margin, span)) ** units)


def units_to_see_loss(difference: float, margin: float, span: float, alpha: float) -> float:
    """Return the least number of units (clusters, or documents) with which `p_unseen_loss` is at most `alpha`."""
    share = _share_unseen(difference, margin, span)
    if share in (0, 1):
        return math.inf if share == 0 else 1.0
    return math.log(alpha) / math.log1p(-share)


def _share_unseen(difference: float, margin: float, span: float) -> float:
    if difference <= -margin:
        return 0.0
    return (difference + margin) / (difference + span) if margin < span else 1.0


def documents_needed(distance: float, variance: float, tail: float, power: float) -> float:
    """Return how many documents are needed to show that a mean differs by `distance`; infinite for 0 or less.

    The test is one-sided, of level `tail`, with the given `power`.
    """
    if distance <= 0:
        return math.inf
    return float((special.ndtri(1 - tail) + special.ndtri(power)) ** 2 * variance / distance**2)


def fewest_units(tail: float) -> float:
    """Return the least number of units (clusters, or documents) that can be significant at level `tail`."""
    return math.log2(1 / tail)


# --- sign flips -------------------------------------------------------------------------------------------------------


def _flipped(sums: Array, seed: int) -> float:
    """Return the share of sign flips of `sums` after which the total is no larger than the observed total."""
    observed = math.fsum(sums)
    slack = 1e-9 * float(np.abs(sums).sum())  # equal sums must compare as equal despite rounding
    if sums.size <= ALL_FLIPS:
        signs = 1 - 2.0 * ((np.arange(2**sums.size)[:, None] >> np.arange(sums.size)) & 1)
        return float((signs @ sums <= observed + slack).mean())
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(FLIPS, sums.size))
    share = float((1 + (signs @ sums <= observed + slack).sum()) / (FLIPS + 1))
    # Hoeffding (1963) bounds the share of all flips, which matters for losses too large for this number of draws.
    bound = math.exp(-(observed**2) / (2 * math.fsum(sums**2))) if observed < 0 else 1.0
    return min(share, bound)


# --- Tango ------------------------------------------------------------------------------------------------------------


def _tango(differences: Differences, difference: float) -> float:
    """Return the score statistic of the hypothesis that the shares of right answers differ by `difference`.

    Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", eq. 3 and 4. Under the hypothesis, the statistic is normally distributed. Its variance is also computed
    under the hypothesis, so that a sample in which no answer flipped is not taken as certain.
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
    """Return the smallest difference that Tango's one-sided score test of level `tail` does not reject."""
    quantile = float(special.ndtri(1 - tail))
    if differences.gained == 0 and differences.lost == differences.n:
        return -1.0
    return float(
        optimize.brentq(lambda value: _tango(differences, value) - quantile, -1.0, differences.difference, xtol=1e-12)
    )
