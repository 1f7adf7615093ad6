"""Files of retrieved passages: one line of JSON per question, which tasks can put into prompts (`--articles`).

A line has `query`, `laws` (the texts of the passages, the best first), and the `ids` and `scores` of the passages.

Not here: searching (`harness.retrieval.index`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from harness.common import atomic_write, places
from harness.data import rows
from harness.errors import HarnessError
from harness.retrieval.corpus import Question, texts_or_numbers
from harness.retrieval.index import Hit, Passage


def write(
    file: Path, questions: Sequence[Question], hits: Sequence[Sequence[Hit]], passages: Sequence[Passage]
) -> None:
    """Write one line of JSON per question with its hits. The `place` of a hit is an index into `passages`.

    Raises HarnessError if the file cannot be written.
    """
    lines = []
    for question, of_question in zip(questions, hits, strict=True):
        line = {
            "query": question.query,
            "laws": [passages[hit.place].text for hit in of_question],
            "ids": [passages[hit.place].id for hit in of_question],
            "scores": [hit.score for hit in of_question],
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write.file(file) as hidden:
            hidden.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"cannot write {file} ({error.strerror}): name another file with -o") from error


def read(file: Path) -> dict[str, list[str]]:
    """Return the passages of each query in a file written by `write`, the best first.

    Raises HarnessError if `file` is not such a file, or if it has two different lists of passages for one query.
    """
    if not places.is_file(file) or not rows.is_supported(file):
        raise HarnessError(f"there is no file {file} of articles: write one with 'harness retrieve … -o {file.name}'")
    by_query: dict[str, list[str]] = {}
    for row in rows.read(file):
        if not isinstance(row.get("laws"), list):
            raise row.error("'laws' is not a list of articles as 'harness retrieve' writes it")
        query, laws = row.text("query"), texts_or_numbers(row, "laws")
        if by_query.setdefault(query, laws) != laws:
            raise row.error(f"the query '{query[:30]}' has other articles in an earlier line")
    return by_query


def digest(file: Path) -> str:
    """Return the sha256 of a file written by `write`."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


class SupportsArticles(Protocol):
    """A task whose prompts may contain retrieved articles (`harness.tasks.task.Task`)."""

    @property
    def takes_articles(self) -> bool:
        """Whether the task puts articles into its prompts."""

    def use_articles(self, articles: Mapping[str, Sequence[str]], *, file: str, sha256: str) -> None:
        """Put `articles`, by query, into the task's prompts, and record the name and sha256 of the file of articles."""


def add_to_tasks(tasks: Iterable[SupportsArticles], file: Path) -> None:
    """Pass the articles in `file` to those of `tasks` that put articles into their prompts.

    Raises HarnessError if no task puts articles into its prompts, or if `file` lacks a question of a task that does.
    """
    by_query, sha256 = read(file), digest(file)
    supporting = [task for task in tasks if task.takes_articles]
    if not supporting:
        raise HarnessError(
            "--articles is for tasks that put articles into their prompts, such as legal_consult: name such a task"
        )
    for task in supporting:
        task.use_articles(by_query, file=file.name, sha256=sha256)
