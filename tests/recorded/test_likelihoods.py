"""Numbers that cannot be log-likelihoods."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.recorded import likelihoods
from harness.recorded.score import Scoring, score

NAN, INFINITY = math.nan, math.inf


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([-1.5, -0.2], None),
        ([0, -3], None),
        ([1e-6, -9.0], None),
        ([0.7, 0.3], "these are probabilities"),
        ([0, 0, 1, 0], "these are probabilities"),
        ([1.5, 0.2], "above 0: these are no logarithms"),
        ([70, 30], "above 0: these are no logarithms"),
        ([-1.0, 0.5], "above 0: these are no logarithms"),
        ([0, 0], "nothing but zeros"),
        ([NAN, -1], "NaN or infinite"),
        ([-INFINITY, -1], "NaN or infinite"),
        ([10**400, -1], "NaN or infinite"),
        (["-1", -1], "no number"),
        ([True, -1], "no number"),
        ([None, -1], "no number"),
    ],
)
def test_values_that_are_no_logarithms_are_named(values: list[object], problem: str | None) -> None:
    result = likelihoods.problem(values)
    assert result is None if problem is None else problem in str(result)


@pytest.mark.parametrize("values", [[0.7, 0.3], [NAN, -1], [1.5, 2.5]])
def test_the_line_of_a_bad_value_is_named(values: list[float], tmp_path: Path) -> None:
    questions, file = tmp_path / "own.jsonl", tmp_path / "recorded.jsonl"
    rows = [{"question": f"{place}?", "choices": ["yes", "no"], "answer": "A"} for place in range(2)]
    questions.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    lines = [{"id": 0, "logprobs": [-1, -2]}, {"id": 1, "logprobs": values}]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with pytest.raises(HarnessError, match=r"recorded\.jsonl, line 2, has .*'logprobs'"):
        list(score(Scoring(file, tmp_path / "out", task=str(questions))))


@pytest.mark.parametrize("value", ["0.7", "NaN"])
def test_the_likelihood_of_a_whole_text_is_checked_too(value: str, tmp_path: Path) -> None:
    text, file = tmp_path / "text.txt", tmp_path / "recorded.jsonl"
    text.write_text("一段文字", encoding="utf-8")
    file.write_text(json.dumps({"id": 0, "prediction": value}), encoding="utf-8")
    with pytest.raises(HarnessError, match=r"line 1, has a log-likelihood with"):
        list(score(Scoring(file, tmp_path / "out", task=f"ppl:{text}")))
