"""Scoring with the questions of the prompt: a file's columns apply to their own document only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from harness.recorded.answers import Answer
from harness.recorded.join import Joined
from harness.tasks.task import Task


def scored_documents(documents: list[dict[str, Any]], recorded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the documents that a task's score function receives, given the columns that a file has of each."""
    task = Task(SimpleNamespace(eval_docs=documents, process_results=lambda document, results: document))
    answers: list[Answer | None] = [
        Answer(f"line {place}", place, (("x",),), columns, complete=True) for place, columns in enumerate(recorded)
    ]
    joined = Joined(answers, [(("x",),)] * len(documents), 1, [], "t")
    score = joined.score_function(task)
    return [score(document, ["x"]) for document in documents]


def test_a_question_is_scored_with_the_prompt_around_it() -> None:
    documents = [{"instruction": "改正。", "question": "句子：\n甲", "answer": "甲"}]
    recorded = [{"instruction": "", "question": "<user>改正。\n句子：\n甲<end>", "answer": "甲"}]
    expected = {**documents[0], "instruction": "", "question": recorded[0]["question"]}
    assert scored_documents(documents, recorded) == [expected]


def test_documents_with_the_same_question_keep_their_own_instructions() -> None:
    documents = [{"instruction": "译成英文", "question": "你好"}, {"instruction": "译成法文", "question": "你好"}]
    assert scored_documents(documents, [dict(document) for document in documents]) == documents


def test_a_question_need_not_be_a_text() -> None:
    documents = [{"question": ["turn 1", "turn 2"]}, {"question": {"stem": "?"}}, {"prompt": "no question"}]
    assert scored_documents(documents, [dict(document) for document in documents]) == documents
