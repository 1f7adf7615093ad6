"""`harness score` counts an answer on which a task's own scorer fails, and goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.recorded.score import Scoring, score

DEFINITION = """
task: mine
dataset_path: json
dataset_kwargs: {{data_files: {{test: {questions}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
process_results: !function utils.score
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""
SCORER = """
def score(doc, results):
    return {"acc": float(int(results[0] or 0) == int(doc["answer"]))}
"""


@pytest.fixture
def scoring(tmp_path: Path) -> Scoring:
    questions, tasks = tmp_path / "questions.jsonl", tmp_path / "tasks"
    documents = [{"question": f"{i} + 1?", "answer": str(i + 1)} for i in range(4)]
    questions.write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    tasks.mkdir()
    (tasks / "mine.yaml").write_text(DEFINITION.format(questions=questions), encoding="utf-8")
    (tasks / "utils.py").write_text(SCORER, encoding="utf-8")
    answers = ["1", "2" * 4_301, "three", "4"]
    lines = (json.dumps({"id": i, "prediction": answer}) for i, answer in enumerate(answers))
    (tmp_path / "predictions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return Scoring(tmp_path / "predictions.jsonl", tmp_path / "reports", task="mine", include=(tasks,))


def test_answers_that_cannot_be_scored_count_as_wrong_and_are_noted(scoring: Scoring) -> None:
    [report] = score(scoring)
    assert [result.value for result in report.manifest.scores] == [0.5]
    [note] = [note for note in report.manifest.notes if "could not be scored" in note]
    assert note.startswith("task mine: 2 documents could not be scored (document 1: ValueError: Exceeds the limit")
    assert note.endswith(" and count as wrong, like an empty answer")


def test_a_reference_that_cannot_be_scored_stops_the_scoring(scoring: Scoring, tmp_path: Path) -> None:
    documents = [{"question": f"{i} + 1?", "answer": "many"} for i in range(4)]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    with pytest.raises(
        HarnessError, match=r"^task mine cannot be scored \(document 0, with an empty answer: ValueError"
    ):
        list(score(scoring))
