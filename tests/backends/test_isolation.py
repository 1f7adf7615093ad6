"""Documents whose requests fail are found among the others, with few calls, and only they get no answer."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.backends import isolation
from harness.common.failures import FailedAnswer
from harness.errors import HarnessError, StorageError


def requests(count: int, each: int = 2) -> list[Any]:
    """Return `each` requests of every document, those of one document apart from one another."""
    return [SimpleNamespace(doc_id=doc_id, idx=idx) for idx in range(each) for doc_id in range(count)]


def failing(doc_ids: set[int], error: Exception, calls: list[int]) -> Callable[[list[Any]], list[Any]]:
    def answer(chosen: list[Any]) -> list[Any]:
        calls.append(len(chosen))
        if any(request.doc_id in doc_ids for request in chosen):
            raise error
        return [(request.doc_id, request.idx) for request in chosen]

    return answer


@given(st.integers(1, 40), st.sets(st.integers(0, 39), max_size=5))
def test_only_failing_documents_get_no_answer(count: int, failed: set[int]) -> None:
    asked, calls = requests(count), []
    failed &= set(range(1, count))  # if one is answered, the others may all fail
    answers = isolation.answer_each(asked, failing(failed, ValueError("NaN"), calls))
    for request, answer in zip(asked, answers, strict=True):
        if request.doc_id in failed:
            assert answer.message == "ValueError: NaN"
        else:
            assert answer == (request.doc_id, request.idx)
    assert len(calls) <= 1 + 2 * len(failed) * (count - 1).bit_length()


def test_documents_of_which_all_fail_are_the_tasks_failure_after_a_few() -> None:
    calls: list[int] = []
    with pytest.raises(HarnessError, match=r"NaN \(in the first 20 of 5,000 documents\)"):
        isolation.answer_each(requests(5000), failing(set(range(5000)), HarnessError("NaN"), calls))
    assert len(calls) < 100


@pytest.mark.parametrize("error", [StorageError("full"), MemoryError(), OSError(28, "No space left on device")])
def test_what_no_document_is_at_fault_for_ends_everything(error: Exception) -> None:
    calls: list[int] = []
    with pytest.raises(type(error)):
        isolation.answer_each(requests(8), failing({3}, error, calls))
    assert len(calls) == 1


def test_a_failed_answer_is_no_answer_of_any_kind() -> None:
    assert not isinstance(FailedAnswer("NaN"), str | tuple | list | float)
