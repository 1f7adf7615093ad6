"""Estimates from the rows of a report: which metrics get a number, and which an interval."""

from __future__ import annotations

import math

import pytest

from harness.metrics.stats.estimates import mean_estimate
from harness.runs import scores
from harness.tasks.task import Metric

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
