"""Recorded predictions: which files hold some, and whose they are.

A path is a file, a folder or a tar archive; archives in a folder are opened, too. What is found is told by names and
first lines (`harness.recorded.formats`), one `Recording` for each model that left files in one format.

Not here: what a format's lines say, or what becomes of the predictions (`harness.recorded.score`).
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.recorded.formats import FORMATS, REPORT
from harness.recorded.recordings import Answer, Claim, Complaints, File, Format, Responses
from harness.reports import report as reports
from harness.reports.report import MANIFEST, RATINGS, Report
from harness.tasks.own_files import file_tasks

ENDINGS = (".json", ".jsonl", ".csv", ".txt")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")

UNTELLING = ("generated_predictions",)
"""Names of files that every model's have."""


class TaskAnswers(NamedTuple):
    """One model's answers to one task."""

    task: str
    origin: str
    """The file they are from."""
    answers: list[Answer]
    malformed: list[str]
    """Complaints about entries that had to be left out."""


@dataclass(frozen=True)
class Recording:
    """One model's answers, as one format has them."""

    name: str
    origin: str
    format: Format
    tasks: list[TaskAnswers] = field(repr=False)
    report: Report | None = None
    """The report that it is, where it is one."""
    note: str = ""
    """What a reader should know: files beside it that were not read."""

    @property
    def fingerprint(self) -> str:
        """sha256 of everything that was said, to whichever document."""
        digest = hashlib.sha256(self.format.name.encode())
        for task in sorted(self.tasks):
            for one in task.answers:
                digest.update(repr((task.task, one.key, one.responses)).encode())
        return digest.hexdigest()


class _Claimed(NamedTuple):
    file: File
    format: Format
    claim: Claim


def find(
    path: Path, *, task: str | None = None, format: str | None = None, keep_going: bool = False
) -> Iterator[Recording]:
    """Yield what is recorded at `path`, model by model.

    `task` says what was asked where the files do not; `format` is one of `FORMATS`, by default what the files look
    like. An entry that cannot be read raises HarnessError naming file, line and reason; with `keep_going` it is left
    out and kept as a complaint. Raises HarnessError, too, where nothing is found.
    """
    if format is not None and format not in FORMATS:
        raise HarnessError(f"--format {format} is not known: choose one of {', '.join(FORMATS)}, or leave it out")
    if not path.exists():
        raise HarnessError(f"there are no predictions at {path}: check the path")
    formats = [FORMATS[format]] if format else list(FORMATS.values())
    found = False
    for report in _reports(path) if format in (None, REPORT.name) else ():
        found = True
        yield _reported(report, task)
    for name, files in _places(path):
        models = _by_model(files, formats, name)
        if format and not models:  # else what does not look like it is something else that lies beside
            models = _by_model(files, formats, name, forced=True)
        unread = _unread(files, models)
        for model, claimed in models.items():
            found = True
            yield replace(_recording(model, claimed, task, keep_going), note=unread)
    if not found:
        known = "; ".join(f"{one.name}: {one.looks}" for one in formats)
        raise HarnessError(f"{path} holds no predictions in a known format ({known}): name a file or folder that does")


def _unread(files: Sequence[File], models: Mapping[tuple[str, str], Sequence[_Claimed]]) -> str:
    """Return which of `files` no format knows, in words."""
    read = {one.file.shown for claimed in models.values() for one in claimed}
    names = [file.shown for file in files if file.shown not in read]
    more = f" and {len(names) - 1:,} more files" if len(names) > 1 else ""
    return f"not read, since they look like no predictions: {names[0]}{more}" if names else ""


def _reports(path: Path) -> list[Report]:
    manifests = [path / MANIFEST, *path.rglob(f"*/{MANIFEST}")] if path.is_dir() else []
    folders = [file.parent for file in manifests if file.is_file() and _is_ours(file)]
    found = reports.find(folders) if folders else []
    return [report for report in found if report.manifest.protocol.recorded != RATINGS]


def _is_ours(manifest: Path) -> bool:
    """Tell whether a file of this common name is a report's."""
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return True  # a damaged one is told by who reads it
    return isinstance(content, dict) and "checkpoint" in content


def _reported(report: Report, told: str | None) -> Recording:
    """Return what the answers in a report are, as its samples have them; `told` may be the file of a task."""
    answers = []
    for task in report.manifest.tasks:
        rows = report.samples(task).drop_duplicates("doc_id")  # each filter has a row of the same answer
        where = f"{report.folder}, {task}"
        said = [_sample(where, row) for row in rows.to_dict("records")]
        asked = told if told and file_tasks.called(told) == task else task
        answers.append(TaskAnswers(asked, where, said, []))
    return Recording(report.manifest.checkpoint.name, str(report.folder), REPORT, answers, report)


