"""Ids of recorded lines: those of the data where it has some, else the numbers of rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.recorded.score import Scoring, score
from harness.reports.report import Report


def scored(folder: Path, ids: Sequence[Any] | None, keys: Sequence[Any], **options: Any) -> Report:
    """Return the report of right answers to a test set with `ids`, by the ids `keys` of the recorded lines."""
    answers = ["11", "22", "33"]
    rows = [{"question": f"第{place}题", "answer": answer} for place, answer in enumerate(answers)]
    if ids is not None:
        rows = [{**row, "id": value} for row, value in zip(rows, ids, strict=True)]
    questions, file = folder / "own.jsonl", folder / "recorded.jsonl"
    questions.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    lines = [{"id": key, "prediction": answer} for key, answer in zip(keys, answers, strict=False)]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    [report] = score(Scoring(file, folder / "out", task=str(questions), **options))
    return report


@pytest.mark.parametrize(
    ("ids", "keys"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([1, 2, 3], ["1", "2", "3"]),
        (["1", "2", "3"], [1, 2, 3]),
        ([1.0, 2.0, 3.0], [1, 2, 3]),
        (["q-7", "q-8", "甲"], ["q-7", "q-8", "甲"]),
        ([2, 0, 1], [2, 0, 1]),
        ([10**12, -5, 7], [10**12, -5, 7]),
        (None, [0, 1, 2]),
        ([5, 5, 5], [0, 1, 2]),
        ([5, None, 6], [0, 1, 2]),
    ],
)
def test_an_id_is_that_of_the_data_or_a_rows_number(ids: Any, keys: list[Any], tmp_path: Path) -> None:
    report = scored(tmp_path, ids, keys)
    assert report.samples("own.jsonl")["number"].tolist() == [1, 1, 1]


def test_what_ids_mean_is_noted_where_they_may_mean_something_else(tmp_path: Path) -> None:
    assert scored(tmp_path, [2, 0, 1], [2, 0, 1]).manifest.notes == [
        "own.jsonl: ids are those of its column 'id', not row numbers"
    ]
    [note] = scored(tmp_path, [5, 5, 5], [0, 1, 2]).manifest.notes
    assert note.startswith("own.jsonl: ids count its rows from 0, because its column 'id'")
    assert scored(tmp_path, [0, 1, 2], [0, 1, 2]).manifest.notes == []


@pytest.mark.parametrize("keep_going", [False, True])
def test_row_numbers_where_the_data_have_ids_are_refused(keep_going: bool, tmp_path: Path) -> None:
    """With --keep-going, too: two of three would be answers to the wrong rows."""
    error = r"line 1, has the id 0, which the column 'id' of own\.jsonl does not contain \(1, 2, 3\): write the ids"
    with pytest.raises(HarnessError, match=error):
        scored(tmp_path, [1, 2, 3], [0, 1, 2], keep_going=keep_going)


@pytest.mark.parametrize(
    ("ids", "keys", "error"),
    [
        ([1, 2, 3], [1, 2, "x"], "line 3, id x, answers no document of own.jsonl, which has 3 with the ids 1, 2, 3 in"),
        (["a", "b", "c"], [7, 8, 9], "line 1, id 7, answers no document of own.jsonl, which has 3 with the ids a, b"),
        (None, ["a", "b", "c"], "names documents of own.jsonl by a text, but it has no column 'id'"),
        (["a", "a", "c"], ["a", "b", "c"], "by a text, but its column 'id' is empty or the same in several rows"),
        (["a", "b", "c"], ["a", "a", "c"], "line 2, id a, answers a document that has been answered"),
    ],
)
def test_ids_that_name_no_document_are_refused(ids: Any, keys: list[Any], error: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=error):
        scored(tmp_path, ids, keys)
