"""Reports of this project as recordings: the answers of a run, to be scored again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.backends.answer_text import AnswerText
from harness.common import places, safe_load
from harness.recorded.answers import Answer, Hashes, Responses, TaskAnswers
from harness.recorded.formats.format import Format
from harness.recorded.formats.own_lines import task_name
from harness.reports import report as reports
from harness.reports.report import MANIFEST, RATINGS, Report
from harness.tasks.own_files import file_tasks

REPORT = Format("report", "a folder with manifest.json", lambda *_: None, lambda *_: iter(()), task_name)
"""The format of reports; it reads no single file, because a report is a folder."""


def find_reports(path: Path) -> list[Report]:
    """Return the reports at or below `path`, except those of ratings, which contain no answers."""
    manifests = [Path(root, MANIFEST) for root, _, files in places.walk(path) if MANIFEST in files]
    folders = [file.parent for file in manifests if _is_report(file)]
    below = reports.find(folders) if folders else []
    return [report for report in below if report.manifest.protocol.recorded != RATINGS]


def _is_report(manifest: Path) -> bool:
    """Return whether a file called manifest.json (a common name) belongs to a report of this project."""
    try:
        content = safe_load.json_file(manifest)
    except (OSError, ValueError, RecursionError):
        return True  # whoever reads the report says that it is damaged
    return isinstance(content, dict) and "checkpoint" in content


def task_answers(report: Report, task: str | None) -> list[TaskAnswers]:
    """Return the answers in a report's samples, task by task.

    `task` is the user's `--task`, which may name the file that a task of the report was made from.
    """
    answers = []
    for name in report.manifest.tasks:
        rows = report.samples(name).drop_duplicates("doc_id")  # each filter has a row with the same answer
        where = f"{report.folder}, {name}"
        file_or_name = task if task and file_tasks.task_name(task) == name else name
        answers.append(TaskAnswers(file_or_name, where, [_answer(where, row) for row in rows.to_dict("records")], []))
    return answers


def _answer(where: str, row: dict[Any, Any]) -> Answer:
    place = int(row["doc_id"])
    return Answer(
        f"{where}, document {place}",
        place,
        responses(row),
        {},
        prompt=str(row["prompt"]),
        hashes=Hashes(str(row["doc_hash"]), str(row["prompt_hash"])),
    )


def responses(row: Mapping[Any, Any]) -> Responses:
    """Return the responses in a row of a report's samples."""
    if row["logprobs"] is None:
        endings = ["unknown"] * len(row["responses"]) if row["endings"] is None else row["endings"]
        return (tuple(map(AnswerText, row["responses"], endings)),)
    return tuple(
        ((float(likelihood), bool(is_greedy)),)
        for likelihood, is_greedy in zip(row["logprobs"], row["greedy"], strict=True)
    )
