"""Estimates from the rows of a report: which metrics get a number, and which an interval."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from harness.metrics.stats.estimates import Average, mean_estimate
from harness.runs import scores
from harness.tasks.task_metrics import Metric
from harness.tasks.task_set import GroupAverage, TaskSet

ACC = Metric("acc", "none", higher_is_better=True, fraction=True, aggregation="mean")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_metric_that_is_not_finite_has_no_estimate(bad: float) -> None:
    rows = [{"filter": "none", "acc": 1.0}, {"filter": "none", "acc": bad}]
    assert scores.estimate(ACC, rows, value=bad) is None
    assert scores.estimate(ACC._replace(aggregation=""), [{"filter": "none", "acc": (1, 2)}], value=bad) is None


def test_another_function_called_macro_f1_keeps_its_own_value() -> None:
    metric = Metric("macro_f1", "none", higher_is_better=True, fraction=True, aggregation="macro_f1")
    rows = [{"filter": "none", "macro_f1": pair} for pair in ((0, 1), (1, 1))]
    result = scores.estimate(metric, rows, value=0.4)
    assert (result.value, result.low, result.n) == (0.4, None, 2)


def test_a_unit_is_never_guessed_from_values() -> None:
    rows = [{"filter": "none", "rouge100": 0.0}] * 3
    metric = Metric("rouge100", "none", higher_is_better=True, fraction=False, aggregation="mean")
    result = scores.estimate(metric, rows, value=0.0)
    assert result is not None
    assert (result.value, result.low, result.high) == (0.0, None, None)
    assert mean_estimate([0.0, 0.0, 0.0]).high is not None


def test_an_average_is_over_tasks_that_aggregate_its_metric_in_different_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """As LawBench's do: `score` is a ratio of sums in one task, and a mean in the others."""
    ratio = ACC._replace(aggregation="ratio")
    tasks = {"a": SimpleNamespace(metrics=[ACC]), "b": SimpleNamespace(metrics=[ratio])}
    declared = GroupAverage("both", Average("both", ("a", "b"), "task"), ("acc",))
    collected = scores.Scores(TaskSet(tasks, {}, ["both"], [declared]))  # type: ignore[arg-type]
    monkeypatch.setattr(scores.bounds, "of_task", lambda *_: {})
    collected.add("a", [{"filter": "none", "acc": value} for value in (1.0, 0.0)], {"acc,none": 0.5})
    collected.add("b", [{"filter": "none", "acc": pair} for pair in ((1, 4), (2, 4))], {"acc,none": 0.375})
    by_name = {score.task: score for score in collected.ordered()}
    assert by_name["both"].value == pytest.approx((0.5 + 0.375) / 2)
    assert (by_name["both"].primary, by_name["both"].aggregation) == (True, None)
    assert (by_name["a"].aggregation, by_name["b"].aggregation) == ("mean", "ratio")


def test_an_average_whose_tasks_agree_keeps_their_aggregation_beside_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ratio = ACC._replace(aggregation="ratio")
    tasks = {name: SimpleNamespace(metrics=[metric]) for name, metric in (("a", ACC), ("b", ACC), ("c", ratio))}
    declared = GroupAverage("means", Average("means", ("a", "b"), "task"), ("acc",))
    collected = scores.Scores(TaskSet(tasks, {}, ["means", "c"], [declared]))  # type: ignore[arg-type]
    monkeypatch.setattr(scores.bounds, "of_task", lambda *_: {})
    for name in ("a", "b"):
        collected.add(name, [{"filter": "none", "acc": value} for value in (1.0, 0.0)], {"acc,none": 0.5})
    collected.add("c", [{"filter": "none", "acc": (1, 4)}], {"acc,none": 0.25})
    [average] = [score for score in collected.ordered() if score.task == "means"]
    assert (average.value, average.aggregation, average.primary) == (0.5, "mean", True)
