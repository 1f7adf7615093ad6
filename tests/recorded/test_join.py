"""Questions as they were asked: what a file tells of a document is of that document only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from harness.recorded.answers import Answer
from harness.recorded.join import Joined
from harness.tasks.task import Task


def seen(documents: list[dict[str, Any]], told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the documents that a task scores, given what a file tells of each."""
    task = Task(SimpleNamespace(eval_docs=documents, process_results=lambda document, results: document))
    answers: list[Answer | None] = [
        Answer(f"line {place}", place, (("x",),), columns, complete=True) for place, columns in enumerate(told)
    ]
    joined = Joined(answers, [(("x",),)] * len(documents), 1, [], "t")
    scored = joined.score_function(task)
    return [scored(document, ["x"]) for document in documents]


def test_a_prompt_around_a_question_is_what_is_scored() -> None:
    documents = [{"instruction": "改正。", "question": "句子：\n甲", "answer": "甲"}]
    told = [{"instruction": "", "question": "<user>改正。\n句子：\n甲<end>", "answer": "甲"}]
    assert seen(documents, told) == [{**documents[0], "instruction": "", "question": told[0]["question"]}]


def test_documents_with_the_same_question_keep_their_own_instructions() -> None:
    documents = [{"instruction": "译成英文", "question": "你好"}, {"instruction": "译成法文", "question": "你好"}]
    assert seen(documents, [dict(document) for document in documents]) == documents


def test_a_question_may_be_something_else_than_a_text() -> None:
    documents = [{"question": ["turn 1", "turn 2"]}, {"question": {"stem": "?"}}, {"prompt": "no question"}]
    assert seen(documents, [dict(document) for document in documents]) == documents
