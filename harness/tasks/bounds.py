"""What a score stands between: chance, which knowing nothing scores, and the ceiling, which a right answer does.

A task's YAML states them as `metadata.chance` and `metadata.ceiling`, in the unit of its primary metric. Where a
multiple-choice task states no chance, it is what a uniform guess among its choices scores.

Not here: whether a score is at chance, which `harness.leaderboard` tells.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.metrics.stats.estimates import Average, Estimate, weights
from harness.tasks.task import Metric, Task

Row = Mapping[str, Any]
"""A report's row of one document under one filter (`harness.runs.samples`)."""

# Metrics that are 1 where the chosen one of the choices is right, however it is chosen, and else 0.
ACCURACIES = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")


class Bounds(NamedTuple):
    """Chance and ceiling of one score in its metric's own unit, each None where it is not known."""

    chance: float | None = None
    ceiling: float | None = None


def check(tasks: Iterable[Task]) -> None:
    """Raise HarnessError where a task states what cannot be a chance or a ceiling."""
    for task in tasks:
        stated(task)


def stated(task: Task) -> Bounds:
    """Return what `task` states of its primary metric.

    Raises HarnessError where that is no number, lies outside of 0 to 1 for a fraction, or leaves no room between them.
    """
    metadata = task.metadata
    primary = next(iter(task.metrics), None)
    if primary is None:
        return Bounds()
    name = task.name
    stated = {"chance": metadata.chance, "ceiling": metadata.ceiling}
    found = Bounds(**{key: _number(name, key, value, primary) for key, value in stated.items()})
    if found.chance is not None and found.ceiling is not None:
        room = found.ceiling - found.chance
        if (room if primary.higher_is_better else -room) <= 0:
            order = "below" if primary.higher_is_better else "above"
            raise HarnessError(
                f"task {name}: metadata.chance is {found.chance:g} and metadata.ceiling {found.ceiling:g}, but "
                f"{'more' if primary.higher_is_better else 'less'} {primary.name} is better: write a chance {order} "
                "the ceiling"
            )
    return found


def of_task(task: Task, rows: Sequence[Row]) -> dict[Metric, Bounds]:
    """Return the bounds of a task's metrics over the documents of `rows`; metrics that have none are left out."""
    own, reported = stated(task), task.metrics
    found: dict[Metric, Bounds] = {}
    for metric in reported:
        accuracies = {reported[0].name, metric.name} <= {*ACCURACIES}
        chance = own.chance if metric == reported[0] or accuracies else None
        if chance is None and task.output_type == "multiple_choice" and metric.name in ACCURACIES:
            chance = _guessed(metric, rows, several=task.has_several_right_choices)
        bounds = Bounds(chance, own.ceiling if metric == reported[0] else None)
        if bounds != Bounds():
            found[metric] = bounds
    return found


def of_average(average: Average, estimates: Mapping[str, Estimate], tasks: Mapping[str, Bounds]) -> Bounds:
    """Return the bounds of `average`: its tasks' own with the weights that their scores have, where all have one."""
    shares = weights([estimates[name] for name in average.tasks], average.weight)
    columns = zip(*(tasks.get(name, Bounds()) for name in average.tasks), strict=True)
    return Bounds(*(_weighted(shares, column) for column in columns))


def _number(task: str, key: str, value: object, primary: Metric) -> float | None:
    if value is None:
        return None
    example = "0.25" if primary.fraction else "12.5"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise HarnessError(
            f"task {task}: metadata.{key} is {value!r}, which is no number: write it in the unit of {primary.name}, "
            f"such as {example}"
        )
    if primary.fraction and not 0 <= value <= 1:
        raise HarnessError(
            f"task {task}: metadata.{key} is {value:g}, but {primary.name} lies between 0 and 1: write a fraction, "
            f"such as {example}"
        )
    return float(value)


def _guessed(metric: Metric, rows: Sequence[Row], *, several: bool) -> float | None:
    """Return what a uniform guess scores: the mean share of right choices.

    None where a document's value is not 0 or 1, so that more counts than whether the chosen one is right.
    """
    asked = [row for row in rows if row["filter"] == metric.filter and row.get(metric.name) is not None]
    if not asked or not all(row.get("choices") and row[metric.name] in (0, 1) for row in asked):
        return None
    return math.fsum((_right(row) if several else 1) / len(row["choices"]) for row in asked) / len(asked)


def _right(row: Row) -> int:
    """Return how many choices are right, in a task whose documents may list several: `[0, 2]`."""
    try:
        places = json.loads(row["target"])
    except ValueError:  # the text of the one that is right
        return 1
    return len({place for place in places if place < len(row["choices"])}) if isinstance(places, list) else 1


def _weighted(shares: Sequence[float], values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(w * v for w, v in zip(shares, known, strict=True)) if len(known) == len(values) else None
