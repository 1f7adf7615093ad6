"""How often a checkpoint's scores differ from its own, asked the same again: what flips mean is read against that.

On a GPU, in few bits, a sum's last digit depends on what else is in the batch, and a near tie may fall the other way;
sampled text depends on its seed. A flip between two checkpoints that either of them has with itself is no news.

A calibration is one JSON file. Not here: asking anybody anything (`harness.runs.calibrate`), or torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from harness.common import atomic_write, validation
from harness.errors import HarnessError
from harness.reports.report import Strict

FORMAT = 1
SAME = 1e-6
"""Relative difference up to which two values of a document are one: what float32 leaves of a sum of likelihoods."""


class FlipRate(Strict):
    """How many documents of a task had another value of a metric when they were asked again."""

    task: str
    metric: str
    filter: str
    documents: int
    repeats: int = Field(ge=1)
    """How often each was asked again."""
    changed: int
    """Of the documents times repeats, those whose value was another than the first time."""

    @property
    def n(self) -> int:
        """The number of comparisons."""
        return self.documents * self.repeats

    @property
    def rate(self) -> float:
        """The share of comparisons that found another value."""
        return self.changed / self.n if self.n else 0.0


class Calibration(Strict):
    """One checkpoint against itself."""

    format: int = FORMAT
    harness: str
    created: str
    """UTC, ISO 8601."""
    checkpoint: str
    """What tables call it."""
    fingerprint: str
    device: str
    dtype: str
    limit: int | None
    """Documents a task at most; None is all."""
    seed: int
    """Of sampled text, the first time."""
    again: list[str]
    """What was another each time it was asked again: `a quarter of the batch`, `seed 7`."""
    rates: list[FlipRate]

    def of(self, task: str, metric: str, filter: str) -> FlipRate | None:
        """Return what is known of one number; None where it was not asked for."""
        asked = (task, metric, filter)
        return next((one for one in self.rates if (one.task, one.metric, one.filter) == asked), None)

    def write(self, file: Path) -> None:
        """Write this to `file`, all or nothing."""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write.file(file) as hidden:
                hidden.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            why = error.strerror or error
            raise HarnessError(f"cannot write the calibration {file} ({why}): choose another place") from error


def place(folder: Path, fingerprint: str) -> Path:
    """Return where beside reports in `folder` the calibration of a checkpoint is kept."""
    return folder / f"calibration-{fingerprint[:16]}.json"


def read(file: Path) -> Calibration:
    """Return the calibration in `file`.

    Raises HarnessError if there is none, or if it is malformed or of a newer format.
    """
    advice = "calibrate again with 'harness calibrate'"
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise HarnessError(f"the calibration {file} cannot be read ({error.strerror}): {advice}") from error
    except ValueError as error:
        raise HarnessError(f"{file} is not valid JSON ({error}): {advice}") from error
    if isinstance(raw, dict) and raw.get("format") != FORMAT:
        raise HarnessError(
            f"{file} has calibration format {raw.get('format')!r}, this version reads {FORMAT}: update harness"
        )
    try:
        return Calibration.model_validate(raw)
    except ValidationError as error:
        problem = validation.first_problem(error)
        raise HarnessError(f"{file} is no calibration ({problem.path}: {problem.message}): {advice}") from error


def find(folder: Path, fingerprint: str) -> Calibration | None:
    """Return the calibration of a checkpoint that lies beside the reports in `folder`, None where there is none.

    Raises HarnessError where there is one that cannot be read, or that is of another checkpoint.
    """
    file = place(folder, fingerprint)
    if not file.is_file():
        return None
    found = read(file)
    if found.fingerprint != fingerprint:
        raise HarnessError(f"{file} is of another checkpoint ({found.checkpoint}): remove it, and calibrate again")
    return found


def differ(one: Any, other: Any) -> bool:
    """Tell whether two values of a document are not the same; NaN is the same as NaN."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() != other.keys() or any(differ(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) != len(other) or any(map(differ, one, other))
    if isinstance(one, int | float) and isinstance(other, int | float):
        both = math.isnan(one) and math.isnan(other)
        return not (both or math.isclose(one, other, rel_tol=SAME, abs_tol=SAME * SAME))
    return bool(one != other)
