"""Recordings: the predictions found at a path, grouped by the model that made them.

A path is a file, a folder or a tar archive; archives in a folder are opened, too. A file's format is recognised by its
name and its first line (`harness.recorded.formats`). Each model with files in one format is one `Recording`.

Not here: what the lines of a format mean, or what becomes of the predictions (`harness.recorded.score`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from harness.errors import HarnessError
from harness.recorded.answers import TaskAnswers
from harness.recorded.complaints import Complaints
from harness.recorded.files import File, FileGroup, file_groups
from harness.recorded.formats import own_reports
from harness.recorded.formats.format import Claim, Format
from harness.recorded.formats.own_reports import REPORT
from harness.recorded.formats.registry import FORMATS
from harness.reports.numbers_in_words import first_and_count
from harness.reports.report import Report
from harness.tasks.own_files import file_tasks

GENERIC_STEMS = ("generated_predictions",)
"""File names (without ending) that are the same for every model, and so do not name a model."""


@dataclass(frozen=True)
class Recording:
    """The answers of one model, recorded in one format."""

    name: str
    """The name of the model."""
    origin: str
    """The folder, archive or report that contains the answers."""
    format: Format
    tasks: list[TaskAnswers] = field(repr=False)
    report: Report | None = None
    """The report, if the recording is one."""
    note: str = ""
    """A note for readers about files beside the answers that were not read."""

    @property
    def fingerprint(self) -> str:
        """The sha256 of all answers together with the keys of the documents answered."""
        digest = hashlib.sha256(self.format.name.encode())
        for task in sorted(self.tasks):
            for answer in task.answers:
                digest.update(repr((task.task, answer.key, answer.responses)).encode())
        return digest.hexdigest()


class _Model(NamedTuple):
    """A model's name, and the folder that contains its files."""

    name: str
    folder: str


class _ClaimedFile(NamedTuple):
    """A file, and the format that recognised it."""

    file: File
    format: Format
    claim: Claim


def find(
    path: Path, *, task: str | None = None, format: str | None = None, keep_going: bool = False
) -> Iterator[Recording]:
    """Yield the recordings at `path`, one model after another.

    `task` names the task that was answered, for files that do not say which. `format` is a key of `FORMATS`; by
    default, the format of each file is recognised.

    Raises HarnessError if nothing is found. The first entry that cannot be read raises it, too, with file and line.
    With `keep_going` such entries are left out and listed in the recording's `malformed`.
    """
    if format is not None and format not in FORMATS:
        raise HarnessError(f"--format {format} is not known: choose one of {', '.join(FORMATS)}, or leave it out")
    if not path.exists():
        raise HarnessError(f"there are no predictions at {path}: check the path")
    formats = [FORMATS[format]] if format else list(FORMATS.values())
    is_empty = True
    for report in own_reports.find_reports(path) if format in (None, REPORT.name) else ():
        is_empty = False
        answers = own_reports.task_answers(report, task)
        yield Recording(report.manifest.checkpoint.name, str(report.folder), REPORT, answers, report)
    for group in file_groups(path):
        models = _by_model(group, formats)
        if format and not models:  # the user names a format that the files do not look like
            models = _by_model(group, formats, forced=True)
        note = _unread_note(group.files, models)
        for model, claimed in models.items():
            is_empty = False
            yield replace(_read(model, claimed, task, keep_going), note=note)
    if is_empty:
        known = "; ".join(f"{candidate.name}: {candidate.example}" for candidate in formats)
        raise HarnessError(f"{path} holds no predictions in a known format ({known}): name a file or folder that does")


def _unread_note(files: Sequence[File], models: Mapping[_Model, Sequence[_ClaimedFile]]) -> str:
    """Return a note on the files that no format recognises; empty if there are none."""
    recognised = {claimed.file.label for claimed_files in models.values() for claimed in claimed_files}
    unread = [file.label for file in files if file.label not in recognised]
    if not unread:
        return ""
    return f"not read, because they do not look like predictions: {first_and_count(unread, 'file')}"


def _by_model(group: FileGroup, formats: Sequence[Format], *, forced: bool = False) -> dict[_Model, list[_ClaimedFile]]:
    """Return the files of each model that one of `formats` recognises; a `forced` format takes every file."""
    by_model: dict[_Model, list[_ClaimedFile]] = {}
    format_names: dict[_Model, str] = {}
    for file in group.files:
        is_named = forced or len(group.files) == 1
        claimed = _claimed(file, formats, forced=forced, is_named=is_named)
        if claimed is None:
            continue
        model = _model(group, claimed)
        if format_names.setdefault(model, claimed.format.name) != claimed.format.name:
            model = _Model(f"{model.name}-{claimed.format.name}", model.folder)  # two formats are two recordings
            format_names.setdefault(model, claimed.format.name)
        by_model.setdefault(model, []).append(claimed)
    return by_model


def _claimed(file: File, formats: Sequence[Format], *, forced: bool, is_named: bool) -> _ClaimedFile | None:
    """Return `file` with the first format that recognises it, or None.

    Raises HarnessError if a file that the user named cannot be read; files that the user did not name may lie beside
    predictions by chance.
    """
    for format in formats:
        try:
            claim = format.claim(file, forced)
        except HarnessError:
            if is_named:
                raise
            continue
        if claim is not None:
            return _ClaimedFile(file, format, claim)
    return None


def _model(group: FileGroup, claimed: _ClaimedFile) -> _Model:
    """Return the model that a file belongs to, by the folder that its format says is named after the model."""
    file = claimed.file
    folders = PurePosixPath(file.root, file.path).parents
    folder = folders[min(claimed.claim.levels_up, len(folders) - 1)]
    name = group.model if folder == PurePosixPath(file.root) else folder.name or group.model
    return _Model(name, str(folder))


def _read(model: _Model, claimed: Sequence[_ClaimedFile], task: str | None, keep_going: bool) -> Recording:
    """Read the files of one model and return its recording."""
    if task and len(claimed) > 1 and all(claim.task.startswith(f"{task}_") for _, _, claim in claimed):
        task = None  # --task names the family (`ceval`), and the files name its tasks (`ceval_law.jsonl`)
    answers: list[TaskAnswers] = []
    for file in claimed:
        file_answers = _read_file(file, task, keep_going)
        duplicate = next((earlier for earlier in answers if earlier.task == file_answers.task), None)
        if duplicate is not None:
            raise HarnessError(
                f"{file_answers.origin} and {duplicate.origin} both answer {file_answers.task} for {model.name}: "
                "remove one of them"
            )
        answers.append(file_answers)
    name = _model_name(model, claimed[0], answers[0])
    return Recording(name, model.folder, claimed[0].format, answers)


def _read_file(claimed: _ClaimedFile, task: str | None, keep_going: bool) -> TaskAnswers:
    file, format, claim = claimed
    complaints = Complaints(keep_going)
    answers = list(format.read(file, complaints))
    if not answers and not complaints.messages:
        complaints.add(file.label, "holds no answers")
    name = format.task_name(claim, task)
    if not name:
        raise HarnessError(f"{file.label} does not say which task was answered: name it with --task")
    return TaskAnswers(name, file.label, answers, complaints.messages)


def _model_name(model: _Model, claimed: _ClaimedFile, answers: TaskAnswers) -> str:
    """Return the name of a model; if its file's name says only the task, or nothing, this is the name of the folder."""
    says_task = model.name == claimed.file.path.stem and claimed.claim.task not in ("", model.name)  # `1-1`
    if says_task or model.name in (file_tasks.task_name(answers.task), *GENERIC_STEMS):
        return Path(model.folder).resolve().name
    return model.name
