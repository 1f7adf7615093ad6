"""What a report claims, checked: its files, its numbers, its tasks, its prompts, its checkpoint.

Nothing is believed that was not computed again; what cannot be computed again is said to be unchecked. No model is
loaded, nothing is fetched, and no answer is generated.

Not here: how the result looks (`harness.cli.views.verification`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import torch

import harness
from harness.common import parquet, places
from harness.errors import HarnessError, PlaceError
from harness.reports import report as reports
from harness.reports import sums
from harness.reports.report import MANIFEST, RATINGS, Manifest, Report
from harness.runs import environment
from harness.verification import origin, rescoring, samples
from harness.verification.averages import Numbers
from harness.verification.checks import FAILS, HOLDS, UNKNOWN, Check, Verification, concluded
from harness.verification.prompts import Renderer
from harness.verification.rescoring import DamagedError, Rescored
from harness.verification.samples import Samples
from harness.verification.settings import Settings
from harness.verification.tasks import TaskSource

_HARDWARE = ("cpu", "gpu", "platform")
"""Entries of the environment that are no versions."""
_SCORING_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Exceptions that a task may raise on documents or answers for which it was not made."""


def find(paths: Sequence[Path]) -> list[Path]:
    """Return the folders of all reports at or below `paths`, damaged ones included, each once.

    Raises HarnessError if a path does not exist or holds no report.
    """
    folders: dict[Path, Path] = {}
    for path in paths:
        below = [path] if _is_report(path) else sorted(_below(path))
        if not below:
            reports.read(path)  # raises HarnessError: the folder is missing, or is no report
        folders.update((folder.resolve(), folder) for folder in below)
    return list(folders.values())


def _is_report(folder: Path) -> bool:
    """Return whether a folder is a report, or what is left of one."""
    with places.explaining(folder):
        return any((folder / name).exists() for name in (MANIFEST, sums.SUMS, "samples"))


def _below(path: Path) -> Iterator[Path]:
    """Yield the reports below `path`, and what is left of reports, but nothing in hidden folders."""
    for root, folders, files in places.walk(path):
        folder = Path(root)
        names = {*files, *folders}
        is_report = MANIFEST in files or ("results.json" in files and not names.isdisjoint((sums.SUMS, "samples")))
        if is_report or (sums.SUMS in files and sums.is_of_report(folder)) or _has_samples(folder / "samples"):
            folders.clear()
            yield folder
        folders[:] = [name for name in folders if not name.startswith(".")]


def _has_samples(folder: Path) -> bool:
    """Return whether a parquet file in `folder` has the columns of samples."""
    for file in folder.glob("*.parquet"):
        try:
            with parquet.open_table(file) as opened:
                return {"doc_id", "filter", "prompt_hash"} <= {*opened.schema_arrow.names}
        except (pa.ArrowException, OSError):
            continue
    return False


def require_use(folders: Sequence[Path], settings: Settings) -> None:
    """Raise HarnessError if `settings` name a file that does not exist, or that none of the reports needs.

    A report whose manifest cannot be read may need any file.
    """
    settings.require_existing()
    try:
        manifests = [reports.read(folder).manifest for folder in folders]
    except PlaceError:
        raise
    except HarnessError:
        return
    settings.require_use(manifests)


def verify(folder: Path, settings: Settings) -> Verification:
    """Return the checks of the report in `folder`.

    Raises HarnessError if `settings` name what does not exist.
    """
    settings.require_existing()
    _refuse_links(folder)
    files = _files(folder)
    try:
        report = reports.read(folder)
    except PlaceError:
        raise
    except HarnessError as error:
        return Verification(folder, "", (*files, Check("manifest", None, FAILS, str(error))))
    source = origin.find(report, settings)
    stored, checks = _samples(report)
    rescored, task_checks = _tasks(report, settings, source, stored)
    numbers = Numbers(report, stored, {name: again.aggregates for name, again in rescored.items()})
    return Verification(
        folder,
        report.manifest.checkpoint.name,
        (
            *files,
            _manifest(report),
            *checks,
            *numbers.checks(),
            *task_checks,
            source.check,
            _versions(report, rescored),
            *_unchecked(report),
        ),
    )


def _refuse_links(folder: Path) -> None:
    """Raise HarnessError if a link in the report leads out of it: a report must not decide which files are read."""
    inside = folder.resolve()
    for root, folders, names in places.walk(folder):
        for path in (Path(root, name) for name in [*folders, *names]):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
                raise HarnessError(f"{path} is a link out of the report: put the file itself there")


def _files(folder: Path) -> list[Check]:
    try:
        differences = sums.differences(folder)
    except PlaceError:
        raise
    except HarnessError as error:
        return [Check("files", None, FAILS, str(error))]
    if differences is None:
        return [Check("files", None, UNKNOWN, f"there is no {sums.SUMS}: an older report, or it was removed")]
    return [concluded("files", None, [str(differences)] if differences else [], f"as {sums.SUMS} says")]


