"""`harness baseline`: set and show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.cli import main
from support.answered import Answers, report


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_set_prints_the_baseline_and_the_one_it_replaces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for day, name in enumerate(("old", "new"), start=1):
        assert main(["baseline", "set", str(report(tmp_path, name, {"law": Answers([1, 0])}, day=day).folder)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"baselines/main: old \(\w{12}\), evaluated on 2026-01-01", first)
    assert re.fullmatch(
        r"baselines/main: new \(\w{12}\), evaluated on 2026-01-02, "
        r"in place of old \(\w{12}\), evaluated on 2026-01-01",
        second,
    )


def test_control_characters_in_a_checkpoints_name_are_not_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = report(tmp_path, "base", {"law": Answers([1, 0])}).folder / "manifest.json"
    file.write_text(file.read_text().replace('"name": "base"', '"name": "a\\n\\u001b[31mb"'))
    assert main(["baseline", "set", str(file.parent)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("baselines/main: a \N{REPLACEMENT CHARACTER}[31mb (")


def test_show_lists_every_baseline_with_its_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = report(tmp_path, "base", {"law": Answers([1, 0, 1, 1])}).folder
    assert main(["baseline", "set", str(folder), "--name", "v1", "--folder", "kept"]) == 0
    capsys.readouterr()
    assert main(["baseline", "show", "--folder", "kept"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("v1: base (")
    assert re.search(r"law\W+acc\W+75\.0 %\W+30\.1–95\.4\W", out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("set nowhere", "does not exist"),
        ("set run --name ../x", "cannot be the name of a baseline"),
        ("set run --name a/b", "cannot be the name of a baseline"),
        ("set run --folder run/manifest.json", "cannot write the baseline"),
        ("show", "there are no baselines in baselines"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    report(tmp_path, "base", {"law": Answers([1, 0])}).folder.rename("run")
    assert main(["baseline", *words.split()]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert message in line
