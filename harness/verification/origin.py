"""Who answered: the checkpoint of a report on this machine, or the recorded predictions that were scored.

A report cannot make this module fetch anything or run a checkpoint's code: a reference with `trust_remote_code` is
followed only if the user writes it.

Not here: whether the checkpoint would give these answers, which only an evaluation shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import NamedTuple

import torch

from harness.checkpoints import configs, files, identity, loading
from harness.checkpoints.located import Located
from harness.checkpoints.reference import CheckpointReference, parse
from harness.common import hashes, paths
from harness.errors import HarnessError
from harness.recorded import recordings
from harness.recorded.recordings import Recording
from harness.reports import public_paths
from harness.reports.checkpoint_info import CheckpointInfo
from harness.reports.report import RATINGS, Report
from harness.tasks.own_files import file_tasks
from harness.verification.checks import FAILS, UNKNOWN, Check, concluded, different_fields
from harness.verification.settings import Settings

_NAME = "checkpoint"


class Origin(NamedTuple):
    """The checkpoint or the predictions behind a report's answers, as far as they are at hand."""

    check: Check
    located: Located | None = None
    """The checkpoint, even if its fingerprint is not the report's."""
    recording: Recording | None = None
    """The predictions, if they are those that were scored."""


def find(report: Report, settings: Settings) -> Origin:
    """Return the origin of a report's answers, with the check of its fingerprint.

    Raises HarnessError if `settings.model` names nothing.
    """
    protocol = report.manifest.protocol
    if protocol.recorded == RATINGS:
        return Origin(Check(_NAME, None, UNKNOWN, "ratings: the single ratings are not in the report"))
    return _predictions(report, settings) if protocol.recorded else _checkpoint(report, settings)


# --- checkpoints ------------------------------------------------------------------------------------------------------


def _checkpoint(report: Report, settings: Settings) -> Origin:
    info = report.manifest.checkpoint
    if settings.model is not None:
        files.find(parse(settings.model).path)  # raises HarnessError if there is no such folder
    try:
        reference = _reference(info, settings.model)
        located = loading.locate(replace(reference, device="cpu"))
        # The fingerprint covers the dtype, which a CPU may choose differently than the device of the run.
        located = located._replace(dtype=_dtype(info.dtype) or located.dtype)
        fingerprint = identity.fingerprint(located, hashes.fresh_sha256)  # not believing what is remembered
        facts = list(different_fields(info.model_dump(), _facts(located)))
    except HarnessError as error:
        advice = "" if settings.model else "; --model says where it is now"
        return Origin(Check(_NAME, None, UNKNOWN, f"{error}{advice}"))
    problems = (
        []
        if fingerprint == info.fingerprint
        else [f"{located.base} has the fingerprint {fingerprint[:12]}, the report says {info.fingerprint[:12]}"]
    )
    problems += facts
    detail = f"{located.base}: fingerprint {fingerprint[:12]}, computed from its files"
    return Origin(concluded(_NAME, None, problems, detail), located)


def _reference(info: CheckpointInfo, model: str | None) -> CheckpointReference:
    """Return the report's reference, in which whatever `model` states replaces what the report states.

    Raises HarnessError if the report's reference would run code.
    """
    recorded = parse(info.reference)
    named = None if model is None else parse(model)
    if recorded.trust_remote_code and not (named and named.trust_remote_code):
        raise HarnessError(f"{recorded.path} runs code of its own: to allow that, name it with trust_remote_code=true")
    if named is not None:
        typed = {f.name: value for f in fields(named)[1:] if (value := getattr(named, f.name)) != f.default}
        recorded = replace(recorded, path=named.path, **typed)
    for key, path in (("", recorded.path), ("adapter=", recorded.adapter), ("tokenizer=", recorded.tokenizer)):
        if path is not None and public_paths.is_reduced(path):
            advice = f": name it with {key} in --model" if model and key else ""
            raise HarnessError(f"the report has only the end of the path {path}{advice}")
    return recorded


def _dtype(name: str | None) -> torch.dtype | None:
    dtype = getattr(torch, name or "", None)
    return dtype if isinstance(dtype, torch.dtype) else None


def _facts(located: Located) -> dict[str, object]:
    """Return what the manifest says of a checkpoint besides its fingerprint, as far as its files show it."""
    size = configs.size(located)
    return {
        "architecture": size.architecture,
        "kind": located.kind,
        "dtype": str(located.dtype).removeprefix("torch."),
        "parameters": size.parameters,
        "quantization": located.quantization_name,
        "max_length": located.max_length,
        "virtual_tokens": located.virtual_tokens,
    }


# --- recorded predictions ---------------------------------------------------------------------------------------------


def _predictions(report: Report, settings: Settings) -> Origin:
    info = report.manifest.checkpoint
    path = Path(settings.model) if settings.model is not None else _recorded_path(info.reference)
    if not paths.exists(str(path)):
        if settings.model is not None:
            raise HarnessError(f"there are no predictions at {path}: check the path")
        reason = f"the predictions are not at {path} any more; --model says where they are now"
        return Origin(Check(_NAME, None, UNKNOWN, reason))
    reason, others = "", []
    for task in _tasks(report, settings):
        try:
            at_hand = list(recordings.find(path, task=task, format=report.manifest.protocol.recorded, keep_going=True))
        except HarnessError as error:
            reason = reason or str(error)
            continue
        for recording in at_hand:
            if recording.fingerprint == info.fingerprint:
                detail = f"{path}: the predictions that were scored, fingerprint {info.fingerprint[:12]}"
                return Origin(concluded(_NAME, None, [], detail), recording=recording)
        others += [recording for recording in at_hand if _answers(recording, report)]
    named = [recording for recording in others if recording.name == info.name]
    if len(others) == 1 or named:
        detail = f"{path} holds other predictions than those of fingerprint {info.fingerprint[:12]}"
        return Origin(Check(_NAME, None, FAILS, detail))
    missing = f"{path} does not hold the predictions any more; --model says where they are now"
    return Origin(Check(_NAME, None, UNKNOWN, reason or missing))


def _recorded_path(reference: str) -> Path:
    """Return the path of predictions. If `reference` is a path inside an archive, return the path of the archive."""
    path = Path(reference)
    return next((parent for parent in path.parents if paths.exists(str(parent)) and parent.is_file()), path)


def _answers(recording: Recording, report: Report) -> bool:
    """Return whether a recording answers exactly the tasks of a report."""
    return {file_tasks.task_name(answers.task) for answers in recording.tasks} == {*report.manifest.tasks}


def _tasks(report: Report, settings: Settings) -> Iterator[str | None]:
    """Yield the values that `--task` may have had when the predictions were scored."""
    yield None
    if len(report.manifest.tasks) == 1:
        yield from (settings.task_name(name) for name in report.manifest.tasks)
