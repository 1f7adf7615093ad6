"""A family that `harness train` made, by the command line: inspected, evaluated, verified, compared, made stale."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path

import pytest

import harness.cli
from harness.checkpoints import ancestry
from harness.reports import report
from support import tiny, trained_stages
from support.trained_stages import train

QUESTIONS = [{"question": f"{number}个苹果？", "answer": f"{number}个苹果"} for number in range(4)]
HEAD = trained_stages.HEAD.replace("{talk: talk.jsonl}", "{talk: talk.jsonl, more: more.jsonl}")
STAGES = (
    "sft: {from: ../start}",
    "lora: {from: sft, method: lora, r: 4, validation: more, eval_steps: 1, load_best_model_at_end: true,"
    " metric_for_best_model: loss}",
)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("family")
    tiny.llama(folder / "start", initializer_range=0.05)
    (folder / "recipe").mkdir()
    (folder / "recipe" / "more.jsonl").write_text(
        '{"prompt": "问：七？答：", "completion": "七个苹果"}\n', encoding="utf-8"
    )
    train(folder / "recipe", *STAGES, head=HEAD)
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in QUESTIONS)
    (folder / "questions.jsonl").write_text(rows, encoding="utf-8")
    return folder


@pytest.fixture
def copy(family: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(family, tmp_path / "family")
    monkeypatch.chdir(tmp_path / "family")
    return tmp_path / "family"


def call(command: str) -> tuple[int, str, str]:
    """Return the exit code, the output and the errors of a command."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = harness.cli.main(command.split())
    return code, output.getvalue(), errors.getvalue()


def run(reference: str) -> str:
    return f"run --model {reference} --tasks questions.jsonl --metric exact_match --max-gen-toks 4 -o reports"


def newest() -> report.Report:
    return report.find([Path("reports")])[-1]


def test_inspect_shows_how_a_stage_was_trained(copy):
    code, output, _ = call("inspect recipe/out/lora")
    assert code == 0
    text = " ".join(output.replace("│", " ").split())
    record = json.loads(Path("recipe/out/lora", ancestry.RECORD).read_text())
    assert f"stage lora of the recipe {record['recipe'][:12]}, seed 1" in text
    assert f"started from sft, fingerprint {record['parent_fingerprint'][:12]}" in text
    assert "training lora, 2 steps," in text
    assert "learned from talk:" in text
    assert "saved by harness train, step 2" in text
    assert "trained on ../sft" in text


def test_reports_name_the_training_and_no_place_of_this_machine(copy):
    assert call(run("recipe/out/lora"))[0] == call(run("recipe/out/sft"))[0] == 0
    lora, sft = (
        {r.manifest.checkpoint.name: r.manifest.checkpoint for r in report.find([Path("reports")])}[name]
        for name in ("lora", "sft")
    )
    assert (lora.training.stage, lora.training.method, lora.training.parent) == ("lora", "lora", "sft")
    assert lora.training.parent_fingerprint == sft.fingerprint
    assert [(corpus.name, corpus.examples) for corpus in lora.training.corpora] == [("talk", 8)]
    assert (lora.training.steps, lora.training.seed) == (2, 1)
    assert sft.training.parent == "…/start"
    record = json.loads((copy / "recipe/out/lora" / ancestry.RECORD).read_text())
    assert [list(point) for point in lora.training.curve] == record["curve"]
    assert [step for step, _ in lora.training.curve] == [1, 2]
    assert lora.training.evaluations == record["evaluations"]
    assert [set(entry) for entry in lora.training.evaluations] == [{"step", "eval_loss", "eval_more_loss"}] * 2
    assert lora.training.best.model_dump() == record["best"]
    assert (sft.training.evaluations, sft.training.best) == ([], None)
    for file in (*copy.rglob("manifest.json"), *copy.rglob(ancestry.RECORD)):
        assert str(copy) not in file.read_text(encoding="utf-8")
    assert call("run --model start --tasks questions.jsonl --metric exact_match --max-gen-toks 4 -o reports")[0] == 0
    assert newest().manifest.checkpoint.training is None


def test_a_base_that_was_trained_anew_stops_a_run_and_can_be_allowed(copy):
    assert call(run("recipe/out/lora"))[0] == 0
    before = newest()
    text = STAGES[0].replace("start}", "start, weight_decay: 0.5, learning_rate: 0.05}")
    (stage,) = train(copy / "recipe", text, STAGES[1], head=HEAD, names=["sft"], replace=True).values()
    assert stage.stale == ("lora",)

    code, _, errors = call(run("recipe/out/sft --model recipe/out/lora"))
    assert code == 2
    assert errors.count("error: ") == 1
    assert "was trained on other weights than those in" in errors
    assert report.find([Path("reports")]) == [before]  # refused before the first was evaluated
    assert "was trained on other weights" in call("merge recipe/out/lora -o merged")[2]
    assert "was trained on other weights" in call("inspect recipe/out/lora --load")[2]

    code, _, errors = call(run("recipe/out/lora,allow_other_base=true"))
    assert code == 0, errors
    manifest = newest().manifest
    assert "the adapter was trained on other weights than those of …/sft" in str(manifest.notes)
    assert "allow_other_base=true" in manifest.checkpoint.reference

    old, new = before.folder, newest().folder
    allowed = "recipe/out/lora,allow_other_base=true"
    code, output, errors = call(f"verify {new} --model {allowed}")
    assert code == 0, output + errors
    assert call(f"verify {old} --model {allowed}")[0] == 1  # its base is no longer here
    assert call(f"compare {old} {new}")[0] == 0
    models = "--model recipe/out/sft --model recipe/out/lora --tasks questions.jsonl --metric exact_match"
    code, _, errors = call(f"compare {models} --max-gen-toks 4 -o reports")
    assert code == 2
    assert "was trained on other weights" in errors
