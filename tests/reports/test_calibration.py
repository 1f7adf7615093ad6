"""A checkpoint's flips against itself, as written and read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.reports import calibration
from harness.reports.calibration import Calibration, FlipRate, differ


def made(**changes: Any) -> Calibration:
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
    rate = made().of("quiz", "acc", "none")
    assert rate is not None
    assert (rate.n, rate.rate) == (100, 0.03)
    assert made().of("quiz", "acc_norm", "none") is None
    assert FlipRate(task="t", metric="m", filter="f", documents=0, repeats=1, changed=0).rate == 0


def test_what_is_written_is_read(tmp_path: Path) -> None:
    one = made()
    file = calibration.place(tmp_path / "deep", one.fingerprint)
    assert calibration.find(tmp_path / "deep", one.fingerprint) is None
    one.write(file)
    assert calibration.read(file) == one
    assert calibration.find(tmp_path / "deep", one.fingerprint) == one
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_another_checkpoints_is_not_taken_for_it(tmp_path: Path) -> None:
    one = made()
    other = one.fingerprint[:16] + "0" * 48
    one.write(calibration.place(tmp_path, other))
    with pytest.raises(HarnessError, match="of another checkpoint"):
        calibration.find(tmp_path, other)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "not valid JSON"),
        ("[]", "no calibration"),
        (json.dumps({"format": 2}), "format 2"),
        (json.dumps({"format": 1}), "no calibration"),
        (json.dumps({**json.loads(made().model_dump_json()), "more": 1}), "more"),
    ],
)
def test_a_damaged_file_is_told_of(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "c.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(HarnessError, match=told):
        calibration.read(file)


def test_a_file_that_is_not_there_or_cannot_be_written_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="cannot be read"):
        calibration.read(tmp_path / "none.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot write the calibration"):
        made().write(tmp_path / "file" / "c.json")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
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
def test_values_differ_where_more_than_rounding_does(one: Any, other: Any, expected: bool) -> None:
    assert differ(one, other) is expected
    assert differ(other, one) is expected
