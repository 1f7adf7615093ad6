"""Calibrations: written, read, and refused if they are damaged or belong to another checkpoint."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.reports import calibration
from harness.reports.calibration import Calibration, FlipRate, differ


def make_calibration(**changes: Any) -> Calibration:
    plain = {
        "harness": "0",
        "created": "2026-01-01T00:00:00+00:00",
        "checkpoint": "茶",
        "fingerprint": "f" * 64,
        "device": "cuda",
        "dtype": "bfloat16",
        "limit": None,
        "seed": 1,
        "again": ["a quarter of the batch", "four times the batch"],
        "rates": [FlipRate(task="quiz", metric="acc", filter="none", documents=50, repeats=2, changed=3)],
    }
    return Calibration(**{**plain, **changes})


def test_a_rate_is_the_share_of_comparisons_that_changed() -> None:
    rate = make_calibration().rate("quiz", "acc", "none")
    assert rate is not None
    assert (rate.n, rate.rate) == (100, 0.03)
    assert make_calibration().rate("quiz", "acc_norm", "none") is None
    assert FlipRate(task="t", metric="m", filter="f", documents=0, repeats=1, changed=0).rate == 0


def test_a_written_calibration_is_read_again(tmp_path: Path) -> None:
    written = make_calibration()
    file = calibration.file_in(tmp_path / "deep", written.fingerprint)
    assert calibration.find(tmp_path / "deep", written.fingerprint) is None
    written.write(file)
    assert calibration.read(file) == written
    assert calibration.find(tmp_path / "deep", written.fingerprint) == written
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_calibration_of_another_checkpoint_is_refused(tmp_path: Path) -> None:
    written = make_calibration()
    other = written.fingerprint[:16] + "0" * 48
    written.write(calibration.file_in(tmp_path, other))
    with pytest.raises(HarnessError, match="belongs to another checkpoint"):
        calibration.find(tmp_path, other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a calibration"),
        (json.dumps({"format": 2}), "format 2"),
        (json.dumps({"format": 1}), "not a calibration"),
        (json.dumps({**json.loads(make_calibration().model_dump_json()), "more": 1}), "more"),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "c.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(HarnessError, match=message):
        calibration.read(file)


def test_a_file_that_is_missing_or_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="cannot be read"):
        calibration.read(tmp_path / "none.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot write the calibration"):
        make_calibration().write(tmp_path / "file" / "c.json")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (1.0, 1, False),
        (1.0, 0.0, True),
        (math.nan, math.nan, False),
        (math.nan, 1.0, True),
        (-500.0, -500.0001, False),  # the last digits of a sum of likelihoods
        (-500.0, -500.01, True),
        (0.0, 1e-13, False),
        ([1.0, 3.0], (1.0, 3.0), False),
        ([1.0, 3.0], [1.0, 2.0], True),
        ([1.0], [1.0, 3.0], True),
        ({"a": [1, 2]}, {"a": [1, 2]}, False),
        ({"a": [1, 2]}, {"a": [1, 3]}, True),
        ({"a": 1}, {"b": 1}, True),
        ("tea", "tea", False),
        ("tea", "salt", True),
        (None, 0.0, True),
    ],
)
def test_values_differ_if_they_differ_by_more_than_rounding(first: Any, second: Any, expected: bool) -> None:
    assert differ(first, second) is expected
    assert differ(second, first) is expected
