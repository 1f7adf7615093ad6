"""`make oracle`: the whole demo, whose family reaches the scores that its stages were trained for."""

from __future__ import annotations

import pytest
from click.testing import Result
from typer.testing import CliRunner

from harness.cli.app import app
from harness.demo import story
from harness.demo.story import FAMILY, Compared, tell
from harness.reports.report import Report, Score

pytestmark = pytest.mark.oracle

TASKS = ("exam", "math", "nli", "reading", "adgen", "law", "ner", "re")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[story.Event]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        return list(tell(tmp_path_factory.mktemp("demo") / "demo"))


@pytest.fixture(scope="module")
def family(events) -> dict[str, Report]:
    return {event.manifest.checkpoint.name: event for event in events if isinstance(event, Report)}


def score(report: Report, task: str) -> Score:
    return next(score for score in report.manifest.scores if score.task == f"demo_{task}" and score.primary)


def above(better: Report, worse: Report, task: str) -> bool:
    """Return whether `better` is above `worse`, with intervals that do not overlap."""
    return score(better, task).low > score(worse, task).high


def test_every_member_is_evaluated_on_every_task(family, events):
    assert list(family) == [member.name for member in FAMILY]
    for report in family.values():
        scores = [score for score in report.manifest.scores if score.headline and score.primary]
        assert [score.task for score in scores] == [f"demo_{task}" for task in TASKS]
        for field in ("low", "chance", "ceiling"):
            assert all(getattr(score, field) is not None for score in scores)
    kinds = {
        name: (report.manifest.checkpoint.kind, report.manifest.checkpoint.quantization)
        for name, report in family.items()
    }
    assert kinds["lora"] == ("lora", None)
    assert kinds["ptuned"] == ("prefix_tuning", None)
    assert kinds["sft-int8"] == ("base", "int8")
    assert kinds["sft-int4"] == ("base", "nf4")
    (compared,) = (event for event in events if isinstance(event, Compared))
    assert [report.folder for report in compared.reports] == [report.folder for report in family.values()]


def test_continued_pretraining_helps_law(family):
    assert above(family["cpt"], family["base"], "law")
    assert score(family["base"], "law").low <= score(family["base"], "law").chance


@pytest.mark.parametrize("task", ["exam", "math", "nli", "reading"])
def test_instruction_tuning_helps_its_families(family, task):
    before = score(family["cpt"], task)
    assert above(family["sft"], family["cpt"], task)
    assert score(family["sft"], task).low > before.chance
    assert before.low <= before.chance, "a checkpoint that already answers has nothing to learn"


def test_the_lora_helps_advertising(family):
    assert above(family["lora"], family["sft"], "adgen")
    assert score(family["lora"], "adgen").low > score(family["lora"], "adgen").chance


@pytest.mark.parametrize("task", ["ner", "re"])
def test_the_prefix_helps_extraction(family, task):
    assert above(family["ptuned"], family["sft"], task)
    assert score(family["ptuned"], task).low > score(family["ptuned"], task).chance


@pytest.mark.parametrize("task", TASKS)
def test_fewer_bits_are_not_better_and_hardly_worse(family, task):
    full, eight, four = (score(family[name], task) for name in ("sft", "sft-int8", "sft-int4"))
    assert four.low <= eight.high
    assert eight.low <= full.high
    assert not above(family["sft"], family["sft-int8"], task)
    assert not above(family["sft"], family["sft-int4"], task)


def test_the_harmed_stage_is_worse_only_at_inference(family):
    assert above(family["sft"], family["harmed"], "nli")
    assert score(family["harmed"], "nli").low <= 1 / 3
    for task in ("exam", "reading", "law", "math"):
        assert not above(family["sft"], family["harmed"], task)


def test_the_gate_blocks_the_harmed_stage_because_of_inference_and_passes_int8(family, tmp_path, monkeypatch):
    """In a build of GitHub's, with the variables it sets."""
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    def gate(name: str) -> Result:
        candidate, baseline = (str(family[member].folder) for member in (name, "sft"))
        return CliRunner().invoke(app, ["gate", candidate, "--baseline", baseline, "--margin", "10"])

    harmed, int8 = gate("harmed"), gate("sft-int8")
    assert (harmed.exit_code, int8.exit_code) == (1, 0), harmed.output + int8.output
    errors = [line for line in harmed.output.splitlines() if line.startswith("::error")]
    assert any("demo_nli" in line for line in errors)
    assert not any("demo_exam" in line or "demo_reading" in line for line in errors)
    assert "::error" not in int8.output
    text = summary.read_text(encoding="utf-8")
    assert text.index("**regressed**") < text.index("**passed**")
