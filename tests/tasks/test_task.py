"""Typed access to lm-eval's task objects: metadata are checked, and every temporary change is undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.tasks.catalogue import Catalogue
from harness.tasks.metadata import ProtocolMetadata, TaskMetadata
from harness.tasks.task import Task
from support import mirrors

QUESTIONS = [{"question": f"{i} + 1?", "answer": f"#### {i + 1}"} for i in range(6)]


@pytest.fixture
def task(tmp_path: Path) -> Task:
    mirrors.write(tmp_path, "openai/gsm8k", "main", train=QUESTIONS, test=QUESTIONS)
    return Catalogue().load(["gsm8k_fixed"], tmp_path, num_fewshot=2).tasks["gsm8k_fixed"]


class Parrot:
    """Stands where lm-eval has a model, and answers every request with the same text."""

    rank, world_size = 0, 1

    def generate_until(self, requests: list[Any]) -> list[str]:
        return ["#### 3"] * len(requests)


def test_metadata_keep_keys_that_the_project_does_not_read() -> None:
    metadata = TaskMetadata.of({"version": 1, "fractions": None, "source": "me", 3: "no keyword"}, "task mine")
    assert (metadata.fractions, metadata.cluster) == ((), None)
    assert metadata.model_extra == {"version": 1, "source": "me"}
    assert metadata.facts == {"source": "me"}


@pytest.mark.parametrize("stated", [None, [], "text"])
def test_metadata_that_are_no_mapping_state_nothing(stated: object) -> None:
    assert TaskMetadata.of(stated, "task mine") == TaskMetadata()


@pytest.mark.parametrize(
    "stated",
    [{"fractions": "acc"}, {"cluster": ["{{a}}"]}, {"averages": {"x": {"weight": "size"}}}],
)
def test_metadata_of_a_wrong_type_are_refused_with_their_task(stated: dict[str, Any]) -> None:
    (key,) = stated
    with pytest.raises(HarnessError, match=rf"^task mine: metadata\.{key}.* is wrong \(.*\): correct it$") as error:
        TaskMetadata.of(stated, "task mine")
    assert "\n" not in str(error.value)


def test_only_a_protocols_own_class_reads_its_keys() -> None:
    """A person's task may use such a word for itself."""
    stated = {"metrics": "acc", "articles": "all", "then": "stop"}
    assert TaskMetadata.of(stated, "task mine").model_extra == stated
    with pytest.raises(HarnessError, match=r"metadata\.then.* is wrong"):
        ProtocolMetadata.of({"then": ["one"]}, "task mine")


def test_empty_values_are_the_defaults_but_a_chance_of_zero_stays() -> None:
    stated = {"cluster": False, "fractions": None, "primary": "", "protocol": None, "chance": 0}
    metadata = TaskMetadata.of(stated, "task mine")
    assert (metadata.cluster, metadata.fractions, metadata.primary, metadata.chance) == (None, (), None, 0)
    averages = {"averages": {"x": {"weight": "task", "tag": 2024, "tasks": None}}}
    assert TaskMetadata.of(averages, "group mine").averages["x"].tag == "2024"


def test_a_restricted_task_evaluates_the_chosen_documents_under_their_own_numbers(task: Task) -> None:
    requests = {request.doc_id: [request] for request in task.build_requests()}
    task.release_requests()
    attributes = dict(task.lm_eval.__dict__)
    with task.restricted_to([4, 2], task.documents, requests):
        outcome = task.evaluate(Parrot())
    samples = [sample for sample in outcome["samples"]["gsm8k_fixed"] if sample["filter"] == "last-number"]
    assert [(sample["doc_id"], sample["doc"]["question"]) for sample in samples] == [
        (place, QUESTIONS[place]["question"]) for place in (4, 2)
    ]
    assert [sample["arguments"][0] for sample in samples] == [requests[place][0].args for place in (4, 2)]
    assert task.lm_eval.__dict__ == attributes
    assert task.requests == []


def test_another_score_lasts_as_long_as_its_block(task: Task) -> None:
    with task.scored_by(lambda document, responses: {"exact_match": 7.0}):
        assert task.score({}, []) == {"exact_match": 7.0}
    assert task.score(QUESTIONS[2], ["3"]) == {"exact_match": 1.0}


def test_an_error_in_a_block_leaves_the_task_as_it_was(task: Task) -> None:
    requests = {request.doc_id: [request] for request in task.build_requests()}
    task.release_requests()
    attributes = dict(task.lm_eval.__dict__)
    with pytest.raises(ZeroDivisionError), task.restricted_to([0], task.documents, requests):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), task.scored_by(lambda document, responses: {}):
        raise ZeroDivisionError
    assert task.lm_eval.__dict__ == attributes
