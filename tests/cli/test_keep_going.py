"""`--keep-going`: what fails is left out, named and counted; what is left is what a run without it would report."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file, save_file

from harness.cli import main
from harness.errors import StorageError
from harness.reports import report as reports
from harness.reports.report import Report
from harness.reports.writer import ReportWriter
from support import tiny

HELPERS = """
def render(doc):
    if doc["q"].startswith("5 "):
        raise KeyError("no such column")
    return doc["q"]
def target(doc):
    if doc["q"].startswith("6 "):
        raise IndexError("no answer")
    return doc["a"]
def score(doc, results):
    if doc["q"].startswith("9 "):
        raise ZeroDivisionError("nine")
    return {"hit": float(doc["q"].startswith("1")), "odd": 1.0}
def broken(values):
    raise RuntimeError("cannot aggregate")
"""
GENERATING = """
task: words
output_type: generate_until
generation_kwargs: {until: ["\\n"], max_gen_toks: 2}
doc_to_text: !function helpers.render
doc_to_target: !function helpers.target
process_results: !function helpers.score
metric_list:
- {metric: hit, aggregation: mean, higher_is_better: true}
- {metric: odd, aggregation: !function helpers.broken, higher_is_better: true}
test_split: test
dataset_path: json
"""


def rows(count: int = 12) -> list[dict[str, Any]]:
    """Return questions, of which 3 and 7 hold the one letter on which the checkpoint `nan` fails."""
    return [{"q": f"{i} {'Z' if i in (3, 7) else 'z'}", "a": str(i), "c": [str(i), "no"]} for i in range(count)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints that are sound, fail on one letter, or do not load; tasks that are sound, fail or have no data."""
    folder = tmp_path_factory.mktemp("failing")
    tiny.llama(folder / "base")
    for name in ("nan", "broken"):
        shutil.copytree(folder / "base", folder / name)
    (letter,) = tiny.tokenizer()("Z", add_special_tokens=False).input_ids
    weights = load_file(folder / "nan" / "model.safetensors")
    weights["model.embed_tokens.weight"][letter] = math.nan
    save_file(weights, folder / "nan" / "model.safetensors", metadata={"format": "pt"})
    (folder / "broken" / "model.safetensors").write_bytes(b"x" * 100)
    (folder / "tasks").mkdir()
    (folder / "tasks" / "helpers.py").write_text(HELPERS)
    data = {"dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}}}
    (folder / "tasks" / "words.yaml").write_text(GENERATING + yaml.safe_dump(data))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    choosing = {
        "output_type": "multiple_choice",
        "test_split": "test",
        "dataset_path": "json",
        "doc_to_text": "{{q}}:",
        "doc_to_choice": "{{c}}",
        "doc_to_target": 0,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    changes = {"red": {}, "blue": {}, "crooked": {"doc_to_choice": "{{c[5]}}"}}
    for name, change in changes.items():
        content = {"task": f"bales_{name}", **choosing, **data, **change}
        (folder / "tasks" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    gone = {"task": "bales_gone", **choosing, "dataset_kwargs": {"data_files": {"test": str(folder / "gone.jsonl")}}}
    (folder / "tasks" / "gone.yaml").write_text(yaml.safe_dump(gone))
    for group, tasks in {"bales": ["bales_red", "bales_blue"], "lost": ["bales_red", "bales_gone"]}.items():
        content = {"group": group, "task": tasks, "aggregate_metric_list": [{"metric": "acc"}]}
        (folder / "tasks" / f"{group}.yaml").write_text(yaml.safe_dump(content))
    return folder


def arguments(verb: str, world: Path, output: Path, tasks: str, *models: str) -> list[str]:
    named = [text for model in models for text in ("--model", str(world / model))]
    return [verb, *named, "--tasks", tasks, "--include-path", str(world / "tasks"), "-o", str(output)]


def report_of(output: Path, name: str) -> Report:
    return reports.find(sorted(output.glob(f"{name}_*")))[-1]


@pytest.fixture(scope="module")
def output(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of a run in which much fails."""
    output = tmp_path_factory.mktemp("reports")
    command = arguments("run", world, output, "bales,lost,words,bales_crooked", "nan", "broken", "base")
    assert main([*command, "--keep-going"]) == 4
    return output


def test_what_fails_is_named_counted_and_left_out(output: Path) -> None:
    manifest = report_of(output, "nan").manifest
    assert manifest.tasks["bales_red"].failed_documents == [3, 7]
    assert manifest.tasks["bales_red"].documents == 10
    assert manifest.tasks["words"].failed_documents == [3, 5, 6, 7, 9]
    assert manifest.failed.keys() == {"lost", "bales_gone", "bales_crooked", "words odd"}
    assert {score.task for score in manifest.scores} == {"bales", "bales_red", "bales_blue", "words"}
    assert str(output.parent.parent) not in manifest.model_dump_json(), "a path of this machine"
    notes = "\n".join(manifest.notes)
    assert "2 documents of bales_red failed: documents 3, 7: the model's logits are NaN" in notes
    assert "document 5: its prompt cannot be rendered (KeyError: 'no such column')" in notes
    assert "document 6: its prompt cannot be rendered (IndexError: no answer)" in notes
    assert "document 9: it cannot be scored with an empty answer: ZeroDivisionError: nine" in notes
    assert "words odd: task words: odd cannot be aggregated (RuntimeError: cannot aggregate)" in notes
    assert "bales is incomplete: 4 documents of its tasks failed" in notes
    assert "lost: bales_gone failed, so there is no average" in notes


def test_what_does_not_fail_has_the_samples_of_a_whole_run(output: Path) -> None:
    whole, partial = (report_of(output, name).samples("bales_red") for name in ("base", "nan"))
    both = whole[whole["doc_id"].isin(partial["doc_id"])].reset_index(drop=True)
    for column in ("doc_id", "prompt", "prompt_hash", "doc_hash", "target"):
        assert both[column].tolist() == partial[column].tolist()
    for logprobs, others in zip(both["logprobs"], partial["logprobs"], strict=True):
        assert logprobs.tolist() == pytest.approx(others.tolist(), abs=1e-4)


def test_tables_and_standard_error_say_so(
    world: Path, output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    command = arguments("compare", world, output, "bales,lost,words", "base", "nan", "broken")
    assert main([*command, "--keep-going"]) == 4
    out, err = capsys.readouterr()
    assert "20 of 24" in out
    assert "failed" in out
    assert "bales: 4 documents left out because only one checkpoint answered" in out
    assert "left out: checkpoint broken failed: " in err
    assert "left out: nan: lost, bales_gone, words odd, 2 documents of bales_red" in err
    assert main(["verify", str(report_of(output, "nan").folder), "--include-path", str(world / "tasks")]) in (0, 1)
    assert "is missing" not in capsys.readouterr().out


def test_without_it_the_first_failure_ends_the_run(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments("run", world, tmp_path, "bales_red,bales_gone", "base")) == 2
    assert "there is no file" in capsys.readouterr().err
    assert main(arguments("run", world, tmp_path, "bales_red", "nan", "base")) == 2
    assert "logits are NaN" in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_file_that_is_no_test_set_is_left_out(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.jsonl").write_text('{"question": "1 z", "answer": "1"}\n')
    (tmp_path / "bad.jsonl").write_text('{"question": "1 z", "answer": "1"}\n{"question": ')
    (tmp_path / "empty.csv").touch()
    (tmp_path / "words.jsonl").write_text('{"question": "1 z", "answer": "tea"}\n')
    (tmp_path / "texts").mkdir()
    names = ["good.jsonl", "bad.jsonl", "gone.jsonl", "empty.csv", "words.jsonl", "ppl:gone", "ppl:texts"]
    command = ["run", "--model", str(world / "base"), "--max-gen-toks", "1", "--keep-going", "-o", "out", "--tasks"]
    assert main([*command, ",".join(names)]) == 4
    manifest = report_of(tmp_path / "out", "base").manifest
    assert list(manifest.tasks) == ["good.jsonl"]
    assert manifest.failed.keys() == {"bad.jsonl", "gone.jsonl", "empty.csv", "words.jsonl", "ppl_gone", "ppl_texts"}
    assert "bad.jsonl, line 2" in manifest.failed["bad.jsonl"]
    assert "left out: gone.jsonl: there is no file gone.jsonl: check the path" in manifest.notes
    assert main(["verify", "out", "--task", "good.jsonl"]) == 0
    capsys.readouterr()
    assert main([*command, "bad.jsonl"]) == 2
    assert "no task can be evaluated. bad.jsonl, line 2" in capsys.readouterr().err
    (tmp_path / "texts" / "good.jsonl").touch()
    assert main([*command, "good.jsonl,texts/good.jsonl"]) == 2
    assert "would be called good.jsonl, as another task is: rename one of the files" in capsys.readouterr().err


def test_nothing_left_is_an_error(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for tasks, model in (("bales_gone", "base"), ("bales_crooked", "base"), ("bales_red", "broken")):
        assert main([*arguments("run", world, tmp_path, tasks, model), "--keep-going"]) == 2
        assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: ")
    assert main([*arguments("compare", world, tmp_path, "bales_red", "broken", "base"), "--keep-going"]) == 2
    assert "nothing can be compared: broken failed" in capsys.readouterr().err
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_ends_the_run(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise StorageError("cannot write a report: make room")

    monkeypatch.setattr(ReportWriter, "write_samples", full)
    command = arguments("run", world, tmp_path, "bales_red,bales_blue", "base")
    assert main([*command, "--keep-going"]) == 2
    assert capsys.readouterr().err.endswith("error: cannot write a report: make room\n")


def test_a_gate_does_not_pass_what_failed(
    world: Path, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = ["--baseline", str(report_of(output, "base").folder), "--margin", "90", "--keep-going"]
    assert main([*arguments("gate", world, tmp_path, "bales", "nan"), *baseline]) == 3
    assert "fails on 4 documents, left out here (baseline: 0)" in capsys.readouterr().out
    assert main([*arguments("gate", world, tmp_path, "words", "base"), *baseline]) == 4
    (world / "tasks" / "red.yaml").rename(world / "red.yaml")
    try:
        content = (world / "red.yaml").read_text().replace("rows.jsonl", "gone.jsonl")
        (world / "tasks" / "red.yaml").write_text(content)
        assert main([*arguments("gate", world, tmp_path, "bales,words", "base"), *baseline]) == 2
    finally:
        (world / "red.yaml").rename(world / "tasks" / "red.yaml")
    assert "base has no acc for it, because something failed: bales_red failed" in capsys.readouterr().err
    assert main([*arguments("gate", world, tmp_path, "bales", "nan"), *baseline, "--sequential"]) == 2
    assert main([*arguments("calibrate", world, tmp_path, "bales", "nan"), "--keep-going"]) == 2
