"""From per-sample values to the numbers of a report: task means, named averages, and their 95 % intervals.

Why not lm-eval's groups: they count a subgroup twice, let two aggregates of one metric overwrite each other and refuse
overlapping groups. Here an average is a plain weighted sum of task means, so any number of them may overlap, and its
name says what it weighs: `task` gives every task the same weight (C-Eval's "Average" is over 52 subjects), `sample`
every document (MMLU's is over 14,042 questions).

Intervals are of the population the documents are drawn from, at fixed tasks. They never collapse at 0 or 1.

Not here: paired comparisons and corpus-metric bootstraps, which belong to `harness.verdicts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from harness.errors import HarnessError

Weight = Literal["task", "sample"]
CONFIDENCE = 0.95


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


def mean_estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of per-sample `values` with its interval.

    Values that are all 0 or 1 get Wilson's score interval (Wilson 1927; the one Brown, Cai & DasGupta 2001 recommend);
    others a t interval around the mean (Miller 2024, arXiv 2411.00640, eq. 1). `stderr` is the sample standard
    deviation over sqrt(n) in both cases, as lm-eval reports it.

    Raises HarnessError if `values` is empty or holds a NaN or an infinity.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise HarnessError("cannot average a metric over no samples: the task was scored on zero documents")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise HarnessError(f"{bad} of {array.size} per-sample values are NaN or infinite, so their mean means nothing")
    n, mean = array.size, float(array.mean())
    stderr = float(array.std(ddof=1) / np.sqrt(n)) if n > 1 else None
    if np.isin(array, (0.0, 1.0)).all():
        wilson = stats.binomtest(int(array.sum()), n).proportion_ci(CONFIDENCE, method="wilson")
        # Exact arithmetic has low <= mean <= high; floats may miss it by an ulp at the ends.
        return Estimate(mean, stderr, min(float(wilson.low), mean), max(float(wilson.high), mean), n)
    if stderr is None:
        return Estimate(mean, None, None, None, n)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * stderr
    return Estimate(mean, stderr, mean - half, mean + half, n)


def combine(estimates: Sequence[Estimate], weight: Weight) -> Estimate:
    """Return the weighted average of independent task `estimates`.

    The interval is MOVER's (Zou & Donner 2008): the distance to each limit is the root of the summed squared weighted
    distances to the tasks' own limits. With one task it is that task's interval; with Wilson intervals underneath it
    neither collapses where every task is at 0 or 1 nor moves the point estimate.

    Raises HarnessError if `estimates` is empty.
    """
    if not estimates:
        raise HarnessError("cannot average over no tasks")
    total = sum(e.n for e in estimates)
    weights = [e.n / total if weight == "sample" else 1 / len(estimates) for e in estimates]
    value = float(sum(w * e.value for w, e in zip(weights, estimates, strict=True)))

    def root_of_squares(parts: list[float | None]) -> float | None:
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        return float(np.linalg.norm(np.multiply(weights, known)))

    below = root_of_squares([None if e.low is None else e.value - e.low for e in estimates])
    above = root_of_squares([None if e.high is None else e.high - e.value for e in estimates])
    return Estimate(
        value,
        root_of_squares([e.stderr for e in estimates]),
        None if below is None else value - below,
        None if above is None else value + above,
        total,
    )


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
