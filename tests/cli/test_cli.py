"""The command line as a person uses it: results, error messages, exit codes, pipes and Ctrl-C."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import main
from support import invented, tiny


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny checkpoints, a mirror of invented data, and a recipe."""
    folder = tmp_path_factory.mktemp("world")
    invented.mirror(folder / "data")
    base = tiny.llama(folder / "base", context=2048)
    tiny.lora(folder / "lora", base, named="../base")
    (folder / "empty").mkdir()
    stage = "{from: base, corpora: {talk: 1}, max_steps: 1, learning_rate: 1.0e-3}"
    (folder / "recipe.yaml").write_text(f"corpora: {{talk: none.jsonl}}\nstages: {{sft: {stage}}}\n")
    (folder / "mirror" / "openai" / "gsm8k").mkdir(parents=True)
    return folder


def command(*arguments: str) -> list[str]:
    """Return a command line for a process of its own."""
    return [sys.executable, "-c", "import sys; from harness.cli import main; sys.exit(main())", *arguments]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run --model {w}/nowhere --tasks ceval_law", "there is no folder"),
        ("score --task ceval_law", "--predictions PATH or --ratings FILE"),
        ("score --predictions {w} --ratings {w}", "--predictions PATH or --ratings FILE"),
        ("score --predictions {w}/nowhere", "there are no predictions at"),
        ("score --predictions {w}/empty", "holds no predictions in a known format"),
        ("score --ratings {w}/nowhere.jsonl", "there is no file"),
        ("score --ratings {w}/nowhere.jsonl --limit 3", "are for --predictions: drop them"),
        ("train {w}/none.yaml -o {w}/out", "cannot read the recipe"),
        ("train {w}/recipe.yaml -o {w}/out", "there is no corpus"),
        ("train {w}/recipe.yaml -o {w}/out --stage sfd", "no stage 'sfd'; did you mean 'sft'"),
        ("demo --keep {w}", "holds something else"),
        ("run --model nobody/nothing --tasks ceval_law", "hf download nobody/nothing"),
        ("run --model {w}/empty --tasks ceval_law", "has no weights"),
        ("run --model {w}/base,adaptor=x --tasks ceval_law", "did you mean 'adapter'"),
        ("run --model {w}/base,name= --tasks ceval_law", "no value"),
        ("run --model {w}/base,adapter={w}/base --tasks ceval_law", "name the folder of a PEFT adapter"),
        ("run --model {w}/base --tasks ceval_lwa", "did you mean 'ceval_law'"),
        ("run --model {w}/base --tasks zzz*", "no task"),
        ("run --model {w}/base --tasks ,", "no task to evaluate on"),
        ("run --model {w}/base --tasks ceval_law --data {w}/nowhere", "data folder"),
        ("run --model {w}/base --tasks gsm8k --chat-template-args enable_thinking=", "is not KEY=VALUE: write"),
        ("run --model {w}/base --tasks gsm8k --data {w}/mirror", "holds no data"),
        ("run --model {w}/base --tasks gsm8k --data {w}/empty", "hf download --repo-type dataset openai/gsm8k"),
        ("run --model {w}/base --tasks ceval_law --dtype int3", "dtype is one of"),
        ("run --model {w}/base --tasks ceval_law --device abacus", "device 'abacus'"),
        ("run --model {w}/base --tasks ceval_law --data {w}/data --apply-chat-template", "no chat template"),
        ("run --model {w}/base --tasks ceval_law --include-path {w}/nowhere", "not a folder"),
        ("run --model {w}/base,max_length=100 --tasks gsm8k --data {w}/data", "256 new tokens"),
        ("run --model {w}/base --tasks ceval_law --data {w}/data -o {w}/base/config.json", "config.json"),
        ("show {w}/nowhere", "does not exist"),
        ("show {w}/base", "not a report"),
        ("leaderboard {w}/base", "not a report"),
        ("tasks nonsense", "no task 'nonsense'"),
        ("inspect {w}/base/config.json", "is a file"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments.format(w=world).split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if "not sharded" not in line]
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize("arguments", ["run --tasks ceval", "run --model x --tasks y --limit 0", "walk", "show"])
def test_wrong_usage_is_explained_and_exits_with_2(capsys: pytest.CaptureFixture[str], arguments: str) -> None:
    assert main(arguments.split()) == 2
    assert "Usage:" in capsys.readouterr().err


