"""Exit codes: a closed pipe hides no verdict, and no panic or library that ends the process looks like one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.backends import journal_upkeep
from harness.cli import BUG, CLOSED_PIPE, main
from harness.reports import sums
from support.answered import Answers, report


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A report whose results were altered after its sums had been written."""
    folder = report(tmp_path, "base", {"law": Answers([1, 0])}).folder
    (folder / sums.SUMS).write_text(sums.rendered(sums.of_folder(folder)), encoding="utf-8")
    (folder / "results.json").write_text("{}")
    return folder


@pytest.fixture(params=["stdout", "stderr", "both"])
def closed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard output, standard error or both as pipes that nobody reads."""
    streams = []
    for name in ("stdout", "stderr") if request.param == "both" else (request.param,):
        reader, writer = os.pipe()
        os.close(reader)
        streams.append(os.fdopen(writer, "w", encoding="utf-8"))
        monkeypatch.setattr(sys, name, streams[-1])
    yield
    for stream in streams:
        stream.close()


@pytest.mark.sampled(2)
@pytest.mark.usefixtures("closed")
def test_verify_keeps_its_exit_code_when_nobody_reads(folder: Path) -> None:
    assert main(["verify", str(folder), "--json", "-"]) == 1


@pytest.mark.usefixtures("closed")
def test_a_journal_with_damage_keeps_its_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = journal_upkeep.Check(tmp_path, 3, ["a page is damaged"] * 99)
    monkeypatch.setattr(journal_upkeep, "check", lambda path: result)
    assert main(["journal", "check", str(tmp_path)]) == 1


@pytest.mark.usefixtures("closed")
def test_an_error_stays_an_error(tmp_path: Path) -> None:
    assert main(["show", str(tmp_path / "nowhere")]) == 2
    assert main(["walk"]) == 2


def test_a_process_whose_output_nobody_reads_ends_with_its_own_code() -> None:
    script = "import sys; from harness.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "--version"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=100) == 0


class PanicException(BaseException):
    """What a library in Rust raises when it panics; it is no Exception."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PanicException("called `Result::unwrap()` on an `Err` value"), BUG),
        (SystemExit(1), BUG),
        (SystemExit(0), BUG),
        (SystemExit("a library gives up"), BUG),
        (GeneratorExit(), BUG),
        (BrokenPipeError(32, "Broken pipe"), CLOSED_PIPE),
    ],
)
def test_what_ends_a_verb_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, error: BaseException, code: int
) -> None:
    def check(path: Path) -> None:
        raise error

    monkeypatch.setattr(journal_upkeep, "check", check)
    assert main(["journal", "check", str(tmp_path)]) == code
    assert (type(error).__name__ if code == BUG else "error: a pipe was closed") in capsys.readouterr().err