def _manifest(report: Report) -> Check:
    """Return the check that a manifest does not contradict itself.

    It is either that of a run, with parameters, or that of recorded answers.
    """
    manifest = report.manifest
    problems = [*_contradictions(manifest)]
    is_recorded = manifest.protocol.recorded is not None
    if is_recorded == (manifest.checkpoint.parameters is not None):
        problems.append(f"recorded is {manifest.protocol.recorded}, and parameters {manifest.checkpoint.parameters}")
    if is_recorded and (manifest.engine is not None or manifest.protocol.chat_template is not None):
        problems.append("answers that were recorded elsewhere have an engine or a chat template")
    return concluded("manifest", None, problems, f"report format {manifest.format}")


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """Yield what cannot be true of any report: its date, what failed, and what it shows first."""
    try:
        is_utc = datetime.fromisoformat(manifest.created).utcoffset() == timedelta(0)
    except ValueError:
        is_utc = False
    if not is_utc:
        yield f"created is {manifest.created}, which is no time in UTC (ISO 8601)"
    metrics = {(score.task, f"{score.task} {score.metric}") for score in manifest.scores}
    present = {*manifest.tasks, *(name for names in metrics for name in names)}
    for name in manifest.failed:
        if name in present:
            yield f"{name} is among what failed, and among what was evaluated"
        elif not any(note.startswith(f"left out: {name}: ") for note in manifest.notes):
            yield f"{name} is among what failed, and no note says so"
    if manifest.scores and not manifest.failed and not any(score.headline for score in manifest.scores):
        yield "no score is a headline, as if no task had been named"


def _samples(report: Report) -> tuple[dict[str, Samples], list[Check]]:
    """Return the samples of each task that can be read, and the checks of their shape."""
    stored, checks = {}, []
    for name in report.manifest.tasks:
        of_task, check = samples.read(report, name)
        checks.append(check)
        if of_task is not None and of_task.rows:
            stored[name] = of_task
    folder = report.folder / "samples"
    known = {f"{name}.parquet" for name in report.manifest.tasks}
    for file in sorted(folder.rglob("*.parquet")):
        name = file.relative_to(folder).as_posix()
        if name not in known and not any(part.startswith(".") for part in name.split("/")):
            checks.append(Check("samples", None, FAILS, f"samples/{name} is of no task in the manifest"))
    return stored, checks


def _tasks(
    report: Report, settings: Settings, origin_of_answers: origin.Origin, stored: dict[str, Samples]
) -> tuple[dict[str, Rescored], list[Check]]:
    """Return every task that could be scored again, and the checks of documents, prompts and scores."""
    if report.manifest.protocol.recorded == RATINGS:
        return {}, []
    source = TaskSource(report, settings, origin_of_answers.recording)
    renderer = Renderer(report, origin_of_answers.located)
    rescored: dict[str, Rescored] = {}
    checks: list[Check] = []
    for name, of_task in stored.items():
        task = rescoring.Task(report, name, of_task)
        try:
            loaded = source.load(name)
            again = rescoring.rescore(task, loaded, renderer, settings)
            checks += rescoring.checks(task, loaded, again, renderer)
            rescored[name] = again
        except DamagedError as error:
            checks.append(Check("scores", name, FAILS, str(error)))
        except HarnessError as error:
            checks += _unknown(name, str(error))
        except _SCORING_ERRORS as error:
            checks += _unknown(
                name, f"its answers cannot be scored on the data at hand ({error or type(error).__name__})"
            )
    return rescored, checks


def _unknown(name: str, reason: str) -> Iterator[Check]:
    for check in ("documents", "prompts", "scores"):
        yield Check(check, name, UNKNOWN, reason)


def _versions(report: Report, rescored: dict[str, Rescored]) -> Check:
    """Return whether this program, its libraries and the tasks have the versions that the report states.

    Other versions contradict no claim: they only explain why other checks do not hold.
    """
    manifest = report.manifest
    present = {**environment.describe(torch.device("cpu")), **environment.describe_scoring()}
    stated = {name: value for name, value in manifest.environment.items() if name in present and name not in _HARDWARE}
    other = [f"{name} {present[name]} here, {value} there" for name, value in stated.items() if present[name] != value]
    if manifest.harness != harness.__version__:
        other.append(f"harness {harness.__version__} here, {manifest.harness} there")
    for name, again in rescored.items():
        if again.info.version != manifest.tasks[name].version:
            other.append(f"{name} in version {again.info.version} here, {manifest.tasks[name].version} there")
    if other:
        return Check("versions", None, UNKNOWN, f"the environment differs: {'; '.join(other)}")
    return Check(
        "versions", None, HOLDS, f"harness {manifest.harness}, {len(stated)} libraries and the tasks' versions"
    )


def _unchecked(report: Report) -> Iterator[Check]:
    """Yield what no check here can show."""
    if report.manifest.protocol.recorded is None:
        reason = "whether the checkpoint gives these answers, at which cost, shows only another evaluation"
        yield Check("answers", None, UNKNOWN, reason)
