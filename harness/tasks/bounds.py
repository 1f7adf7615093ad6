"""The bounds of a score: chance, the score of uniform guessing, and the ceiling, the score of right answers.

A task's YAML states the bounds as `metadata.chance` and `metadata.ceiling`, in the unit of its primary metric. A
multiple-choice task that states no chance gets the score of a uniform guess among its choices.

Not here: whether a score differs from chance, which `harness.leaderboard` marks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.metrics.stats.estimates import Average, Estimate, weights
from harness.tasks.task import Task
from harness.tasks.task_metrics import Metric

Row = Mapping[str, Any]
"""A report's row of one document under one filter (`harness.runs.samples`)."""
ACCURACIES = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")
"""Metrics that are 1 if the selected choice is right and 0 if not, however the choice is selected."""


class Bounds(NamedTuple):
    """Chance and ceiling of one score, in the unit of the score's metric; a bound that is unknown is None."""

    chance: float | None = None
    ceiling: float | None = None


def check(tasks: Iterable[Task]) -> None:
    """Raise HarnessError if one of `tasks` states an impossible chance or ceiling."""
    for task in tasks:
        stated(task)


def stated(task: Task) -> Bounds:
    """Return the bounds that `task` states for its primary metric.

    Raises HarnessError if a bound is not a number, if a bound of a fraction lies outside 0 to 1, or if chance is no
    worse than the ceiling.
    """
    metadata = task.metadata
    primary = next(iter(task.metrics), None)
    if primary is None:
        return Bounds()
    bounds = Bounds(
        chance=_number(task.name, "chance", metadata.chance, primary),
        ceiling=_number(task.name, "ceiling", metadata.ceiling, primary),
    )
    if bounds.chance is not None and bounds.ceiling is not None:
        room = bounds.ceiling - bounds.chance
        if (room if primary.higher_is_better else -room) <= 0:
            order = "below" if primary.higher_is_better else "above"
            raise HarnessError(
                f"task {task.name}: metadata.chance is {bounds.chance:g} and metadata.ceiling {bounds.ceiling:g}, but "
                f"{'more' if primary.higher_is_better else 'less'} {primary.name} is better: write a chance {order} "
                "the ceiling"
            )
    return bounds


def of_task(task: Task, rows: Sequence[Row]) -> dict[Metric, Bounds]:
    """Return the bounds of a task's metrics over the documents of `rows`; metrics without bounds are left out."""
    task_bounds, metrics = stated(task), task.metrics
    by_metric: dict[Metric, Bounds] = {}
    for metric in metrics:
        is_primary = metric == metrics[0]
        are_accuracies = {metrics[0].name, metric.name} <= {*ACCURACIES}
        chance = task_bounds.chance if is_primary or are_accuracies else None
        if chance is None and task.output_type == "multiple_choice" and metric.name in ACCURACIES:
            chance = _guessing(metric, rows, several=task.has_several_right_choices)
        bounds = Bounds(chance, task_bounds.ceiling if is_primary else None)
        if bounds != Bounds():
            by_metric[metric] = bounds
    return by_metric


def of_average(average: Average, estimates: Mapping[str, Estimate], tasks: Mapping[str, Bounds]) -> Bounds:
    """Return the bounds of `average`: its tasks' bounds, averaged with the same weights as their scores.

    A bound of the average is None unless every task has this bound.
    """
    shares = weights([estimates[name] for name in average.tasks], average.weight)
    columns = zip(*(tasks.get(name, Bounds()) for name in average.tasks), strict=True)
    return Bounds(*(_weighted(shares, column) for column in columns))


def _number(task: str, key: str, value: object, primary: Metric) -> float | None:
    """Return the number that `task` states as `metadata.key`; raise HarnessError if that cannot be a bound."""
    if value is None:
        return None
    example = "0.25" if primary.fraction else "12.5"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise HarnessError(
            f"task {task}: metadata.{key} is {value!r}, which is not a number: write it in the unit of {primary.name}, "
            f"such as {example}"
        )
    if primary.fraction and not 0 <= value <= 1:
        raise HarnessError(
            f"task {task}: metadata.{key} is {value:g}, but {primary.name} lies between 0 and 1: write a fraction, "
            f"such as {example}"
        )
    return float(value)


def _guessing(metric: Metric, rows: Sequence[Row], *, several: bool) -> float | None:
    """Return the score of a uniform guess, the mean share of right choices among a document's choices.

    Return None if a document's value is neither 0 nor 1, because such a value depends on more than whether the selected
    choice is right. `several` says that targets may list several right choices.
    """
    scored = [row for row in rows if row["filter"] == metric.filter and row.get(metric.name) is not None]
    if not scored or not all(row.get("choices") and row[metric.name] in (0, 1) for row in scored):
        return None
    return math.fsum((_right_choices(row) if several else 1) / len(row["choices"]) for row in scored) / len(scored)


def _right_choices(row: Row) -> int:
    """Return the number of right choices of a row whose target may be a list of the choices' places, `[0, 2]`."""
    try:
        places = json.loads(row["target"])
    except ValueError:  # the text of the single right choice
        return 1
    return len({place for place in places if place < len(row["choices"])}) if isinstance(places, list) else 1


def _weighted(shares: Sequence[float], values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(w * v for w, v in zip(shares, known, strict=True)) if len(known) == len(values) else None
