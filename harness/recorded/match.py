"""Which document each recorded answer is to: by its id or place, as long as it was asked and expected the same.

Where a file tells what was asked or expected, that must be found in the document again: published answers to LawBench's
2-2 are to other documents, and in another order, than its published data.

Not here: what becomes of answers without a document, or of documents without an answer (`harness.recorded.join`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.recorded.predictions import TaskAnswers
from harness.recorded.recordings import Answer
from harness.tasks.task import Task

ASKED = "question"
"""The column that may be told with the whole prompt around it."""

Columns = Mapping[str, str]


class Matched(NamedTuple):
    """The documents of a task's answers."""

    places: list[int | None]
    """For each answer the place of its document, None where it is to none."""
    strange: str = ""
    """Why the task's documents are not those that were answered; empty where they are."""


def match(task: Task, answers: TaskAnswers) -> Matched:
    """Return which of the task's documents each of `answers` is to."""
    places = _told(task, answers)
    for answer, place in zip(answers.answers, places, strict=True):
        if place is None or not answer.document:
            continue
        if (column := _differs(_columns(answer.document), _columns(task.documents[place]))) is not None:
            where = f"{answer.where}, has another '{column}' than document {answer.key} of the data at hand"
            return Matched(places, where)
    return Matched(places)


def own(answers: TaskAnswers) -> Matched:
    """Return the places of answers that bring their own documents, in the order of `ordered`."""
    by_key = {answer.key: place for place, answer in enumerate(ordered(answers))}
    return Matched([by_key[answer.key] for answer in answers.answers])


def ordered(answers: TaskAnswers) -> list[Answer]:
    """Return one answer a document, in the order of their ids, where the documents are the recording's own."""
    unique = {answer.key: answer for answer in reversed(answers.answers)}
    return sorted(unique.values(), key=lambda answer: (isinstance(answer.key, str), answer.key))


def _told(task: Task, answers: TaskAnswers) -> list[int | None]:
    """Return the places that ids tell."""
    documents = task.documents
    ids: dict[str, int] = {}
    if any(isinstance(answer.key, str) for answer in answers.answers):
        columns = documents.column_names if hasattr(documents, "column_names") else documents[0]
        if "id" not in columns:
            raise HarnessError(
                f"{answers.origin} names documents of {answers.task} by a text, but they have no column 'id': "
                "write each one's place in its split, counted from 0"
            )
        ids = {str(one["id"]): place for place, one in enumerate(documents)}
    return [
        ids.get(answer.key) if isinstance(answer.key, str) else answer.key if 0 <= answer.key < len(documents) else None
        for answer in answers.answers
    ]


def _columns(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns that hold text, without white space, which tokenizers change."""
    return {name: "".join(value.split()) for name, value in document.items() if isinstance(value, str)}


def _differs(told: Columns, document: Columns) -> str | None:
    """Return the column in which a document is another than is told, as far as anything is.

    References may be cut short, as ChatGLM's are, and a question may stand in a whole prompt, as in LawBench's files.
    """
    for name, value in told.items():
        here = document.get(name)
        if value and here is not None and not here.startswith(value) and not (name == ASKED and here in value):
            return name
    return None
