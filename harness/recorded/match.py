"""Which document each recorded answer belongs to: by its id or its place, if question and reference agree.

Where a file contains the question or the reference, these must be the document's: LawBench's published answers to 2-2
belong to other documents, in another order, than its published data.

Not here: answers without a document, or documents without an answer (`harness.recorded.join`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.recorded.answers import Answer, TaskAnswers
from harness.tasks.task import Task

QUESTION = "question"
"""The column that a file may contain with the whole prompt around it."""

Columns = Mapping[str, str]


class Matches(NamedTuple):
    """The documents that a task's answers belong to."""

    places: list[int | None]
    """For each answer the place of its document in the split, or None if no document has its id."""
    mismatch: str = ""
    """Why the answers belong to other documents than the task's; empty if they do not."""


def match(task: Task, answers: TaskAnswers) -> Matches:
    """Return which document of `task` each of `answers` belongs to.

    Raises HarnessError if answers name documents by a text and the documents have no `id`.
    """
    places, documents = _places(task, answers), task.documents
    for answer, place in zip(answers.answers, places, strict=True):
        if place is None or not answer.document:
            continue
        column = _contradicting_column(_texts(answer.document), _texts(documents[place]))
        if column is not None:
            mismatch = f"{answer.where}, has another '{column}' than document {answer.key} of the data at hand"
            return Matches(places, mismatch)
    return Matches(places)


def match_own_documents(answers: TaskAnswers) -> Matches:
    """Return the places of answers whose file contains the documents, in the order of `one_per_document`."""
    by_key = {answer.key: place for place, answer in enumerate(one_per_document(answers))}
    return Matches([by_key[answer.key] for answer in answers.answers])


def one_per_document(answers: TaskAnswers) -> list[Answer]:
    """Return the first answer to each document, in the order of their ids: numbers, then texts."""
    unique = {answer.key: answer for answer in reversed(answers.answers)}
    return sorted(unique.values(), key=lambda answer: (isinstance(answer.key, str), answer.key))


def _places(task: Task, answers: TaskAnswers) -> list[int | None]:
    """Return the place of the document that each answer's key names."""
    documents = task.documents
    by_id: dict[str, int] = {}
    if any(isinstance(answer.key, str) for answer in answers.answers):
        columns = documents.column_names if hasattr(documents, "column_names") else documents[0]
        if "id" not in columns:
            raise HarnessError(
                f"{answers.origin} names documents of {answers.task} by a text, but they have no column 'id': "
                "write each one's place in its split, counted from 0"
            )
        by_id = {str(document["id"]): place for place, document in enumerate(documents)}
    return [_place(answer.key, by_id, len(documents)) for answer in answers.answers]


def _place(key: int | str, by_id: Mapping[str, int], documents: int) -> int | None:
    if isinstance(key, str):
        return by_id.get(key)
    return key if 0 <= key < documents else None


def _texts(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns that are texts, without white space: tokenizers change it."""
    return {name: "".join(value.split()) for name, value in document.items() if isinstance(value, str)}


def _contradicting_column(recorded: Columns, document: Columns) -> str | None:
    """Return the first column where the recorded document contradicts the task's, or None.

    A recorded reference may be cut short, as ChatGLM's are; a recorded question may be a whole prompt that contains
    the task's question, as in LawBench's files.
    """
    for name, value in recorded.items():
        expected = document.get(name)
        if not value or expected is None or expected.startswith(value):
            continue
        if name == QUESTION and expected in value:
            continue
        return name
    return None
