"""Which document each recorded answer belongs to: by its id or its place, if question and reference agree.

If a file contains questions or references, they must agree with the documents, because a file may belong to other data.
LawBench's published answers to task 2-2, for example, belong to other documents than its published data, in another
order.

Not here: answers without a document, or documents without an answer (`harness.recorded.join`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.recorded.answers import Answer, TaskAnswers
from harness.tasks.task import Task

QUESTION = "question"
"""The column in which a file may contain the question with the whole prompt around it."""

Columns = Mapping[str, str]


class Matches(NamedTuple):
    """The documents that a task's answers belong to."""

    places: list[int | None]
    """For each answer: the place of its document in the split, or None if no document has the id in the answer."""
    mismatch: str = ""
    """Why the answers must belong to other documents than the task's; empty if nothing shows that."""
    note: str = ""
    """What a reader of the report should know about how ids were read; empty if there is nothing to say."""


def match(task: Task, answers: TaskAnswers) -> Matches:
    """Return which document of `task` each of `answers` belongs to.

    Raises HarnessError if answers name documents by a text and the documents have no column `id`, or if answers have
    row numbers although the column `id` of the task's file has other values.
    """
    places, documents = _places(task, answers), task.documents
    for answer, place in zip(answers.answers, places, strict=True):
        if place is None or not answer.document:
            continue
        column = _contradicting_column(_texts(answer.document), _texts(documents[place]))
        if column is not None:
            mismatch = f"{answer.where}, has another '{column}' than document {answer.key} of the data at hand"
            return Matches(places, mismatch)
    return Matches(places, note=_reading_of_ids(task, answers, places))


def match_own_documents(answers: TaskAnswers) -> Matches:
    """Return the places of answers whose documents come from the same file, in the order of `one_per_document`."""
    by_key = {answer.key: place for place, answer in enumerate(one_per_document(answers))}
    return Matches([by_key[answer.key] for answer in answers.answers])


def one_per_document(answers: TaskAnswers) -> list[Answer]:
    """Return the first answer to each document, in the order of their ids: numbers, then texts."""
    unique = {answer.key: answer for answer in reversed(answers.answers)}
    return sorted(unique.values(), key=lambda answer: (isinstance(answer.key, str), answer.key))


def _places(task: Task, answers: TaskAnswers) -> list[int | None]:
    """Return the place of the document that each answer's key names."""
    documents, keys = task.documents, [answer.key for answer in answers.answers]
    by_id: dict[str, int] = {}
    if has_ids(task) and all(answer.names_id for answer in answers.answers):
        by_id = {value: place for place, value in enumerate(task.ids)}
        places = [by_id.get(str(key).strip()) for key in keys]
        if None in places and {*keys} <= {*range(len(documents))}:
            first = next(answer for answer, place in zip(answers.answers, places, strict=True) if place is None)
            raise HarnessError(
                f"{first.where}, has the id {first.key}, which the column 'id' of {task.name} does not contain "
                f"({first_ids(task)}): write the ids of that column instead of row numbers"
            )
        return places
    if any(isinstance(key, str) for key in keys):
        columns = documents.column_names if hasattr(documents, "column_names") else documents[0]
        if "id" not in columns:
            lack = "its column 'id' is empty or the same in several rows" if task.ids else "it has no column 'id'"
            raise HarnessError(
                f"{answers.origin} names documents of {task.name} by a text, but {lack}: write each one's place in its "
                "split, counted from 0"
            )
        by_id = {str(document["id"]): place for place, document in enumerate(documents)}
    return [_place(key, by_id, len(documents)) for key in keys]


def has_ids(task: Task) -> bool:
    """Return whether the task is a user's own file whose column `id` identifies every row."""
    return bool(task.ids) and all(task.ids) and len({*task.ids}) == len(task.ids)


def first_ids(task: Task) -> str:
    """Return the first ids of a user's own file, for messages."""
    return ", ".join(task.ids[:3]) + (" …" if len(task.ids) > 3 else "")


def _reading_of_ids(task: Task, answers: TaskAnswers, places: Sequence[int | None]) -> str:
    """Return a note on how the ids in `answers` were read, if another reading is possible, else an empty text."""
    keys = [answer.key for answer in answers.answers]
    if not task.ids or not all(answer.names_id for answer in answers.answers):
        return ""
    if not has_ids(task):
        return f"{task.name}: ids count its rows from 0, because its column 'id' is empty or the same in several rows"
    if {*keys} <= {*range(len(task.ids))} and list(places) != keys:
        return f"{task.name}: ids are those of its column 'id', not row numbers"
    return ""


def _place(key: int | str, by_id: Mapping[str, int], documents: int) -> int | None:
    if isinstance(key, str):
        return by_id.get(key)
    return key if 0 <= key < documents else None


def _texts(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns of `document` that are texts, without white space, which tokenizers change."""
    return {name: "".join(value.split()) for name, value in document.items() if isinstance(value, str)}


def _contradicting_column(recorded: Columns, document: Columns) -> str | None:
    """Return the first column in which the recorded document contradicts the task's document, or None.

    A recorded reference may be cut short, as in ChatGLM's files; a recorded question may be a whole prompt that
    contains the task's question, as in LawBench's files.
    """
    for name, value in recorded.items():
        expected = document.get(name)
        if not value or expected is None or expected.startswith(value):
            continue
        if name == QUESTION and expected in value:
            continue
        return name
    return None
