"""Columns of recorded lines other than the answer: which names may repeat a document, and the values in them.

Not here: whether the values agree with the documents (`harness.recorded.questions`,
`harness.recorded.reference_columns`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.recorded.answers import Answer
from harness.reports.numbers_in_words import counted

QUESTIONS = ("question", "problem", "query", "问题", "题目", "题干")
"""Columns of a line that hold the question and nothing else."""
SOURCES = ("context", "passage")
"""Columns of a line that hold the material that the question is about, such as retrieved texts."""
TEXTS = ("prompt", "messages", "conversations", "instruction", "input", "content", *SOURCES)
"""Columns of a line that may hold the question, text around the question, or text that the model wrote."""
REFERENCES = (
    *("reference", "references", "target", "targets", "label", "labels", "gold", "golds", "gold_answer", "ref", "refr"),
    *("ground_truth", "groundtruth", "expected", "expected_answer", "correct_answer", "answerkey"),
    *("参考答案", "正确答案", "标准答案"),
)
"""Columns of a line that hold the reference and nothing else."""
ANSWERS = ("answer", "answers", "答案", "output", "response", "completion", "summary")
"""Columns of a line that may hold the reference or the model's answer."""


class Value(NamedTuple):
    """What a recorded line holds in one column."""

    place: int
    """The place of the document that the line answers."""
    answer: Answer
    value: Any


def difference(task: str, column: str, different: Sequence[Value], total: int, kind: str) -> list[str]:
    """Return the note that the `different` ones of a column's `total` values differ; an empty list if none does."""
    if not different:
        return []
    verb = "differs" if len(different) == 1 else "differ"
    return [
        f"{task}: {len(different):,} of {counted(total, 'recorded ' + kind)} ('{column}') {verb} from the task's "
        f"(first: {different[0].answer.where})"
    ]


def contradiction(value: Value, column: str, other: str, task: str) -> HarnessError:
    """Return the error about a line whose `column` holds `other`, a question or reference of another document."""
    return HarnessError(
        f"{value.answer.where}, answers document {value.place} of {task}, but its '{column}' holds {other}: correct "
        f"the ids or the order of the lines, name the data that were answered, or remove '{column}'"
    )
