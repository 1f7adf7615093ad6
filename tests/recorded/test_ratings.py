"""Ratings: means with intervals, the agreement of raters, and malformed lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from harness.errors import HarnessError
from harness.metrics.stats.agreement import alpha
from harness.recorded import ratings
from harness.reports.report import Report

RATINGS = {"0": (4, 5), "1": (3, 3), "2": (5, 4), "3": (1, 2)}
"""The ratings of each item by raters A and B."""


def lines() -> list[dict[str, Any]]:
    accuracy = [
        {"id": item, "criterion": "accuracy", "rating": rating, "rater": rater}
        for item, pair in RATINGS.items()
        for rater, rating in zip("AB", pair, strict=True)
    ]
    return [*accuracy, {"id": "0", "criterion": "clarity", "rating": 2.5, "rater": "A"}]


def score(folder: Path, rows: list[Any], **changes: Any) -> list[Report]:
    file = folder / "judged.jsonl"
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    settings: dict[str, Any] = {"task": None, "name": None, "keep_going": False} | changes
    return list(ratings.score(file, folder / "out", **settings))


def test_a_criterion_is_the_mean_over_items_of_the_mean_of_raters(tmp_path: Path) -> None:
    (report,) = score(tmp_path, lines())
    means = [sum(pair) / 2 for pair in RATINGS.values()]
    by_metric = {score.metric: score for score in report.manifest.scores}
    accuracy = by_metric["accuracy"]
    assert (accuracy.value, accuracy.n) == (sum(means) / 4, 4)
    low, high = stats.t.interval(0.95, 3, loc=accuracy.value, scale=stats.sem(means))
    assert (accuracy.low, accuracy.high) == pytest.approx((low, high))
    assert by_metric["accuracy_alpha"].value == alpha(RATINGS.values())
    assert "clarity_alpha" not in by_metric
    assert list(report.samples("judged")["accuracy"]) == means
    notes = " ".join(report.manifest.notes)
    assert "3 of 4 items have no rating of clarity" in notes
    assert "no item has two ratings of clarity" in notes


def test_each_model_has_a_report(tmp_path: Path) -> None:
    reports = score(tmp_path, [{**row, "model": model} for model in ("base", "sft") for row in lines()])
    assert [report.manifest.checkpoint.name for report in reports] == ["base", "sft"]
    with pytest.raises(HarnessError, match="rates base, sft: leave --name out"):
        score(tmp_path, [{**row, "model": model} for model in ("base", "sft") for row in lines()], name="x")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 2, is not JSON"),
        ({"id": 1, "criterion": "accuracy", "rating": 3}, "line 2, has no 'id', 'criterion' and 'rater'"),
        ({"id": 1, "criterion": "accuracy", "rating": "3", "rater": "A"}, "no 'rating' that is a finite number"),
        ({"id": 1, "criterion": "accuracy", "rating": True, "rater": "A"}, "no 'rating' that is a finite number"),
        ('{"id": 1, "criterion": "accuracy", "rating": NaN, "rater": "A"}', "no 'rating' that is a finite number"),
        (lines()[0] | {"id": 1, "rating": 10**400}, "line 2, is not JSON .a number has more than 308 digits"),
        (lines()[0] | {"id": 1, "rating": 1e308}, "no 'rating' that is a finite number"),
        (lines()[0] | {"criterion": "prompt"}, "has a criterion 'prompt', a name with another meaning in reports"),
        (lines()[0] | {"criterion": "accuracy_alpha"}, "has a criterion 'accuracy_alpha'"),
        (lines()[0] | {"criterion": ""}, "has a criterion ''"),
        (lines()[0] | {"rating": 1}, "line 2, repeats the rating of accuracy of 0 by A in .*line 1"),
    ],
)
def test_a_malformed_line_is_named_or_counted(tmp_path: Path, row: Any, message: str) -> None:
    first = lines()[0]
    with pytest.raises(HarnessError, match=message):
        score(tmp_path, [first, row])
    (report,) = score(tmp_path, [first, row], keep_going=True)
    assert any("1 lines were left out" in note for note in report.manifest.notes)
    assert report.manifest.scores[0].value == first["rating"]


def test_a_note_says_that_agreement_is_not_known(tmp_path: Path) -> None:
    (report,) = score(tmp_path, [{**lines()[0], "rater": rater} for rater in "AB"])
    assert "all ratings of accuracy that could differ are equal" in " ".join(report.manifest.notes)


def test_raters_means_are_noted_only_for_a_few_raters(tmp_path: Path) -> None:
    (report,) = score(tmp_path, [{**lines()[0], "rater": rater} for rater in range(11)])
    assert report.manifest.notes == ["judged: 11 ratings by 11 raters", *report.manifest.notes[1:]]


@pytest.mark.parametrize("task", ["../judged", "a/b", ".."])
def test_a_task_that_is_a_path_is_refused(tmp_path: Path, task: str) -> None:
    with pytest.raises(HarnessError, match="is a path: give what was rated a plain name"):
        score(tmp_path, lines(), task=task)
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_missing_file_and_a_file_without_ratings_are_errors(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="there is no file"):
        list(ratings.score(tmp_path / "none.jsonl", tmp_path, task=None, name=None, keep_going=False))
    with pytest.raises(HarnessError, match="holds no ratings"):
        score(tmp_path, [""])
