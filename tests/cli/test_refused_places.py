"""What the operating system refuses, empty names, and names that are not UTF-8: one sentence, before any evaluation."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from harness.backends import journal_upkeep
from harness.cli import main, outputs
from harness.reports import baselines
from harness.reports import report as reports
from support import tiny
from support.answered import Answers, report
from support.refused import refused

GBK = os.fsdecode("模型".encode("gbk"))
"""A name from a Windows archive, as Python spells bytes that are not UTF-8."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two equal checkpoints, `m1` and `m2`, and a test set `q.jsonl`."""
    folder = tmp_path_factory.mktemp("models")
    tiny.llama(folder / "m1")
    shutil.copytree(folder / "m1", folder / "m2")
    (folder / "q.jsonl").write_text(json.dumps({"question": "1+1?", "answer": "2"}) + "\n")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two reports, `runs/a/base_01` and `runs/b/base_01`."""
    for name in "ab":
        report(tmp_path / "runs" / name, "base", {"law": Answers([1, 0])})
    return tmp_path / "runs"


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was printed to standard error, one line."""
    text = capsys.readouterr().err.strip()
    assert "\n" not in text
    return text


@pytest.mark.parametrize("place", ["", "model.safetensors", "config.json", "tokenizer.json"])
def test_checkpoints_of_others(models: Path, capsys: pytest.CaptureFixture[str], place: str) -> None:
    target = models / "m1" / place
    with refused(target):
        assert main(["inspect", str(models / "m1")]) == 2
    error = said(capsys)
    assert f"{target} cannot be read (Permission denied): give this user access" in error


def test_a_checkpoint_of_others_is_left_out(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "--model", str(models / "m?"), "--tasks", str(models / "q.jsonl"), "-o", str(tmp_path)]
    with refused(models / "m1" / "model.safetensors"):
        assert main([*command, "--max-gen-toks", "1", "--keep-going"]) == 4
        assert "left out: checkpoint m1 failed" in capsys.readouterr().err
        assert main(["run", "--model", str(models / "m1"), *command[3:]]) == 2
    assert [item.manifest.checkpoint.name for item in reports.find([tmp_path])] == ["m2"]


def test_a_pattern_over_a_folder_of_others(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for pattern in (f"{models}/*/check*", f"{models}/**/check*", f"{models}/m[1]/*"):
        with refused(models / "m1"):
            assert main(["inspect", pattern]) == 2
        assert f"{models}/m1 cannot be read (Permission denied)" in said(capsys)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "tokenizer_config.json", "config.json"])
