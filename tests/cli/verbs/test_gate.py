"""`harness gate` as people and builds use it: verdicts, files, GitHub's variables, error messages."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Tree

import pytest

from harness.cli import main
from harness.reports.report import Report
from support import tiny
from support.answered import Answers, report

RIGHT = [1] * 600 + [0] * 400


@pytest.fixture(autouse=True)
def _no_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unset the variables of a build of GitHub's, which these tests may run in, and use a folder of its own."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def base(root: Path, **tasks: Answers) -> Report:
    return report(root, "base", {"law": Answers(RIGHT), **tasks})


def harmed(root: Path, **tasks: Answers) -> Report:
    return report(root, "harmed", {"law": Answers([0] * 60 + RIGHT[60:]), **tasks})


def same(root: Path, **tasks: Answers) -> Report:
    return report(root, "same", {"law": Answers(RIGHT), **tasks})


def call(*words: Any) -> int:
    return main(["gate", *map(str, words)])


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_a_real_loss_is_blocked_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(harmed(tmp_path).folder, "--baseline", base(tmp_path).folder) == 1
    out, err = capsys.readouterr()
    assert err == ""
    last = out.splitlines()[-1]
    assert last.startswith("regressed: law lost 6.0 points (95 % interval −")
    assert last.endswith("1,000 documents, p = 9e-19)")  # 2 to the power of -60
    assert re.search(r"law\W+acc\W+60\.0 %\W+54\.0 %\W+−6\.0\W", out)


def test_a_candidate_that_did_not_change_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(same(tmp_path).folder, "--baseline", base(tmp_path).folder) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "passed: a loss as large as the margin is ruled out on law"


def test_few_documents_are_inconclusive_and_the_policy_may_allow_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        report(tmp_path, "few", {"law": Answers([1] * 20)}).folder,
        "--baseline",
        report(tmp_path, "were", {"law": Answers([1] * 20)}).folder,
    ]
    assert call(*words) == 3
    assert re.search(r"^inconclusive: law .*documents would settle it$", capsys.readouterr().out, re.MULTILINE)
    (tmp_path / "gate.yaml").write_text("inconclusive: allow\n")
    assert call(*words, "--policy", "gate.yaml") == 0
    assert "inconclusive (allowed by the policy): law" in capsys.readouterr().out


def test_margin_and_alpha_of_the_command_line_replace_the_policys(tmp_path: Path) -> None:
    candidate = report(tmp_path, "cand", {"law": Answers([0] * 30 + RIGHT[30:])})
    words = [candidate.folder, "--baseline", base(tmp_path).folder, "--json", "out.json"]
    (tmp_path / "gate.yaml").write_text("{margin: 1, alpha: 0.01}\n")
    expected = {(): (1, 0.02), ("--policy", "gate.yaml"): (1, 0.01), ("--margin", "10"): (0, 0.1)}
    expected |= {("--policy", "gate.yaml", "--margin", "10%", "--alpha", "0.2"): (0, 0.06)}
    for options, (code, margin) in expected.items():
        assert call(*words, *options) == code
        unit = json.loads(Path("out.json").read_text())["units"][0]
        assert unit["margin"] == pytest.approx(margin)
    assert unit["alpha"] == 0.2


def test_the_baseline_is_main_by_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["baseline", "set", str(base(tmp_path).folder)]) == 0
    assert call(harmed(tmp_path).folder) == 1
    assert call(harmed(tmp_path / "again").folder, "--baseline", "main") == 1
    assert "harmed" in capsys.readouterr().out


def test_a_subjects_loss_under_a_rising_average_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    averages = {"averages": {"exam": ("task", ["law", "logic"])}}
    before = report(tmp_path, "was", {"law": Answers(RIGHT), "logic": Answers([0] * 200 + [1] * 800)}, **averages)
    after = report(tmp_path, "now", {"law": Answers([0] * 60 + RIGHT[60:]), "logic": Answers([1] * 1000)}, **averages)
    assert call(after.folder, "--baseline", before.folder) == 1
    out = capsys.readouterr().out
    assert re.search(r"exam \(mean over tasks\).*passed", out)
    assert re.search(r"│ law .*regressed", out)
    assert out.splitlines()[-1].startswith("regressed: law lost 6.0 points")
    assert "also watched, without a real loss that may reach the margin: 1 member task" in out


# --- files ------------------------------------------------------------------------------------------------------------


def test_every_file_has_the_same_verdict(tmp_path: Path) -> None:
    files = {"--json": "out/gate.json", "--junit": "out/gate.xml", "--markdown": "out/gate.md"}
    words = [harmed(tmp_path).folder, "--baseline", base(tmp_path).folder]
    assert call(*words, *(word for pair in files.items() for word in pair)) == 1
    assert json.loads(Path("out/gate.json").read_text())["verdict"] == "regressed"
    assert Tree.parse("out/gate.xml").getroot().attrib["failures"] == "1"
    assert Path("out/gate.md").read_text().startswith("**regressed**: law lost 6.0 points")


def test_a_dash_is_standard_output_and_moves_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(harmed(tmp_path).folder, "--baseline", base(tmp_path).folder, "--json", "-") == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["exit_code"] == 1
    assert "regressed: law lost 6.0 points" in err


def test_two_options_must_not_name_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [harmed(tmp_path).folder, "--baseline", base(tmp_path).folder]
    for json_file, junit_file, name in (("-", "-", "standard output"), ("x/../gate", "gate", "gate")):
        assert call(*words, "--json", json_file, "--junit", junit_file) == 2
        out, err = capsys.readouterr()
        assert (out, err) == ("", f"error: --json and --junit both name {name}: name a different file for each\n")
    assert not Path("gate").exists()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_documents_are_utf_8_in_any_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    words = [harmed(tmp_path).folder, "--baseline", base(tmp_path).folder, "--json", "-"]
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    assert call(*words) == 1
    assert "interval −" in json.loads(stdout.buffer.getvalue().decode("utf-8"))["sentence"]


def test_a_closed_standard_output_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [harmed(tmp_path).folder, "--baseline", base(tmp_path).folder, "--json", "-"]
    monkeypatch.setattr(sys, "stdout", None)
    assert call(*words) == 2
    assert (
        capsys.readouterr().err.splitlines()[-1] == "error: cannot write standard output (it is closed): check --json"
    )


def test_a_file_that_cannot_be_written_is_reported_last_and_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    words = [harmed(tmp_path).folder, "--baseline", base(tmp_path).folder]
    assert call(*words, "--json", "file/gate.json", "--markdown", "gate.md") == 2
    out, err = capsys.readouterr()
    assert "regressed: law lost 6.0 points" in out
    assert re.fullmatch(r"error: cannot write file/gate.json \(.*\): check --json\n", err)
    assert Path("gate.md").read_text().startswith("**regressed**")


def test_a_build_of_githubs_gets_a_summary_and_annotations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# Before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert call(harmed(tmp_path).folder, "--baseline", base(tmp_path).folder) == 1
    out = capsys.readouterr().out
    assert len(re.findall(r"^::error title=law%3A regressed::law lost 6\.0 points", out, re.MULTILINE)) == 1
    assert summary.read_text().startswith("# Before\n")
    assert "**regressed**: law lost 6.0 points" in summary.read_text()
    assert call(same(tmp_path).folder, "--baseline", base(tmp_path / "again").folder) == 0
    assert re.search("^::notice title=harness gate::passed", capsys.readouterr().out, re.MULTILINE)
    assert summary.read_text().count("| task |") == 2


@pytest.mark.parametrize("options", [[], ["--json", "-"]])
def test_a_closed_pipe_does_not_change_the_exit_code(tmp_path: Path, options: list[str]) -> None:
    words = ["gate", str(harmed(tmp_path).folder), "--baseline", str(base(tmp_path).folder), *options]
    script = "import sys; from harness.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", script, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"Traceback" not in err
    assert b"error" not in err


def test_reports_are_judged_without_torch_and_lm_eval(tmp_path: Path) -> None:
    words = [str(harmed(tmp_path).folder), "--baseline", str(base(tmp_path).folder)]
    verbs = (["gate", *words], ["compare", words[2], words[0], "--samples"])
    script = (
        f"import sys; from harness.cli import main; codes = [main(verb) for verb in {verbs}];"
        "heavy = {'torch', 'lm_eval', 'transformers', 'datasets', 'scipy.stats'} & set(sys.modules);"
        "sys.exit(f'{codes} {heavy}')"
    )
    result = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert result.stderr.strip() == "[1, 0] set()"


def test_the_exit_code_of_a_bug_is_not_a_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.verdicts.gate.gate", lambda *_, **__: 1 / 0)
    assert call(same(tmp_path).folder, "--baseline", base(tmp_path).folder) == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_full_disk_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    monkeypatch.setattr("harness.verdicts.gate.gate", fail)
    assert call(same(tmp_path).folder, "--baseline", base(tmp_path).folder) == 2
    assert capsys.readouterr().err == "error: no space is left for somewhere: free some space\n"


# --- evaluating first -------------------------------------------------------------------------------------------------


def test_checkpoints_are_evaluated_as_by_run_and_then_compared_or_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.llama(tmp_path / "base", context=2048)
    Path("my.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n{"question": "1+2?", "answer": "3"}\n')
    options = ["--tasks", "my.jsonl", "--max-gen-toks", "2", "-o", "runs"]
    assert main(["compare", "--model", str(folder), "--model", f"{folder},name=again", *options]) == 0
    assert re.search(r"^again \(\w{12}\) against base \(\w{12}\)$", capsys.readouterr().out, re.MULTILINE)
    (first,) = Path("runs").glob("base_*")
    assert main(["baseline", "set", str(first)]) == 0
    capsys.readouterr()
    assert call("--model", str(folder), *options) == 3
    out = capsys.readouterr().out
    assert "report: runs/base_" in out
    assert re.search("^inconclusive: my", out, re.MULTILINE)


def test_a_document_on_standard_output_is_alone_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny.llama(tmp_path / "base", context=2048)
    Path("my.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    options = ["--model", str(folder), "--tasks", "my.jsonl", "--max-gen-toks", "2", "-o", "runs"]
    assert main(["compare", *options, "--model", f"{folder},name=again", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["candidates"][0]["name"] == "again"
    assert "report: runs/base_" in err
    (baseline,) = Path("runs").glob("base_*")
    assert call(*options, "--baseline", baseline, "--json", "-") == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["verdict"] == "inconclusive"
    assert "report: runs/base_" in err


def test_only_tasks_of_the_candidate_are_judged_and_a_note_names_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.llama(tmp_path / "base", context=2048)
    for name in ("my", "other"):
        Path(f"{name}.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    options = ["--model", str(folder), "--max-gen-toks", "2", "-o", "runs"]
    assert main(["run", *options, "--tasks", "my.jsonl,other.jsonl"]) == 0
    assert main(["baseline", "set", "runs"]) == 0
    for way in ([], ["--sequential"]):
        capsys.readouterr()
        assert call(*options, "--tasks", "my.jsonl", "--json", "gate.json", *way) == 3
        outcome = json.loads(Path("gate.json").read_text())
        assert [unit["task"] for unit in outcome["units"]] == ["my.jsonl"]
        assert "not judged because the candidate was not evaluated on them: other.jsonl" in outcome["notes"]
    Path("new.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    assert call(*options, "--tasks", "new.jsonl") == 2
    assert "has no score of new.jsonl" in capsys.readouterr().err
    Path("gate.yaml").write_text("tasks: [{match: nli}]\n")
    before = set(Path("runs").iterdir())
    assert call(*options, "--tasks", "my.jsonl", "--policy", "gate.yaml") == 2
    assert set(Path("runs").iterdir()) == before  # refused before anything is evaluated


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "name one candidate"),
        ("cand --model x --tasks y", "name one candidate"),
        ("--model x --model y --tasks law --baseline base", "a gate judges one candidate"),
        ("--model x --baseline base", "--tasks NAMES"),
        ("cand --baseline base --limit 3", "--limit is for --model"),
        ("cand --baseline base --tasks law", "--tasks is for --model"),
        ("--calibrate --model x --tasks law --json out", "so --json cannot be used with it"),
        ("--calibrate --model x --tasks law --sequential", "so --sequential cannot be used with it"),
        ("nowhere --baseline base", "does not exist"),
        ("empty --baseline base", "is not a report"),
        ("cand", "no report in main, and no baseline of that name in baselines (none)"),
        ("cand --baseline ../base/..", "no report"),
        ("cand --baseline nowhere", "no report in nowhere"),
        ("all --baseline base", "holds 6 reports"),
        ("cand --baseline base --margin 0", "--margin cannot be used: '0' is not a margin"),
        ("cand --baseline base --margin two", "'two' is not a margin"),
        ("cand --baseline base --margin nan", "'nan' is not a margin"),
        ("cand --baseline base --margin=-1%", "'-1%' is not a margin"),
        ("cand --baseline base --alpha 0.7", "--alpha cannot be used"),
        ("cand --baseline base --policy none.yaml", "check --policy"),
        ("cand --baseline base --policy typo.yaml", "marign"),
        ("cand --baseline base --policy nothing.yaml", "matches no task of the baseline"),
        ("all/prompts --baseline base", "law: different prompts of 4 of 4 documents"),
        ("all/data --baseline base", "law: different dataset: invented/other instead of invented/law"),
        ("all/documents --baseline base", "law: different documents: they have none in common"),
        ("all/task --baseline base", "has no acc for it: evaluate it on law, too"),
        ("all/truncated --baseline base", "law.parquet cannot be read"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    answers = [1, 0, 1, 1]
    report(tmp_path, "base", {"law": Answers(answers)}).folder.rename("base")
    report(tmp_path, "cand", {"law": Answers(answers)}).folder.rename("cand")
    reports = {
        "prompts": {"law": Answers(answers, prompt="Think. ")},
        "data": {"law": Answers(answers, info={"dataset": "invented/other"})},
        "documents": {"law": Answers(answers, documents="efgh")},
        "task": {"math": Answers(answers)},
        "truncated": {"law": Answers(answers)},
        "more": {"law": Answers(answers)},
    }
    for name, tasks in reports.items():
        report(tmp_path, name, tasks).folder.rename(_with_parent(tmp_path / "all" / name))
    file = tmp_path / "all" / "truncated" / "samples" / "law.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    (tmp_path / "empty").mkdir()
    (tmp_path / "typo.yaml").write_text("marign: 2\n")
    (tmp_path / "nothing.yaml").write_text("tasks: [{match: nli}]\n")
    assert call(*words.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def _with_parent(folder: Path) -> Path:
    """Make the parent of `folder`, and return `folder`."""
    folder.parent.mkdir(exist_ok=True)
    return folder
