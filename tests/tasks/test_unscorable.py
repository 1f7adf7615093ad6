"""An answer on which a filter, a scorer or an aggregation fails is one document's, unless the task is at fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.common.failures import Failure
from harness.errors import HarnessError
from harness.metrics.stats.estimates import ratio
from harness.tasks.catalogue import Catalogue
from harness.tasks.task import Task
from harness.tasks.unscorable import TaskError
from support import mirrors

QUESTIONS = [{"question": f"{i} + 1?", "answer": f"#### {i + 1}"} for i in range(4)]
POISON = "poison"


@pytest.fixture
def task(tmp_path: Path) -> Task:
    mirrors.write(tmp_path, "openai/gsm8k", "main", train=QUESTIONS, test=QUESTIONS)
    return Catalogue().load(["gsm8k_fixed"], tmp_path, num_fewshot=2).tasks["gsm8k_fixed"]


class Answerer:
    """Stands where lm-eval has a model, and gives document i its own answer."""

    rank, world_size = 0, 1

    def __init__(self, *answers: str) -> None:
        self.answers = answers

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        return [self.answers[request.doc_id] for request in requests]


def failing(score: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def score_or_fail(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        if POISON in results[0]:
            raise ValueError("Exceeds the limit\nfor integer string conversion")
        return score(doc, results)

    return score_or_fail


def values(outcome: dict[str, Any], metric: str = "exact_match", filter: str = "last-number") -> list[Any]:
    samples = [sample for sample in outcome["samples"]["gsm8k_fixed"] if sample["filter"] == filter]
    return [sample.get(metric) for sample in samples]


def test_a_scorers_exception_is_one_documents(task: Task) -> None:
    before = dict(task.lm_eval.__dict__)
    with task.scored_by(failing(task.score)):
        outcome = task.evaluate(Answerer("1", POISON, "3", "9"))
    assert values(outcome) == [1, 0, 1, 0]
    assert outcome["results"]["gsm8k_fixed"]["exact_match,last-number"] == 0.5
    assert outcome["unscorable"] == [Failure(1, "ValueError: Exceeds the limit for integer string conversion")]
    task.release_requests()
    assert {name: value for name, value in task.lm_eval.__dict__.items() if before.get(name) is not value} == {}


def test_answers_without_failures_are_scored_as_ever(task: Task) -> None:
    outcome = task.evaluate(Answerer("1", "2", "3", "9"))
    assert (values(outcome), outcome["unscorable"]) == ([1, 1, 1, 0], [])


def test_a_filters_exception_is_one_documents(task: Task) -> None:
    def upper(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
        if any(POISON in text for texts in responses for text in texts):
            raise RecursionError("too deep")
        return responses

    first = task.lm_eval._filters[0]
    first.filters.insert(0, lambda: SimpleNamespace(apply=upper))
    try:
        outcome = task.evaluate(Answerer("1", "2", POISON, "4"))
    finally:
        first.filters.pop(0)
    assert values(outcome) == [1, 1, 0, 1]
    assert values(outcome, filter="strict-match") == [0, 0, 0, 0]
    assert outcome["unscorable"] == [Failure(2, "RecursionError: too deep")]
    assert outcome["samples"]["gsm8k_fixed"][2]["filtered_resps"] == [""]


def test_a_value_that_cannot_be_aggregated_is_one_documents(task: Task) -> None:
    def score(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        return {"exact_match": None if results[0] == POISON else 1.0}

    with task.scored_by(score):
        outcome = task.evaluate(Answerer("1", POISON, "3", "4"))
    assert values(outcome) == [1, 0, 1, 1]
    assert outcome["results"]["gsm8k_fixed"]["exact_match,last-number"] == 0.75
    assert [failure.doc_id for failure in outcome["unscorable"]] == [1]


def test_a_value_that_cannot_be_aggregated_is_one_documents_in_parts_as_well(task: Task) -> None:
    def score(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        return {"exact_match": None if results[0] == POISON else 1.0}

    requests: dict[int, list[Any]] = {}
    for request in task.build_requests():
        requests.setdefault(request.doc_id, []).append(request)
    samples = []
    key = "exact_match,last-number"
    with task.scored_by(score):
        for places in ([0, 1], [2, 3]):
            with task.restricted_to(places, task.documents, requests):
                outcome = task.evaluate(Answerer("1", POISON, "3", "4"))
            assert outcome["unscorable"] == []
            samples += outcome["samples"]["gsm8k_fixed"]
        results, failures = task.aggregate(samples, [key], [each for chosen in requests.values() for each in chosen])
    assert results == {key: 0.75}
    assert [failure.doc_id for failure in failures] == [1]
    assert [sample["exact_match"] for sample in samples if sample["filter"] == "last-number"] == [1, 0, 1, 1]


def test_a_ratio_has_no_hits_of_a_failed_document_in_parts(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def score(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        return {"f1": (2.0 * (not results[0]), 7.0)}

    monkeypatch.setitem(task.lm_eval.__dict__, "higher_is_better", lambda: {"f1": True})
    monkeypatch.setitem(task.lm_eval.__dict__, "aggregation", lambda: {"f1": ratio})
    requests = {request.doc_id: [request] for request in task.build_requests()}
    with task.scored_by(failing(score)), task.restricted_to([0, 1], task.documents, requests):
        outcome = task.evaluate(Answerer("", POISON, "3", "4"))
    assert values(outcome, "f1") == [(2, 7), (0, 7)]


def test_a_failing_aggregation_of_good_values_is_the_tasks_fault(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(values: Sequence[Any]) -> float:
        raise ZeroDivisionError("no classes")

    monkeypatch.setitem(task.lm_eval.__dict__, "aggregation", lambda: {"exact_match": broken})
    with pytest.raises(HarnessError, match=r"gsm8k_fixed: exact_match cannot be aggregated \(ZeroDivisionError: no c"):
        task.evaluate(Answerer("1", "2", "3", "4"))


def test_a_failed_document_keeps_its_denominator_and_gets_no_credit(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For some documents an empty answer is right: a failed one never is."""

    def score(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        is_right = float(not results[0])
        values = {"f1": (2 * is_right, 7.0), "exact_match": is_right, "missing": float(not results[0])}
        return values if results[0] else {**values, "of": "reference"}

    better = {"f1": True, "exact_match": True, "missing": False, "of": True}
    monkeypatch.setitem(task.lm_eval.__dict__, "higher_is_better", lambda: better)
    aggregations = {"f1": ratio, "exact_match": max, "missing": max, "of": len}
    monkeypatch.setitem(task.lm_eval.__dict__, "aggregation", lambda: aggregations)
    with task.scored_by(failing(score)):
        outcome = task.evaluate(Answerer("", POISON, "3", "4"))
    assert values(outcome, "f1")[:2] == [(2, 7), (0, 7)]
    assert values(outcome)[:2] == [1, 0]
    assert values(outcome, "missing")[:2] == [1, 1]
    assert values(outcome, "of") == ["reference", "reference", None, None]


@pytest.mark.parametrize(
    ("unscorable", "words"), [("", "with an empty answer"), (" #### 2", "with its reference as the answer")]
)
def test_a_scorer_that_fails_whatever_the_answer_is_the_tasks_fault(task: Task, unscorable: str, words: str) -> None:
    def score(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        if results[0].strip() in (unscorable.strip(), POISON):
            raise KeyError("solution")
        return {"exact_match": 0.0}

    with (
        task.scored_by(score),
        pytest.raises(TaskError, match=rf"^task gsm8k_fixed cannot be scored \(document 1, {words}: KeyError: 'sol"),
    ):
        task.evaluate(Answerer("1", POISON, "3", "4"))


@pytest.mark.parametrize("error", [HarnessError("your file is wrong"), MemoryError()])
def test_errors_for_people_and_a_full_memory_pass(task: Task, error: BaseException) -> None:
    def score(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        raise error

    with task.scored_by(score), pytest.raises(type(error)):
        task.evaluate(Answerer("1", "2", "3", "4"))


def test_a_long_message_is_cut(task: Task) -> None:
    def score(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        if results[0] == POISON:
            raise ValueError("x" * 5000)
        return {"exact_match": 1.0}

    with task.scored_by(score):
        outcome = task.evaluate(Answerer("1", POISON, "3", "4"))
    assert len(outcome["unscorable"][0].message) < 250
