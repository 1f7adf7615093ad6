"""A family trained as the demo's, in the smallest world and training that still show what each stage does.

Each stage is better on what it was trained on than the stage it started from: in accuracy where so short a training
reaches it, in bits per character of held-out texts elsewhere. That the full training reaches the scores of the demo is
checked by `make oracle` (`tests/oracle/test_demo_story.py`). Every assertion holds for seeds 0 to 3: instructions win
by at least 11 points between the intervals, the other stages by more than a bit per character.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from harness.checkpoints.reference import parse
from harness.cli.app import app
from harness.demo import corpora, model
from harness.reports.report import Report, Score
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.training import recipe, stages
from support.small_world import shrink_corpora

pytestmark = pytest.mark.oracle  # two minutes of training

RECIPE = Path(__file__).with_name("small_recipe.yaml")
MEMBERS = {
    "base": "base",
    "cpt": "cpt",
    "sft": "sft",
    "lora": "lora",
    "ptuned": "ptuned",
    "harmed": "harmed",
    "sft-int8": "sft,quantize=int8,name=sft-int8",
    "sft-int4": "sft,quantize=int4,name=sft-int4",
}
HELD_OUT: dict[str, Callable[[], list[str]]] = {
    "statutes": lambda: corpora.statutes(corpora.STATUTES + 24)[-24:],
    "adgen": lambda: [item.prompt + item.answer for item in corpora.lessons("adgen", corpora.LESSONS + 24)[-24:]],
    "ner": lambda: [item.prompt + item.answer for item in corpora.lessons("ner", corpora.LESSONS + 24)[-24:]],
}
"""Texts that the training of no stage contains: those drawn after the last row of each corpus."""


@pytest.fixture(scope="module")
def small_world() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shrink_corpora(patch)
        yield


@pytest.fixture(scope="module")
def family(small_world: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    folder = tmp_path_factory.mktemp("family")
    texts = corpora.write(folder / "corpora")
    model.save(folder / "checkpoints" / "untrained", texts, corpora.words(), seed=0)
    shutil.copy(RECIPE, folder / "recipe.yaml")
    list(stages.train(recipe.load(folder / "recipe.yaml"), folder / "checkpoints"))
    tasks = ["demo_nli"]
    for name, draw in HELD_OUT.items():
        (folder / name).mkdir()
        for number, text in enumerate(draw()):
            (folder / name / f"{number}.txt").write_text(text, encoding="utf-8")
        tasks.append(f"ppl:{folder / name}")
    references = [parse(f"{folder}/checkpoints/{reference}") for reference in MEMBERS.values()]
    reports = run(references, Options(tuple(tasks), folder / "reports"))
    return {report.manifest.checkpoint.name: report for report in reports}


def score(report: Report, task: str) -> Score:
    return next(score for score in report.manifest.scores if score.task == task and score.primary)


def is_better(first: Report, second: Report, task: str) -> bool:
    """Return whether `first` is better than `second` by more than their intervals."""
    a, b = score(first, task), score(second, task)
    return a.low > b.high if a.higher_is_better else a.high < b.low


def test_continued_pretraining_teaches_the_statutes(family: dict[str, Report]) -> None:
    assert is_better(family["cpt"], family["base"], "ppl_statutes")


def test_instructions_teach_inference(family: dict[str, Report]) -> None:
    assert is_better(family["sft"], family["cpt"], "demo_nli")
    assert score(family["cpt"], "demo_nli").low <= 1 / 3 < score(family["sft"], "demo_nli").low


def test_the_lora_teaches_advertising(family: dict[str, Report]) -> None:
    assert is_better(family["lora"], family["sft"], "ppl_adgen")


def test_the_prefix_teaches_extraction(family: dict[str, Report]) -> None:
    assert is_better(family["ptuned"], family["sft"], "ppl_ner")


@pytest.mark.parametrize("task", ["demo_nli", "ppl_statutes", "ppl_adgen", "ppl_ner"])
@pytest.mark.parametrize("copy", ["sft-int8", "sft-int4"])
def test_fewer_bits_are_no_better_and_hardly_worse(family: dict[str, Report], copy: str, task: str) -> None:
    assert not is_better(family["sft"], family[copy], task)
    assert not is_better(family[copy], family["sft"], task)


def test_shuffled_labels_harm_inference(family: dict[str, Report]) -> None:
    assert is_better(family["sft"], family["harmed"], "demo_nli")


def test_the_gate_blocks_the_harmed_stage_by_its_task_and_lets_the_quantised_copy_pass(
    family: dict[str, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a build of GitHub's, with the variables that it sets."""
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    def gate(name: str) -> Result:
        candidate, baseline = (str(family[member].folder) for member in (name, "sft"))
        return CliRunner().invoke(app, ["gate", candidate, "--baseline", baseline, "--margin", "10"])

    harmed, quantised = gate("harmed"), gate("sft-int8")
    assert (harmed.exit_code, quantised.exit_code) == (1, 0), harmed.output + quantised.output
    assert any("demo_nli" in line for line in harmed.output.splitlines() if line.startswith("::error"))
    assert "::error" not in quantised.output
    text = summary.read_text(encoding="utf-8")
    assert text.index("**regressed**") < text.index("**passed**")
