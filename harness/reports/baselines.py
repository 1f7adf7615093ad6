"""Baselines that were made in advance: a report kept under a name, so that a gate need not evaluate it again.

    FOLDER/NAME                          a complete copy of the report
    FOLDER/calibration-<fingerprint>.json    of its checkpoint, if there was one beside the report

A baseline is replaced by renames: at any time, also after a crash, there is the old one or the new one, whole.

Not here: judging anything against one (`harness.verdicts.gate`).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness.common import atomic_write
from harness.errors import HarnessError, did_you_mean
from harness.reports import calibration, report
from harness.reports.report import MANIFEST, Report

FOLDER = Path("baselines")
NAME = "main"


class Kept(NamedTuple):
    """A baseline, and the one that had its name before."""

    baseline: Report
    replaced: Report | None


def keep(one: Report, name: str = NAME, folder: Path = FOLDER) -> Kept:
    """Copy `one` to `folder` as the baseline `name`, in place of any that is there.

    Raises HarnessError if `name` is no plain name, the report is damaged, or the copy cannot be written.
    """
    place = folder / _checked(name)
    for task in one.manifest.tasks:
        one.table(task)  # raises: what is damaged is told today, not on the day of the gate
    aside = _aside(place)
    try:
        before = _read(place)
    except HarnessError:  # damaged: what takes its place is the remedy
        before = None
    try:
        with atomic_write.folder(place) as hidden:
            shutil.copytree(one.folder, hidden, dirs_exist_ok=True)
            if place.exists():
                shutil.rmtree(aside, ignore_errors=True)
                place.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:  # copytree's own is a list of them
        why = error.strerror or "is there space left?"
        raise HarnessError(f"cannot write the baseline {place} ({why}): choose another --folder") from error
    fingerprint = one.manifest.checkpoint.fingerprint
    if (calibrated := calibration.find(one.folder.parent, fingerprint)) is not None:
        calibrated.write(calibration.place(folder, fingerprint))
    return Kept(report.read(place), before)


def kept(folder: Path = FOLDER) -> list[tuple[str, Report]]:
    """Return all baselines of `folder` by name.

    Raises HarnessError if there are none.
    """
    found = [(name, baseline) for name in _names(folder) if (baseline := _read(folder / name)) is not None]
    if not found:
        raise HarnessError(f"there are no baselines in {folder}: make one by 'harness baseline set REPORT'")
    return found


def find(named: str, folder: Path = FOLDER) -> Report:
    """Return the report in the folder `named`, or inside it where it is the only one; else the baseline so called.

    Raises HarnessError if there is neither, or if the folder holds several.
    """
    is_baseline = _is_name(named) and named in _names(folder)
    if Path(named).exists() and not (is_baseline and not report.holds_any(Path(named))):
        return only(Path(named))
    found = _read(folder / named) if is_baseline else None
    if found is None:
        have = ", ".join(_names(folder)) or "none"
        close = did_you_mean(named, _names(folder))
        raise HarnessError(f"there is no report in {named}, and no baseline of that name in {folder} ({have}){close}")
    return found


def only(path: Path) -> Report:
    """Return the report in the folder `path`, or inside it where it is the only one.

    Raises HarnessError if there is none, or if there are several.
    """
    found = report.find([path])
    if len(found) > 1:
        names = ", ".join(str(one.folder) for one in found[:3]) + (", …" if len(found) > 3 else "")
        raise HarnessError(f"{path} holds {len(found)} reports: name one of them ({names})")
    return found[0]


def _checked(name: str) -> str:
    if not _is_name(name):
        raise HarnessError(
            f"'{name}' is no name for a baseline: use letters, digits, '-', '_', '+' and '.', not '.' first"
        )
    return name


def _is_name(name: str) -> bool:
    return re.fullmatch(r"[\w+-][\w.+-]*", name) is not None


def _aside(place: Path) -> Path:
    """Return where a baseline waits while another takes its place."""
    return place.with_name(f".{place.name}.replaced")


def _read(place: Path) -> Report | None:
    """Return the baseline at `place`, also if whoever replaced it was stopped halfway; None if there is none."""
    for folder in (place, _aside(place)):
        if (folder / MANIFEST).is_file():
            return report.read(folder)
    return None


def _names(folder: Path) -> list[str]:
    def found() -> Iterator[str]:
        for one in folder.iterdir() if folder.is_dir() else ():
            if (one / MANIFEST).is_file():
                yield (
                    one.name.removesuffix(".replaced").removeprefix(".") if one.name.endswith(".replaced") else one.name
                )

    return sorted({name for name in found() if _is_name(name)})
