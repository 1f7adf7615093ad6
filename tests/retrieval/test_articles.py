"""Files of retrieved passages: written and read alike, and errors that name the place."""

from __future__ import annotations

import json

import pytest

from harness.errors import HarnessError
from harness.retrieval import articles
from harness.retrieval.corpus import Question
from harness.retrieval.index import Hit, Passage


def test_results_are_read_as_they_were_written(tmp_path):
    passages = [Passage("a", "甲\n乙"), Passage("b", "丙")]
    questions = [Question("问“一”", {}), Question("问二", {})]
    file = tmp_path / "new" / "found.jsonl"
    articles.write(file, questions, [[Hit(1, 2.5), Hit(0, 0.1)], []], passages)
    assert articles.read(file) == {"问“一”": ["丙", "甲\n乙"], "问二": []}
    first = json.loads(file.read_text(encoding="utf-8").splitlines()[0])
    assert (first["ids"], first["scores"]) == (["b", "a"], [2.5, 0.1])
    with pytest.raises(HarnessError, match="cannot write"):
        articles.write(file / "below.jsonl", questions, [[], []], passages)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"query": "问"}], "line 1: 'laws' is not a list of articles"),
        ([{"laws": []}], "line 1: 'query' is missing"),
        (
            [{"query": "问", "laws": ["甲"]}, {"query": "问", "laws": ["乙"]}],
            "line 2: the query '问' has other articles",
        ),
    ],
)
def test_a_malformed_file_is_an_error(tmp_path, rows, message):
    file = tmp_path / "found.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(HarnessError, match=message):
        articles.read(file)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(HarnessError, match=r"there is no file .*: write one with 'harness retrieve"):
        articles.read(tmp_path / "none.jsonl")
