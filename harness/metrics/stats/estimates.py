"""The numbers of a report from per-sample values: task means, named averages, and their 95 % intervals.

lm-eval's groups are not used: they count a subgroup twice, let two aggregates of one metric overwrite each other, and
refuse overlapping groups. Here an average is a weighted sum of task means, so averages may overlap. The weight of an
average is `task` (every task counts the same: C-Eval's "Average" is over 52 subjects) or `sample` (every document
counts the same: MMLU's average is over 14,042 questions).

Intervals describe the population from which the documents are drawn, for fixed tasks. They do not collapse to a point
at 0 or 1.

Not here: paired comparisons and bootstraps of corpus metrics (`harness.verdicts`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import special

from harness.errors import HarnessError

Weight = Literal["task", "sample"]
CONFIDENCE = 0.95
_Z = float(special.ndtri(0.5 + CONFIDENCE / 2))


class Estimate(NamedTuple):
    """A mean over samples with its standard error and 95 % interval, in the metric's own unit.

    `stderr`, `low` and `high` are None if the metric has no interval over samples (corpus BLEU). With too few samples,
    such as a single sample or equal graded values, only the standard error or only the interval may be None.
    """

    value: float
    stderr: float | None
    low: float | None
    """Lower end of the 95 % interval."""
    high: float | None
    """Upper end of the 95 % interval."""
    n: int
    """Number of samples."""


class Average(NamedTuple):
    """A named average of tasks, and whether tasks or samples have equal weight."""

    name: str
    tasks: tuple[str, ...]
    weight: Weight


def mean_estimate(values: Sequence[float], *, fraction: bool = True) -> Estimate:
    """Return the mean of per-sample `values` with its interval. The order of `values` changes no bit of the result.

    If `fraction` (values lie in [0, 1] by definition) and all values are 0 or 1, the interval is Wilson's score
    interval (Wilson 1927, recommended by Brown, Cai & DasGupta 2001). Otherwise it is a t interval around the mean
    (Miller 2024, arXiv 2411.00640, eq. 1), cut at 0 and 1 for a fraction. If all values are equal, there is no
    interval, because they show no variation. `stderr` is always the sample standard deviation over sqrt(n), as in
    lm-eval.

    Raises HarnessError if `values` is empty or contains NaN or an infinity.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise HarnessError("cannot average a metric over no samples: the task was scored on zero documents")
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise HarnessError(f"{count} of {array.size} per-sample values are NaN or infinite, so there is no mean")
    n, mean = array.size, math.fsum(array) / array.size
    stderr = math.sqrt(math.fsum((array - mean) ** 2) / (n - 1) / n) if n > 1 else None
    if fraction and np.isin(array, (0.0, 1.0)).all():
        return Estimate(mean, stderr, *_wilson(mean, n), n)
    if not stderr:
        return Estimate(mean, stderr, None, None, n)
    half = float(special.stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * stderr
    return Estimate(mean, stderr, *_within(mean - half, mean + half, fraction and 0 <= mean <= 1), n)


def ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the sum of the numerators divided by the sum of the denominators; NaN if the latter sum is 0."""
    denominator = math.fsum(pair[1] for pair in pairs)
    return math.fsum(pair[0] for pair in pairs) / denominator if denominator else math.nan


def ratio_estimate(pairs: Sequence[tuple[float, float]], *, fraction: bool = False) -> Estimate:
    """Return the `ratio` of per-sample (numerator, denominator) `pairs` with its interval over samples.

    The standard error is the linearised one of a ratio of means (Cochran 1977, eq. 6.13); the interval is Student's t
    with n - 1 degrees of freedom. If all denominators are equal, standard error and interval are those of
    `mean_estimate`. A single sample has neither. The interval of a `fraction`, such as micro F1, is cut at 0 and 1. If
    the ratio itself is 0 or 1, the interval is Wilson's over the samples, as if each were right or wrong: samples
    cannot vary more.
    """
    n, value = len(pairs), ratio(pairs)
    if n < 2:
        return Estimate(value, None, None, None, n)
    mean = math.fsum(pair[1] for pair in pairs) / n
    stderr = math.sqrt(math.fsum((a - value * b) ** 2 for a, b in pairs) / (n - 1) / n) / mean
    if fraction and value in (0.0, 1.0):
        return Estimate(value, stderr, *_wilson(value, n), n)
    half = float(special.stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * stderr
    return Estimate(value, stderr, *_within(value - half, value + half, fraction), n)


def ratios_estimate(columns: Sequence[Sequence[tuple[float, float]]], *, fraction: bool = False) -> Estimate:
    """Return the mean of several ratios over the same samples, such as macro F1 over types, with its interval.

    `columns[k][i]` is what sample i adds to numerator and denominator of ratio k. Standard error and interval are
    computed as in `ratio_estimate`, which is the case of a single ratio.

    Raises HarnessError if there are no columns.
    """
    if not columns:
        raise HarnessError("cannot average over no ratios")
    n, values = len(columns[0]), [ratio(pairs) for pairs in columns]
    value = math.fsum(values) / len(values)
    if n < 2:
        return Estimate(value, None, None, None, n)
    numerators, denominators = np.moveaxis(np.asarray(columns, dtype=np.float64), -1, 0)
    residuals = numerators - np.asarray(values)[:, None] * denominators
    residuals = (residuals / denominators.mean(axis=1, keepdims=True)).mean(axis=0)
    stderr = math.sqrt(math.fsum(residuals**2) / (n - 1) / n)
    if fraction and value in (0.0, 1.0):
        return Estimate(value, stderr, *_wilson(value, n), n)
    half = float(special.stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * stderr
    return Estimate(value, stderr, *_within(value - half, value + half, fraction), n)


def _within(low: float, high: float, fraction: bool) -> tuple[float, float]:
    return (max(low, 0.0), min(high, 1.0)) if fraction else (low, high)


def combine(estimates: Sequence[Estimate], weight: Weight) -> Estimate:
    """Return the weighted average of independent task `estimates`. Their order changes no bit of the result.

    If every task is a share of right answers, the interval is Wilson's at the effective number of samples (see
    `_effective_size`). Otherwise it is MOVER's (Zou & Donner 2008): the distance from the average to each limit is the
    root of the sum of the squared, weighted distances from the tasks' means to their own limits. With one task, the
    result of either method is that task's interval. MOVER over Wilson intervals would cover too little: over 52 small
    tasks at 80-99 % accuracy, only 90 of 100 such intervals contain the truth.

    Raises HarnessError if `estimates` is empty.
    """
    if not estimates:
        raise HarnessError("cannot average over no tasks")
    total, shares = sum(e.n for e in estimates), weights(estimates, weight)
    value = math.fsum(w * e.value for w, e in zip(shares, estimates, strict=True))
    stderr = _root_of_squares(shares, [e.stderr for e in estimates])
    if all(_is_share(e) for e in estimates):
        return Estimate(value, stderr, *_wilson(value, _effective_size(shares, estimates)), total)
    below = _root_of_squares(shares, [None if e.low is None else e.value - e.low for e in estimates])
    above = _root_of_squares(shares, [None if e.high is None else e.high - e.value for e in estimates])
    low = None if below is None else value - below
    high = None if above is None else value + above
    return Estimate(value, stderr, low, high, total)


def weights(estimates: Sequence[Estimate], weight: Weight) -> list[float]:
    """Return the weight of each of `estimates` in their average; the weights sum to 1."""
    total = sum(e.n for e in estimates)
    return [e.n / total if weight == "sample" else 1 / len(estimates) for e in estimates]


def averages(definitions: Sequence[Average], tasks: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Return the value of every average in `definitions` whose tasks are all in `tasks`, by name.

    An average that lacks a task is left out, not computed over the others: "STEM" over half of its tasks would be
    another number under the same name.
    """
    return {
        average.name: combine([tasks[name] for name in average.tasks], average.weight)
        for average in definitions
        if average.tasks and all(name in tasks for name in average.tasks)
    }


