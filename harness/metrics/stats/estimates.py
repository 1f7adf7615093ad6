"""From per-sample values to the numbers of a report: task means, named averages, and their 95 % intervals.

Why not lm-eval's groups: they count a subgroup twice, let two aggregates of one metric overwrite each other and refuse
overlapping groups. Here an average is a plain weighted sum of task means, so any number of them may overlap, and its
name says what it weighs: `task` gives every task the same weight (C-Eval's "Average" is over 52 subjects), `sample`
every document (MMLU's is over 14,042 questions).

Intervals are of the population the documents are drawn from, at fixed tasks. They never collapse at 0 or 1.

Not here: paired comparisons and corpus-metric bootstraps, which belong to `harness.verdicts`.
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
    """A mean over `n` samples with its standard error and 95 % interval, in the metric's own unit.

    `stderr`, `low` and `high` are None where the metric is not a mean over samples (corpus BLEU), or where `n` is too
    small to tell (a mean of fewer than two values that are not 0 or 1).
    """

    value: float
    stderr: float | None
    low: float | None
    high: float | None
    n: int


class Average(NamedTuple):
    """A named average: which tasks it is over and what gets equal weight."""

    name: str
    tasks: tuple[str, ...]
    weight: Weight


def mean_estimate(values: Sequence[float], *, fraction: bool = True) -> Estimate:
    """Return the mean of per-sample `values` with its interval; their order changes no bit of it.

    Values of a `fraction` (in [0, 1] by definition) that are all 0 or 1 get Wilson's score interval (Wilson 1927; the
    one Brown, Cai & DasGupta 2001 recommend); others a t interval around the mean (Miller 2024, arXiv 2411.00640,
    eq. 1), cut off where a fraction ends, and none where they are all equal, which tells nothing of how they vary.
    `stderr` is the sample standard deviation over sqrt(n) in all cases, as lm-eval reports it.

    Raises HarnessError if `values` is empty or holds a NaN or an infinity.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise HarnessError("cannot average a metric over no samples: the task was scored on zero documents")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise HarnessError(f"{bad} of {array.size} per-sample values are NaN or infinite, so their mean means nothing")
    n, mean = array.size, math.fsum(array) / array.size
    stderr = math.sqrt(math.fsum((array - mean) ** 2) / (n - 1) / n) if n > 1 else None
    if fraction and np.isin(array, (0.0, 1.0)).all():
        return Estimate(mean, stderr, *_wilson(mean, n), n)
    if not stderr:
        return Estimate(mean, stderr, None, None, n)
    half = float(special.stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * stderr
    return Estimate(mean, stderr, *_within(mean - half, mean + half, fraction and 0 <= mean <= 1), n)


def ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the sum of the numerators by the sum of the denominators, NaN where that is 0."""
    below = math.fsum(pair[1] for pair in pairs)
    return math.fsum(pair[0] for pair in pairs) / below if below else math.nan


def ratio_estimate(pairs: Sequence[tuple[float, float]], *, fraction: bool = False) -> Estimate:
    """Return the `ratio` of per-sample (numerator, denominator) `pairs` with its interval over samples.

    The standard error is the linearised one of a ratio of means (Cochran 1977, eq. 6.13), the interval Student's t with
    one degree of freedom less than samples; with equal denominators both are `mean_estimate`'s. A single sample tells
    nothing of how samples vary. A `fraction`, such as micro F1, ends at 0 and 1; there its interval is Wilson's over
    the samples, as if each were right or wrong, which varies more than anything between.
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
    """Return the mean of several ratios over the same samples with its interval, such as the macro F1 of types.

    `columns[k][i]` is what sample i adds to numerator and denominator of ratio k. The standard error is linearised as
    `ratio_estimate`'s, which is the case of one column; so are the interval and its ends.

    Raises HarnessError if there are no columns.
    """
    if not columns:
        raise HarnessError("cannot average over no ratios")
    n, values = len(columns[0]), [ratio(pairs) for pairs in columns]
    value = math.fsum(values) / len(values)
    if n < 2:
        return Estimate(value, None, None, None, n)
    above, below = np.moveaxis(np.asarray(columns, dtype=np.float64), -1, 0)
    leaning = ((above - np.asarray(values)[:, None] * below) / below.mean(axis=1, keepdims=True)).mean(axis=0)
    stderr = math.sqrt(math.fsum(leaning**2) / (n - 1) / n)
    if fraction and value in (0.0, 1.0):
        return Estimate(value, stderr, *_wilson(value, n), n)
    half = float(special.stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * stderr
    return Estimate(value, stderr, *_within(value - half, value + half, fraction), n)


def _within(low: float, high: float, fraction: bool) -> tuple[float, float]:
    return (max(low, 0.0), min(high, 1.0)) if fraction else (low, high)


def combine(estimates: Sequence[Estimate], weight: Weight) -> Estimate:
    """Return the weighted average of independent task `estimates`; their order changes no bit of it.

    Shares of right answers get Wilson's interval at the effective number of samples (see `_effective_size`). Where any
    task is something else, the interval is MOVER's (Zou & Donner 2008): the distance to each limit is the root of the
    summed squared weighted distances to the tasks' own limits. With one task both are that task's interval. MOVER over
    Wilson intervals would not do: over 52 small tasks at 80-99 % accuracy, 90 of 100 such intervals hold the truth.

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
    """Return what each of `estimates` counts for in their average; all together 1."""
    total = sum(e.n for e in estimates)
    return [e.n / total if weight == "sample" else 1 / len(estimates) for e in estimates]


def averages(wanted: Sequence[Average], tasks: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Return the value of every average in `wanted` whose tasks are all present in `tasks`, by name.

    An average that lacks a task is left out rather than computed over the rest: a "STEM" over half of STEM is another
    number under the same name.
    """
    return {
        average.name: combine([tasks[name] for name in average.tasks], average.weight)
        for average in wanted
        if average.tasks and all(name in tasks for name in average.tasks)
    }


def _wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's interval of a share of right answers among `n`, which need not be whole."""
    z2 = _Z * _Z / n
    centre = (share + z2 / 2) / (1 + z2)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
    # Exact arithmetic has 0 <= low <= share <= high <= 1; floats may miss it by an ulp at the ends.
    return max(min(centre - half, share), 0.0), min(max(centre + half, share), 1.0)


def _is_share(estimate: Estimate) -> bool:
    """Tell whether `estimate` is of values that are all 0 or 1: those have Wilson's interval."""
    if estimate.low is None or estimate.high is None or not 0 <= estimate.value <= 1:
        return False
    low, high = _wilson(estimate.value, estimate.n)
    return math.isclose(estimate.low, low, abs_tol=1e-9) and math.isclose(estimate.high, high, abs_tol=1e-9)


def _effective_size(weights: Sequence[float], shares: Sequence[Estimate]) -> float:
    """Return how many samples of one single task would give the weighted average its variance.

    The device of survey statistics (Korn & Graubard 1998; with Wilson's interval in Franco, Little, Louis & Slud 2019).
    The variance is taken at Jeffreys' (right + 1/2) / (n + 1), so that a task at 0 or 1 still has some.
    """
    smooth = [(e.value * e.n + 0.5) / (e.n + 1) for e in shares]
    mean = math.fsum(w * p for w, p in zip(weights, smooth, strict=True))
    variance = math.fsum(w * w * p * (1 - p) / e.n for w, p, e in zip(weights, smooth, shares, strict=True))
    return mean * (1 - mean) / variance


def _root_of_squares(weights: Sequence[float], parts: Sequence[float | None]) -> float | None:
    """Return the root of the summed squared weighted `parts`, or None where one is unknown."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return math.sqrt(math.fsum((w * part) ** 2 for w, part in zip(weights, known, strict=True)))
