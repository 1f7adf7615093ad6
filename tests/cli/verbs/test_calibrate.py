"""`harness calibrate`, and the option of `harness gate` that it replaces."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.cli import main
from harness.reports.calibration import Calibration
from support import tiny


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A checkpoint, a task and limits, in a working directory of their own."""
    monkeypatch.chdir(tmp_path)
    model = tiny.llama(tmp_path / "base", context=2048)
    Path("my.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n{"question": "1+2?", "answer": "3"}\n')
    return ["--model", str(model), "--tasks", "my.jsonl", "--max-gen-toks", "2", "-o", "runs"]


def calibration() -> Calibration:
    """Return the calibration in the folder of reports, without its date."""
    (file,) = Path("runs").glob("calibration-*.json")
    return Calibration.model_validate(json.loads(file.read_text()) | {"created": ""})


def test_flip_rates_are_printed_and_written_beside_the_reports(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("base against itself: a quarter of the batch, four times the batch\n")
    assert re.search(r"task +┃ metric +┃ documents ┃ repeated ┃ flips ┃ flip rate ┃", out)
    assert re.search(r"my\.jsonl +│ number +│ +2 │ +2 times │ +0 │ +0\.00% │", out)
    assert re.search(r"^calibration: runs/calibration-\w{16}\.json$", out, re.MULTILINE)
    assert {rate.task for rate in calibration().rates} == {"my.jsonl"}


def test_gate_calibrate_still_works_and_names_the_verb(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", *arguments]) == 0
    expected, expected_file = capsys.readouterr().out, calibration()
    assert main(["gate", "--calibrate", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == "harness gate --calibrate is now 'harness calibrate'\n"
    assert (out, calibration()) == (expected, expected_file)


@pytest.mark.parametrize("words", ["calibrate --tasks my.jsonl", "calibrate --model base"])
def test_model_and_tasks_are_required(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert "Missing option" in capsys.readouterr().err
