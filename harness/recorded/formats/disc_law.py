"""FudanDISC/DISC-LawLLM's answers to objective questions: CSV tables, `<model>/single/lbk_results.csv`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from harness.errors import HarnessError
from harness.recorded.answers import Answer
from harness.recorded.complaints import Complaints
from harness.recorded.files import File
from harness.recorded.formats.format import Claim, Format

FAMILY = "disc_law"
_KINDS = {"single": "single", "multi": "multiple"}
"""Name of the file's folder → the part of the task's name that it decides."""
_STEM = re.compile(r"([a-z]+)_results")


def _claim(file: File, forced: bool) -> Claim | None:
    stem, kind = _STEM.fullmatch(file.path.stem), _KINDS.get(PurePosixPath(file.root, file.path).parent.name)
    if stem and kind and file.path.suffix.lower() == ".csv":
        return Claim(f"{kind}_{stem[1]}", 1)
    return Claim("", 0) if forced else None


def _read(file: File, complaints: Complaints) -> Iterator[Answer]:
    rows = csv.DictReader(io.StringIO(file.text(), newline=""), strict=True)
    try:
        for column in ("model_output", "input"):
            if column not in (rows.fieldnames or ()):
                raise HarnessError(f"{file.label} has no column '{column}': it is not a table of DISC-LawLLM's answers")
        for place, row in enumerate(rows):
            where = f"{file.label}, line {rows.line_num}"
            output = row["model_output"]
            if output is None:
                complaints.add(where, "ends before the column 'model_output'")
                continue
            yield Answer(where, place, ((output,),), {"input": row["input"]})
    except csv.Error as error:
        complaints.add(f"{file.label}, line {rows.line_num}", f"is not CSV ({error})", error)


def _task_name(claim: Claim, task: str | None) -> str:
    if not claim.task or (task or "").endswith(claim.task):
        return task or ""
    return f"{task or FAMILY}_{claim.task}"


DISC_LAW = Format("disc-law", "<model>/single/lbk_results.csv", _claim, _read, _task_name, (FAMILY,))
