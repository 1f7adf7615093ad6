"""The numbers of a report: per-sample values → a score for each task and metric, and for each average.

Not here: the formulas (`harness.metrics.stats.estimates`), or what a task declares as chance and ceiling
(`harness.tasks.bounds`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.metrics.extraction.scores import macro_f1_estimate
from harness.metrics.stats.estimates import Average, Estimate, Weight, averages, mean_estimate, ratio_estimate
from harness.reports.report import Score
from harness.runs.lm_eval_results import result_key
from harness.runs.samples import Row
from harness.tasks import bounds
from harness.tasks.bounds import Bounds
from harness.tasks.task_metrics import Metric
from harness.tasks.task_set import TaskSet


class Scores:
    """The estimates and bounds of the tasks that were scored so far."""

    def __init__(self, tasks: TaskSet) -> None:
        self._tasks = tasks
        self._estimates: dict[Metric, dict[str, Estimate]] = {}
        self._bounds: dict[Metric, dict[str, Bounds]] = {}

    def add(self, name: str, rows: Sequence[Row], results: Mapping[str, Any]) -> dict[Metric, Estimate | None]:
        """Add the task `name`; return its estimate of each metric in `results`, lm-eval's numbers for the task.

        An estimate is None if the metric is NaN or infinite; such a metric gets no score.
        """
        task = self._tasks.tasks[name]
        estimates = {
            metric: estimate(metric, rows, value=value)
            for metric in task.metrics
            if (value := results.get(result_key(metric))) is not None
        }
        for metric, number in estimates.items():
            if number is not None:
                self._estimates.setdefault(metric, {})[name] = number
        for metric, limits in bounds.of_task(task, rows).items():
            self._bounds.setdefault(metric, {})[name] = limits
        return estimates

    def remove(self, name: str) -> None:
        """Forget the task `name`."""
        for estimates in self._estimates.values():
            estimates.pop(name, None)
        self._estimates = {metric: estimates for metric, estimates in self._estimates.items() if estimates}
        for limits in self._bounds.values():
            limits.pop(name, None)

    def ordered(self) -> list[Score]:
        """Return every score: tasks and groups in the order of the command line, then the members of groups.

        The averages that a group defines under names of their own follow the group.
        """
        groups = {declared.average.name: declared.group for declared in self._tasks.averages}
        order = {name: place for place, name in enumerate(self._tasks.headlines)}
        last = len(order)
        scores = [*self._averages(), *self._task_scores()]
        return sorted(scores, key=lambda score: order.get(groups.get(score.task, score.task), last))

    def _task_scores(self) -> Iterator[Score]:
        for name, task in self._tasks.tasks.items():
            scored = [metric for metric in task.metrics if name in self._estimates.get(metric, {})]
            for metric in scored:
                limits = self._bounds.get(metric, {}).get(name, Bounds())
                number = self._estimates[metric][name]
                yield self._score(name, metric, number, limits, members=(name,), primary=metric == scored[0])

    def _averages(self) -> Iterator[Score]:
        """Yield the scores of averages, whose tasks may aggregate one metric in different ways (LawBench's `score`)."""
        for metric in self._estimates:
            for average in self._declared(metric):
                variants = self._variants(metric, average)
                if not variants or variants[0] != metric:
                    continue
                estimates = {task: number for variant in variants for task, number in self._estimates[variant].items()}
                limits = {task: limit for variant in variants for task, limit in self._bounds.get(variant, {}).items()}
                numbers = averages([average], estimates)
                if average.name in numbers:
                    yield self._score(
                        average.name,
                        metric if len(variants) == 1 else metric._replace(aggregation=""),
                        numbers[average.name],
                        bounds.of_average(average, estimates, limits),
                        members=average.tasks,
                        primary=all(self._tasks.tasks[task].metrics[0] in variants for task in average.tasks),
                        weight=average.weight,
                    )

    def _variants(self, metric: Metric, average: Average) -> list[Metric]:
        """Return the metrics of tasks of `average` that differ from `metric` at most in their aggregation."""
        return [
            other
            for other, estimates in self._estimates.items()
            if other._replace(aggregation=metric.aggregation) == metric
            and not estimates.keys().isdisjoint(average.tasks)
        ]

    def _declared(self, metric: Metric) -> list[Average]:
        """Return the averages that groups declare for `metric`."""
        return [
            declared.average
            for declared in self._tasks.averages
            if not declared.metrics or metric.name in declared.metrics
        ]

    def _score(
        self,
        name: str,
        metric: Metric,
        number: Estimate,
        limits: Bounds,
        *,
        members: Sequence[str],
        primary: bool,
        weight: Weight | None = None,
    ) -> Score:
        return Score(
            task=name,
            metric=metric.name,
            filter=metric.filter,
            **number._asdict(),
            **limits._asdict(),
            higher_is_better=metric.higher_is_better,
            fraction=metric.fraction,
            aggregation=metric.aggregation or None,
            average=weight,
            members=list(members),
            primary=primary,
            headline=name in self._tasks.headlines,
        )


def estimate(metric: Metric, rows: Sequence[Row], *, value: float) -> Estimate | None:
    """Return a task's estimate of `metric`, aggregated from its `rows` by the function that the metric names.

    The aggregations `mean`, `ratio` and `macro_f1` have an interval; for any other, lm-eval's `value` is returned
    without an interval. Returns None if a sample's value, or lm-eval's, is NaN or infinite.
    """
    values = [row[metric.name] for row in rows if row["filter"] == metric.filter and row.get(metric.name) is not None]
    if metric.aggregation == "ratio" and values and math.isfinite(value):
        return ratio_estimate(values, fraction=metric.fraction)
    # Tasks may have another function called `macro_f1`, with other values per sample.
    has_types = metric.aggregation == "macro_f1" and all(isinstance(counts, Mapping) for counts in values)
    if has_types and values and math.isfinite(value):
        return macro_f1_estimate(values)
    has_numbers = bool(values) and all(isinstance(number, int | float) for number in values)
    if metric.aggregation != "mean" or not has_numbers:
        return Estimate(float(value), None, None, None, len(values)) if math.isfinite(value) else None
    if not all(math.isfinite(number) for number in values):
        return None
    return mean_estimate([float(number) for number in values], fraction=metric.fraction)
