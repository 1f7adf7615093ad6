"""Baselines: reports stored under a name, so that a gate need not evaluate its baseline again.

    FOLDER/NAME                            a complete copy of the report
    FOLDER/calibration-<fingerprint>.json  the calibration of its checkpoint, if there was one beside the report

A baseline is replaced by renames: at any time, even after a crash, either the old or the new baseline is there,
complete.

Not here: judging anything against a baseline (`harness.verdicts.gate`).
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

from harness.common import atomic_write, places
from harness.errors import HarnessError, PlaceError, did_you_mean
from harness.reports import calibration, report
from harness.reports.report import MANIFEST, Report

FOLDER = Path("baselines")
"""The default folder of baselines."""
NAME = "main"
"""The default name of a baseline."""


class Saved(NamedTuple):
    """A baseline that was saved, and the baseline that had the same name before."""

    baseline: Report
    replaced: Report | None


def save(source: Report, name: str = NAME, folder: Path = FOLDER) -> Saved:
    """Copy the report `source` to `folder` as the baseline `name`, and replace any baseline of that name.

    Raises HarnessError if `name` is not a plain name, if the report is damaged, or if the copy cannot be written.
    """
    _require_name(name)
    place = folder / name
    for task in source.manifest.tasks:
        source.table(task)  # raises HarnessError now if the report is damaged, and not on the day of the gate
    replaced = _read_if_sound(place)
    aside = _aside(place)
    try:
        with atomic_write.folder(place) as hidden:
            shutil.copytree(source.folder, hidden, dirs_exist_ok=True)
            if place.exists():
                shutil.rmtree(aside, ignore_errors=True)
                place.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:  # that of copytree has no `strerror`: it lists several errors
        reason, advice = error.strerror or "is there space left?", places.advice(error, "choose another --folder")
        raise HarnessError(f"cannot write the baseline {place} ({reason}): {advice}") from error
    fingerprint = source.manifest.checkpoint.fingerprint
    if (beside := calibration.find(source.folder.parent, fingerprint)) is not None:
        beside.write(calibration.file_in(folder, fingerprint))
    return Saved(report.read(place), replaced)


def load_all(folder: Path = FOLDER) -> dict[str, Report]:
    """Return all baselines in `folder` by name, in alphabetical order.

    Raises HarnessError if there are no baselines.
    """
    baselines = {name: baseline for name in _names(folder) if (baseline := _read(folder / name)) is not None}
    if not baselines:
        raise HarnessError(f"there are no baselines in {folder}: make one with 'harness baseline set REPORT'")
    return baselines


def find(path_or_name: str, folder: Path = FOLDER) -> Report:
    """Return the report in the folder `path_or_name`, or else the baseline of that name in `folder`.

    Raises HarnessError if there is neither, or if the folder `path_or_name` contains several reports.
    """
    if not path_or_name:
        raise HarnessError("an empty text names no report and no baseline: is a variable unset?")
    path, names = Path(path_or_name), _names(folder)
    is_baseline = _is_name(path_or_name) and path_or_name in names
    if _exists(path) and not (is_baseline and not report.holds_any(path)):
        return only_report(path)
    baseline = _read(folder / path_or_name) if is_baseline else None
    if baseline is None:
        raise HarnessError(
            f"there is no report in {path_or_name}, and no baseline of that name in {folder} "
            f"({', '.join(names) or 'none'}){did_you_mean(path_or_name, names)}"
        )
    return baseline


def only_report(path: Path) -> Report:
    """Return the report in the folder `path`, or the only report below that folder.

    Raises HarnessError if there is no report, or if there are several.
    """
    reports = report.find([path])
    if len(reports) > 1:
        folders = ", ".join(str(item.folder) for item in reports[:3]) + (", …" if len(reports) > 3 else "")
        raise HarnessError(f"{path} holds {len(reports)} reports: name one of them ({folders})")
    return reports[0]


def _require_name(name: str) -> None:
    if not _is_name(name):
        raise HarnessError(
            f"'{name}' cannot be the name of a baseline: use letters, digits, '-', '_', '+' and '.', not '.' first"
        )


def _is_name(name: str) -> bool:
    return re.fullmatch(r"[\w+-][\w.+-]*", name) is not None


def _aside(place: Path) -> Path:
    """Return the hidden folder to which a baseline is moved while another takes its place."""
    return place.with_name(f".{place.name}.replaced")


def _read(place: Path) -> Report | None:
    """Return the baseline at `place`, even if its replacement was interrupted. Return None if there is no baseline."""
    for folder in (place, _aside(place)):
        if places.is_file(folder / MANIFEST):
            return report.read(folder)
    return None


def _read_if_sound(place: Path) -> Report | None:
    """Return the baseline at `place`. Return None if there is none, or only a damaged one, which may be replaced."""
    try:
        return _read(place)
    except PlaceError:
        raise
    except HarnessError:
        return None


def _exists(path: Path) -> bool:
    """Return whether there is anything at `path`. Raises PlaceError if that may not be known."""
    with places.explaining(path):
        return path.exists()


def _names(folder: Path) -> list[str]:
    """Return the names of all baselines in `folder`, in alphabetical order."""
    if not folder.is_dir():
        return []
    places.require_readable(folder)
    names = {_name(path) for path in folder.iterdir() if _may_be_report(path)}
    return sorted(filter(_is_name, names))


def _may_be_report(path: Path) -> bool:
    """Return whether there is a report at `path`, or a folder that may not be read: only who names it hears of that."""
    try:
        return (path / MANIFEST).is_file()
    except OSError:
        return True


def _name(path: Path) -> str:
    """Return the name of the baseline in `path`. `path` may be the hidden folder to which the baseline was moved."""
    aside = re.fullmatch(r"\.?(.*)\.replaced", path.name)
    return aside[1] if aside else path.name
