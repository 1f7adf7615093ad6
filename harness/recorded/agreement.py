"""Whether recorded lines repeat the questions and references of the documents that they answer.

A line's id or place says which document it answers. If the line also contains a question or a reference, this must
agree with the document's. Otherwise, a file in another order than the data, or with the ids of other data, would be
scored against the wrong references. A file is refused if several lines have the questions or references of other
documents. All other differences, as in a corrected or translated data set, are counted in a note.

Not here: the columns that a published format has in common with its data (`harness.recorded.match`).
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.recorded import reference_columns
from harness.recorded.answers import Answer
from harness.recorded.columns import ANSWERS, QUESTIONS, REFERENCES, TEXTS, Value
from harness.recorded.questions import Questions
from harness.tasks.task import Task


def notes_on(task: Task, answers: Mapping[int, Answer]) -> list[str]:
    """Return notes on the columns of recorded lines that differ from their documents, or that were not compared.

    `answers` maps the place of each document in the split to the answer.

    Raises HarnessError if lines have the questions or references of documents that they do not answer.
    """
    columns = {name: name.lower() for answer in answers.values() for name in answer.beside}
    notes: list[str] = []
    unread: list[str] = []
    questions = Questions(task)
    if any(answer.prompt is not None and answer.names_id for answer in answers.values()):
        prompts = [Value(place, answer, answer.prompt) for place, answer in answers.items() if answer.prompt]
        notes += questions.compare("prompt", prompts) or []
    for column, name in sorted(columns.items()):
        values = [
            Value(place, answer, answer.beside[column])
            for place, answer in answers.items()
            if answer.beside.get(column) not in (None, "", [])
        ]
        differences = None
        if name in (*QUESTIONS, *TEXTS):
            differences = questions.compare(column, values)
        elif name in (*REFERENCES, *ANSWERS) and task.output_type != "loglikelihood_rolling":
            differences = reference_columns.compare(task, column, values)
        if differences is None:
            unread.append(column)
        else:
            notes += differences
    if unread:
        names = ", ".join(f"'{name}'" for name in unread)
        notes.append(f"{task.name}: {names} of the recorded lines: not read, since each line's id names its document")
    return notes
