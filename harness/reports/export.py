"""Reports → the files of other systems: C-Eval's submission.

Not here: the report itself (`harness.reports.report`).
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.common import atomic_write, places
from harness.errors import HarnessError
from harness.reports.report import Report, TaskInfo

CEVAL = "ceval/ceval-exam"
CEVAL_SUBJECTS = 52
_LETTERS = ("A", "B", "C", "D")

Submission = dict[str, dict[str, str]]
"""The answered letter by subject and question id: subject → question id → letter."""


def ceval_submission(report: Report) -> Submission:
    """Return the submission that C-Eval's server accepts: `{subject: {id: letter}}` for its 52 subjects.

    The shape is that of hkust-nlp/ceval's submission_example.json; a question's id is its place in the subject's test
    split, counted from "0". Raises HarnessError if `report` lacks a subject or a question, or if an answer is not one
    of the four letters.
    """
    tasks = {name: info for name, info in report.manifest.tasks.items() if _is_test_split(info)}
    subjects: dict[str, str] = {}
    for name, info in tasks.items():
        subject = info.dataset.partition(":")[2]
        if subject in subjects:
            raise HarnessError(f"{report.folder} answers '{subject}' twice, as {subjects[subject]} and as {name}")
        subjects[subject] = name
    if len(subjects) != CEVAL_SUBJECTS:
        problem = f"{report.folder} answers the test split of {len(subjects)} of C-Eval's {CEVAL_SUBJECTS} subjects"
        raise HarnessError(f"{problem}: run 'harness run --tasks ceval_test', without --limit")
    return {subject: _answers(report, subjects[subject]) for subject in sorted(subjects)}


def write(content: object, file: Path) -> None:
    """Write `content` to `file` as UTF-8 JSON, completely or not at all.

    Raises HarnessError if the file cannot be written.
    """
    try:
        with atomic_write.file(file) as hidden:
            hidden.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        advice = places.advice(error, "name another with --output")
        raise HarnessError(f"{file} cannot be written ({error.strerror}): {advice}") from error


def _is_test_split(info: TaskInfo) -> bool:
    return info.split == "test" and info.dataset.partition(":")[0] == CEVAL


def _answers(report: Report, task: str) -> dict[str, str]:
    info = report.manifest.tasks[task]
    if info.documents != info.documents_in_split:
        problem = f"{report.folder} answers {info.documents} of {info.documents_in_split} questions of {task}"
        raise HarnessError(f"{problem}: run it without --limit")
    rows = report.samples(task, ["doc_id", "prediction"]).drop_duplicates("doc_id").sort_values("doc_id")
    answers = {str(number): str(letter) for number, letter in zip(rows["doc_id"], rows["prediction"], strict=True)}
    for number, letter in answers.items():
        if letter not in _LETTERS:
            raise HarnessError(
                f"{report.folder}: question {number} of {task} has the answer '{letter}', which is not one of "
                f"{', '.join(_LETTERS)}"
            )
    return answers
