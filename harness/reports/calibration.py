"""Calibrations: how often a checkpoint's values on documents differ when the same tasks are evaluated again.

On a GPU, in low precision, the last digit of a sum depends on the other prompts in the batch, so a near tie may be
decided differently. Sampled text depends on its seed. Differences between two checkpoints are judged against such
noise.

A calibration is one JSON file. Not here: evaluating anything (`harness.runs.calibrate`), or torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from harness.common import atomic_write, places, safe_load, validation
from harness.common.limits import Limit
from harness.common.validation import Strict
from harness.errors import HarnessError

FORMAT = 1
SAME = 1e-6
"""The relative difference up to which two values of a document count as equal: the precision of a float32 sum of
log-likelihoods."""


class FlipRate(Strict):
    """How many values of one metric changed when the documents of a task were evaluated again."""

    task: str
    metric: str
    filter: str
    documents: int
    """The number of documents."""
    repeats: int = Field(ge=1)
    """The number of times that each document was evaluated again."""
    changed: int
    """The number of comparisons (documents times repeats) in which the value differed from the first one."""

    @property
    def n(self) -> int:
        """The number of comparisons with the first value: documents times repeats."""
        return self.documents * self.repeats

    @property
    def rate(self) -> float:
        """The share of comparisons in which the value changed, in [0, 1]."""
        return self.changed / self.n if self.n else 0.0


class Calibration(Strict):
    """One checkpoint compared with itself."""

    format: int = FORMAT
    harness: str
    created: str
    """The time when the calibration started, in UTC, ISO 8601."""
    checkpoint: str
    """The checkpoint's name in tables."""
    fingerprint: str
    """The checkpoint's fingerprint."""
    device: str
    dtype: str
    limit: Limit | None
    """How many documents of each task were evaluated, counted from the first: a number, or a share below 1. None means
    all."""
    seed: int
    """The seed of sampled text in the first evaluation."""
    again: list[str]
    """What was changed each time the tasks were evaluated again: `a quarter of the batch`, `seed 7`."""
    rates: list[FlipRate]

    def rate(self, task: str, metric: str, filter: str) -> FlipRate | None:
        """Return the flip rate of one metric, or None if the calibration does not contain it."""
        key = (task, metric, filter)
        return next((rate for rate in self.rates if (rate.task, rate.metric, rate.filter) == key), None)

    def write(self, file: Path) -> None:
        """Write the calibration to `file`, completely or not at all.

        Raises HarnessError if the file cannot be written.
        """
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write.file(file) as hidden:
                hidden.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            reason, advice = error.strerror or error, places.advice(error, "choose another place")
            raise HarnessError(f"cannot write the calibration {file} ({reason}): {advice}") from error


def file_in(folder: Path, fingerprint: str) -> Path:
    """Return the file in `folder`, beside the reports, for the calibration of the checkpoint with `fingerprint`."""
    return folder / f"calibration-{fingerprint[:16]}.json"


def read(file: Path) -> Calibration:
    """Return the calibration in `file`.

    Raises HarnessError if the file does not exist, or if it is malformed or of a newer format.
    """
    advice = "calibrate again with 'harness calibrate'"
    try:
        raw = safe_load.json_file(file)
    except OSError as error:
        raise places.explained(error, file) from error
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
        raise HarnessError(f"{file} is not a calibration ({problem.path}: {problem.message}): {advice}") from error


def find(folder: Path, fingerprint: str) -> Calibration | None:
    """Return a checkpoint's calibration, which lies beside the reports in `folder`; None if there is no calibration.

    Raises HarnessError if the calibration cannot be read, or belongs to another checkpoint.
    """
    file = file_in(folder, fingerprint)
    if not places.is_file(file):
        return None
    calibration = read(file)
    if calibration.fingerprint != fingerprint:
        raise HarnessError(
            f"{file} belongs to another checkpoint ({calibration.checkpoint}): remove it, and calibrate again"
        )
    return calibration


def differ(first: Any, second: Any) -> bool:
    """Return whether two values of a document differ by more than rounding; NaN equals NaN."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() != second.keys() or any(differ(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) != len(second) or any(map(differ, first, second))
    if isinstance(first, int | float) and isinstance(second, int | float):
        are_nan = math.isnan(first) and math.isnan(second)
        return not (are_nan or math.isclose(first, second, rel_tol=SAME, abs_tol=SAME * SAME))
    return bool(first != second)