@pytest.mark.parametrize("kind", ["nowhere", "loop", "folder", "pipe"])
def test_no_file_in_place_of_a_file(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    shutil.copytree(models / "m1", tmp_path / "m")
    place = tmp_path / "m" / name
    place.unlink()
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(place if kind == "loop" else "nowhere")
    assert main(["inspect", str(tmp_path / "m")]) == 2
    expected = {
        "nowhere": "is a link to nowhere, which does not exist: create the link again",
        "loop": "cannot be read (Too many levels of symbolic links): its links lead in a circle",
        "folder": "is a folder, not a file",
        "pipe": "is a pipe, not a file",
    }
    assert f"{place} {expected[kind]}" in said(capsys)


@pytest.mark.parametrize(
    ("place", "commands"),
    [
        ("a", ["show {runs}", "verify {runs}", "leaderboard {runs} -o {runs}/site", "compare {runs}/a {runs}/b"]),
        ("a/base_01", ["show {runs}", "compare {runs}/b {runs}/a", "gate {runs}/b --baseline {runs}/a"]),
        ("a/base_01/manifest.json", ["show {runs}", "verify {runs}/a", "baseline set {runs}/a"]),
        ("a/base_01/samples", ["verify {runs}/a", "show {runs}/a --samples all", "compare {runs}/a {runs}/b"]),
        ("a/base_01/samples/law.parquet", ["verify {runs}/a", "gate {runs}/a --baseline {runs}/b"]),
        ("a/base_01/SHA256SUMS", ["verify {runs}/a"]),
    ],
)
def test_reports_of_others(runs: Path, capsys: pytest.CaptureFixture[str], place: str, commands: list[str]) -> None:
    for command in commands:
        with refused(runs / place):
            assert main(command.format(runs=runs).split()) == 2
        error = capsys.readouterr().err
        assert f"{runs / place}" in error
        assert "(Permission denied): give this user access to it" in error


def test_a_baseline_of_others_hides_no_other(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("main", "private"):
        baselines.save(baselines.only_report(runs / "a"), name, tmp_path / "kept")
    with refused(tmp_path / "kept" / "private"):
        assert baselines.find("main", tmp_path / "kept").folder.name == "main"
        assert main(["baseline", "show", "--folder", str(tmp_path / "kept")]) == 2
    assert "private/manifest.json cannot be read (Permission denied)" in said(capsys)


def test_a_mirror_of_others_is_not_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "ceval" / "ceval-exam"
    folder.mkdir(parents=True)
    with refused(folder):
        assert main(["tasks", "ceval_law", "--data", str(tmp_path)]) == 2
    assert f"{folder} cannot be read (Permission denied)" in said(capsys)


@pytest.mark.parametrize(
    "number",
    ["EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EIO", "ELOOP", "ENAMETOOLONG", "ESTALE", "EISDIR", "ENOTDIR"],
)
def test_every_refusal_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, number: str
) -> None:
    def check(path: Path) -> None:
        code = getattr(errno, number)
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(journal_upkeep, "check", check)
    assert main(["journal", "check", str(tmp_path)]) == 2
    assert str(tmp_path) in said(capsys)


@pytest.mark.parametrize(
    "command",
    [
        ["verify", ""],
        ["show", "", "x"],
        ["compare", "", "x"],
        ["leaderboard", ""],
        ["leaderboard", "x", "-o", ""],
        ["export", "ceval-submission", "", "-o", "x"],
        ["baseline", "set", ""],
        ["gate", "x", "--baseline="],
        ["journal", "stats", ""],
        ["run", "--model", "", "--tasks", "x"],
        ["train", ""],
    ],
)
def test_an_empty_name_is_no_folder(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    monkeypatch.chdir(runs)
    assert main(command) == 2
    assert "is empty: name it, or leave it out (is a variable unset?)" in said(capsys)


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--model", GBK, "--tasks", "q.jsonl"],
        ["run", "--model", "m1", "--tasks", f"{GBK}.jsonl"],
        ["run", "--model", f"m1,name={GBK}", "--tasks", "q.jsonl"],
        ["run", "--model", "m1", "--tasks", "q.jsonl", "-o", GBK],
        ["run", "--model", "m1", "--tasks", "q.jsonl", "--system-instruction", "\udcff"],
        ["run", "--model", "m1", "--tasks", "q.jsonl", "--chat-template-args", r'a="\udcff"'],
        ["run", "--model", "*x", "--tasks", "q.jsonl"],
        ["inspect", GBK],
    ],
)
def test_names_that_are_not_utf8_are_refused(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    monkeypatch.chdir(models)
    (models / f"{GBK}x").mkdir(exist_ok=True)
    assert main(command) == 2
    assert "is not UTF-8" in said(capsys)


def test_reports_below_a_folder_that_is_not_utf8(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs" / "a").rename(runs / GBK)
    (runs / "b").rename(runs / "b=1")
    assert main(["show", str(runs), "--samples", "all"]) == 0
    assert main(["leaderboard", str(runs), "-o", str(tmp_path / "site")]) == 0
    tables = [item.table("law") for item in reports.find([runs])]
    assert tables[0].column_names == tables[1].column_names
    assert main(["compare", str(runs / "b=1"), str(runs / "b=1")]) == 0
    assert "Traceback" not in capsys.readouterr().err


def test_a_document_may_name_a_path_that_is_not_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = json.dumps({"report": GBK}, ensure_ascii=False)
    outputs.write(text, str(tmp_path / "checks.json"), "--json")
    outputs.write(text, outputs.STANDARD, "--json")
    assert json.loads((tmp_path / "checks.json").read_text(encoding="utf-8")) == {"report": GBK}
    assert json.loads(capsys.readouterr().out) == {"report": GBK}