def test_help_imports_neither_torch_nor_lm_eval() -> None:
    script = (
        "import sys; from harness.cli import main; code = main(['--help']);"
        "heavy = {'torch', 'lm_eval', 'transformers', 'pandas', 'pyarrow'} & set(sys.modules);"
        "sys.exit(code or len(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, capture_output=True).returncode == 0


def test_a_run_in_a_pipe_prints_its_table_and_nothing_else(world: Path, tmp_path: Path) -> None:
    arguments = ["run", "--model", f"{world}/lora", "--tasks", "ceval_law,gsm8k", "--limit", "2", "-o", str(tmp_path)]
    arguments += ["--data", str(world / "data"), "--max-gen-toks", "16"]
    result = subprocess.run(command(*arguments), capture_output=True, text=True, check=True, timeout=200)
    assert result.stderr == ""
    assert "\x1b" not in result.stdout
    assert re.search(r"ceval_law\W+acc\W+\d+\.\d %\W+\d+\.\d–\d+\.\d", result.stdout)
    (folder,) = re.findall(r"^report: (.+)$", result.stdout, re.M)
    manifest = json.loads((Path(folder) / "manifest.json").read_text())
    assert manifest["checkpoint"]["kind"] == "lora"
    assert set(manifest["engine"]) >= {"scoring_seconds", "generation_seconds", "tokens_fed", "peak_memory_bytes"}


def test_ctrl_c_reports_what_was_kept_and_the_same_command_continues(world: Path, tmp_path: Path) -> None:
    arguments = [
        "run",
        "--model",
        f"{world}/base",
        "--tasks",
        "ceval_law,gsm8k",
        "-o",
        str(tmp_path),
        "--data",
        f"{world}/data",
    ]
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background makes them, and their child processes, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    _wait_for(lambda: _answers(tmp_path / "journal.sqlite") >= 6)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "interrupted. Complete reports: none" in err
    assert "journal.sqlite: run the same command again to continue" in err
    assert "Traceback" not in err
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert main(arguments) == 0
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert json.loads((folder / "manifest.json").read_text())["engine"]["answered_from_journal"] >= 6


def test_a_closed_pipe_does_not_stop_the_second_checkpoint(world: Path, tmp_path: Path) -> None:
    models = ["--model", f"{world}/base", "--model", f"{world}/base,name=second"]
    arguments = ["run", *models, "--tasks", "ceval_law", "-o", str(tmp_path), "--data", f"{world}/data"]
    process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=100) == 0
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2