def _wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's interval of a share of right answers among `n` answers; `n` need not be an integer."""
    z2 = _Z * _Z / n
    centre = (share + z2 / 2) / (1 + z2)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
    # Exact arithmetic has 0 <= low <= share <= high <= 1; floats may miss it by an ulp at the ends.
    return max(min(centre - half, share), 0.0), min(max(centre + half, share), 1.0)


def _is_share(estimate: Estimate) -> bool:
    """Return whether all values behind `estimate` are 0 or 1, so that its interval is Wilson's."""
    if estimate.low is None or estimate.high is None or not 0 <= estimate.value <= 1:
        return False
    low, high = _wilson(estimate.value, estimate.n)
    return math.isclose(estimate.low, low, abs_tol=1e-9) and math.isclose(estimate.high, high, abs_tol=1e-9)


def _effective_size(weights: Sequence[float], shares: Sequence[Estimate]) -> float:
    """Return the number of samples with which a single task would have the variance of the weighted average.

    This is the effective sample size of survey statistics (Korn & Graubard 1998; with Wilson's interval in Franco,
    Little, Louis & Slud 2019). Variances are computed from Jeffreys' estimate of a share, (right + 1/2) / (n + 1), so
    that the variance of a task with the share 0 or 1 is not 0.
    """
    smooth = [(e.value * e.n + 0.5) / (e.n + 1) for e in shares]
    mean = math.fsum(w * p for w, p in zip(weights, smooth, strict=True))
    variance = math.fsum(w * w * p * (1 - p) / e.n for w, p, e in zip(weights, smooth, shares, strict=True))
    return mean * (1 - mean) / variance


def _root_of_squares(weights: Sequence[float], parts: Sequence[float | None]) -> float | None:
    """Return the root of the summed squares of the weighted `parts`, or None if any part is None."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return math.sqrt(math.fsum((w * part) ** 2 for w, part in zip(weights, known, strict=True)))