def _sample(where: str, row: dict[Any, Any]) -> Answer:
    if row["logprobs"] is not None:
        responses: Responses = tuple(
            ((float(likelihood), bool(greedy)),)
            for likelihood, greedy in zip(row["logprobs"], row["greedy"], strict=True)
        )
    else:
        responses = (tuple(map(str, row["responses"])),)
    place = int(row["doc_id"])
    hashes = (str(row["doc_hash"]), str(row["prompt_hash"]))
    return Answer(f"{where}, document {place}", place, responses, {}, prompt=str(row["prompt"]), hashes=hashes)


def _recording(model: tuple[str, str], claimed: Sequence[_Claimed], task: str | None, keep_going: bool) -> Recording:
    name, origin = model
    read: list[TaskAnswers] = []
    if task and len(claimed) > 1 and all(claim.task.startswith(f"{task}_") for _, _, claim in claimed):
        task = None  # it is the family of what the files say: `ceval` of ceval_law.jsonl
    for file, format, claim in claimed:
        complaints = Complaints(keep_going)
        answers = list(format.read(file, complaints))
        if not answers and not complaints.told:
            complaints.add(file.shown, "holds no answers")
        asked = format.task(claim, task)
        if not asked:
            raise HarnessError(f"{file.shown} does not say which task was answered: name it with --task")
        known = next((one for one in read if one.task == asked), None)
        if known is not None:
            raise HarnessError(f"{file.shown} and {known.origin} both answer {asked} for {name}: remove one of them")
        read.append(TaskAnswers(asked, file.shown, answers, complaints.told))
    file, _, claim = claimed[0]
    says_task = name == file.path.stem and claim.task not in ("", name)  # `1-1`
    if says_task or name in (
        file_tasks.called(read[0].task),
        *UNTELLING,
    ):  # called by what is in it: its folder is whose it is
        name = Path(origin).resolve().name
    return Recording(name, origin, claimed[0].format, read)


def _by_model(
    files: Sequence[File], formats: Sequence[Format], place: str, *, forced: bool = False
) -> dict[tuple[str, str], list[_Claimed]]:
    """Return the files that a format knows, or is `forced` on, by the model's name and the folder they are of."""
    found: dict[tuple[str, str], list[_Claimed]] = {}
    kinds: dict[tuple[str, str], str] = {}
    for file in files:
        for format in formats:
            try:
                claim = format.claim(file, forced)
            except HarnessError:  # cannot be read: one that was named is told so, one beside others is not theirs
                if len(files) == 1 or forced:
                    raise
                claim = None
            if claim is None:
                continue
            folders = PurePosixPath(file.root, file.path).parents
            folder = folders[min(claim.above, len(folders) - 1)]
            name = place if folder == PurePosixPath(file.root) else folder.name or place
            key = (name, str(folder))
            if kinds.setdefault(key, format.name) != format.name:  # two formats in one folder are two recordings
                key = (f"{name}-{format.name}", key[1])
                kinds.setdefault(key, format.name)
            found.setdefault(key, []).append(_Claimed(file, format, claim))
            break
    return found


def _places(path: Path) -> Iterator[tuple[str, list[File]]]:
    """Yield the plain files at `path`, then each archive's, with the name of the model that owns them by default."""
    if path.is_file():
        if _is_archive(path):
            yield _stem(path), _archived(path)
        else:
            yield _readable(path.resolve().stem), [_file(path.name, str(path), path.parent, path.read_bytes)]
        return
    below = sorted(
        Path(root, name)
        for root, _, names in os.walk(path, onerror=_unreadable)
        for name in names
        if not _is_hidden(Path(root, name).relative_to(path))
    )
    plain = [file for file in below if file.suffix in ENDINGS]
    if plain:
        files = [_file(file.relative_to(path).as_posix(), str(file), path, file.read_bytes) for file in plain]
        yield _readable(path.resolve().name), files
    for file in below:
        if _is_archive(file):
            yield _stem(file), _archived(file)


def _unreadable(error: OSError) -> None:
    raise HarnessError(f"{error.filename} cannot be read ({error.strerror}): what is in it is not known") from error


def _file(name: str, shown: str, root: Path, content: Callable[[], bytes]) -> File:
    return File(PurePosixPath(_readable(name)), _readable(shown), _readable(str(root)), content)


def _readable(name: str) -> str:
    """Return the name of a file with marks for the bytes in it that are not UTF-8, which no report can hold."""
    return name.encode(errors="replace").decode()


def _is_hidden(name: PurePath) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in name.parts)


def _is_archive(file: Path) -> bool:
    return file.name.endswith(ARCHIVES)


def _stem(file: Path) -> str:
    ending = next(ending for ending in ARCHIVES if file.name.endswith(ending))
    return _readable(file.name.removesuffix(ending))


def _archived(file: Path) -> list[File]:
    """Return the files in an archive, read at once: a compressed one has no other order."""
    found = []
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                name = member.name.lstrip("/")
                if content is not None and name.endswith(ENDINGS) and not _is_hidden(PurePosixPath(name)):
                    found.append(_file(name, f"{file}:{member.name}", file, functools.partial(bytes, content.read())))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise HarnessError(f"{file} cannot be read as an archive ({error}): fetch it again") from error
    return found