def test_a_terminal_that_encodes_only_ascii_gets_its_table(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    arguments = ["run", "--model", f"{world}/base", "--tasks", "ceval_law", "-o", str(tmp_path)]
    code = main([*arguments, "--data", f"{world}/data"])
    for stream in streams:
        stream.flush()
    out, err = (stream.buffer.getvalue() for stream in streams)
    assert (code, err) == (0, b"")
    assert b"ceval_law" in out


def test_the_folder_of_a_very_long_name_is_cut(world: Path, tmp_path: Path) -> None:
    arguments = ["run", "--model", f"{world}/base,name={'x' * 300}", "--tasks", "ceval_law", "-o", str(tmp_path)]
    assert main([*arguments, "--data", f"{world}/data"]) == 0


def test_a_dry_run_counts_the_requests_and_tokens_of_the_run(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--model", f"{world}/base", "--tasks", "ceval_law,gsm8k", "-o", str(tmp_path / "runs")]
    arguments += ["--data", f"{world}/data", "--limit", "2"]
    assert main([*arguments, "--dry-run"]) == 0
    forecast = capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
    assert main(arguments) == 0
    (folder,) = [path for path in (tmp_path / "runs").iterdir() if path.is_dir()]
    engine = json.loads((folder / "manifest.json").read_text())["engine"]
    (total,) = re.findall(r"│ all\s+│\s*([\d,]+) │\s*([\d,]+) │", forecast)
    assert [int(text.replace(",", "")) for text in total] == [engine["requests"], engine["tokens_fed"]]
    assert "expected: at most about" in forecast


def test_a_pattern_evaluates_every_checkpoint_of_a_training_in_step_order(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (100, 9, 20):
        tiny.lora(tmp_path / "out" / f"checkpoint-{step}", world / "base", seed=step)
    (tmp_path / "out" / "tmp-checkpoint-120").mkdir()
    arguments = ["--tasks", "ceval_law", "--limit", "2", "--data", str(world / "data"), "-o", str(tmp_path / "reports")]
    assert main(["run", "--model", f"{tmp_path}/out/checkpoint-*", *arguments]) == 0
    names = re.findall(r"^(out-checkpoint-\d+)  ", capsys.readouterr().out, re.MULTILINE)
    assert names == ["out-checkpoint-9", "out-checkpoint-20", "out-checkpoint-100"]
    assert main(["run", "--model", f"{tmp_path}/out/checkpoint-*,name=law", *arguments, "--dry-run"]) == 0
    assert re.findall(r"^(law-\d+)  ", capsys.readouterr().out, re.MULTILINE) == ["law-9", "law-20", "law-100"]
    assert main(["run", "--model", f"{tmp_path}/out/step-*", *arguments]) == 2
    assert "no folder matches" in capsys.readouterr().err


def test_show_reads_reports_and_samples(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "--model", f"{world}/base", "--tasks", "ceval_law,ceval_logic", "-o", str(tmp_path)]
    assert main([*arguments, "--data", f"{world}/data"]) == 0
    capsys.readouterr()
    assert main(["show", str(tmp_path), "--samples", "all", "--task", "ceval_law", "--limit", "1"]) == 0
    out = capsys.readouterr().out
    assert "document 0" in out
    assert "答案：" in out
    assert "1 more: raise --limit to see them" in out
    counts = {}
    for which in ("right", "wrong"):
        assert main(["show", str(tmp_path), "--samples", which, "--task", "ceval_law"]) == 0
        counts[which] = int(re.findall(rf"(\d+) of 2 samples are {which}", capsys.readouterr().out)[0])
    assert sum(counts.values()) == 2


def test_chance_and_ceiling_have_columns_only_if_a_score_has_them(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(folder: Path) -> list[list[str]]:
        capsys.readouterr()
        assert main(["show", str(folder)]) == 0
        lines = capsys.readouterr().out.splitlines()
        return [[cell.strip() for cell in re.split("[┃│]", line)[1:-1]] for line in lines if re.match("[┃│]", line)]

    both, alone = tmp_path / "both", tmp_path / "alone"
    arguments = ["run", "--model", f"{world}/base", "--data", f"{world}/data", "--limit", "2"]
    assert main([*arguments, "--tasks", "ceval_law,gsm8k", "-o", str(both)]) == 0
    head, law, *sums = rows(both)
    assert head == ["task", "metric", "score", "95 % interval", "chance", "n", "tokens", "time"]
    assert law[4:6] == ["25.0", "2"]
    assert {tuple(row[4:6]) for row in sums} == {("–", "2")}
    (manifest,) = both.glob("*/manifest.json")
    content = json.loads(manifest.read_text())
    content["scores"][0]["ceiling"] = 0.9
    manifest.write_text(json.dumps(content))
    head, law, *sums = rows(both)
    assert head[3:7] == ["95 % interval", "chance", "ceiling", "n"]
    assert (law[4:6], sums[0][4:6]) == (["25.0", "90.0"], ["–", "–"])
    assert main([*arguments, "--tasks", "gsm8k", "-o", str(alone)]) == 0
    assert rows(alone)[0] == ["task", "metric", "score", "95 % interval", "n", "tokens", "time"]


def test_tasks_lists_tasks_and_whether_the_mirror_has_their_data(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tasks", "--data", f"{world}/data"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {cells[0]: cells for line in lines if (cells := [cell.strip() for cell in line.split("│")[1:-1]])}
    assert rows["ceval"][1:4] == ["52", "yes", "ceval/ceval-exam"]
    assert rows["gsm8k"][2] == "yes"
    assert rows["mmlu"][2] == "no"
    assert main(["tasks", "mmlu_anatomy", "--data", f"{world}/data"]) == 2
    assert "hf download --repo-type dataset cais/mmlu" in capsys.readouterr().err


def test_tasks_describes_one_task_with_its_prompt(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "ceval", "--data", f"{world}/data"]) == 0
    out = capsys.readouterr().out
    assert "CC BY-NC-SA 4.0" in out
    assert "以下是中国关于计算机网络考试的单项选择题，请选出其中的正确答案。" in out
    assert "'A'  'B'  'C'  'D'" in out


def test_inspect_finds_the_base_and_tests_the_adapter(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", f"{world}/lora", "--load"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"kind\s+│ lora", out)
    assert str(world / "base") in out
    assert "logits of a probe by up to" in out
    assert "thoughts" not in out
    assert main(["inspect", f"{world}/base,think=《,》"]) == 0
    assert re.search(r"thoughts\s+│ 《 … 》 \(by think=\)", capsys.readouterr().out)


def _wait_for(condition: Callable[[], bool], seconds: float = 100) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition never became true"
        time.sleep(0.05)


def _answers(journal: Path) -> int:
    """Return the number of answers in a journal that another process may be writing."""
    import sqlite3

    if not journal.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM answers").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
