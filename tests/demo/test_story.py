"""The whole demo: the family's scores are as expected, and a second call trains nothing."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from harness.cli.app import app
from harness.demo import folder as folder_module
from harness.demo import story
from harness.demo.folder import MARK
from harness.demo.story import FAMILY, Compared, Page, tell
from harness.errors import HarnessError
from harness.reports.report import Report, Score
from harness.training.stages import Trained

TASKS = ("exam", "math", "nli", "reading", "adgen", "law", "ner", "re")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """A user's cache for this module alone."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cached(_own_cache, cache, monkeypatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(cache))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo") / "demo"


@pytest.fixture(scope="module")
def events(cache, folder) -> list[story.Event]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(cache))
        return list(tell(folder))


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


def test_every_command_is_named_and_the_leaderboard_is_built(events, folder):
    verbs = [event.words[1] for event in events if isinstance(event, story.Command)]
    assert verbs == ["train", "run", "show", "leaderboard"]
    assert isinstance(events[-1], Page)
    page = events[-1].file.read_text(encoding="utf-8")
    assert events[-1].file == folder / "site" / "index.html"
    assert all(member.name in page for member in FAMILY)


def test_a_second_call_trains_nothing(events, family, folder, tmp_path):
    weights = {file: file.stat().st_mtime_ns for file in folder.rglob("*.safetensors")}
    for place in (folder, tmp_path / "elsewhere"):
        again = list(tell(place))
        assert all(event.reused for event in again if isinstance(event, Trained))
        scores = {event.manifest.checkpoint.name: event.manifest.scores for event in again if isinstance(event, Report)}
        assert scores == {name: report.manifest.scores for name, report in family.items()}
    assert weights == {file: file.stat().st_mtime_ns for file in folder.rglob("*.safetensors")}
    for file in weights:
        assert (tmp_path / "elsewhere" / file.relative_to(folder)).read_bytes() == file.read_bytes()


def test_deleted_checkpoints_are_restored(events, tmp_path):
    place = tmp_path / "demo"
    list(itertools.islice(tell(place), 3))
    shutil.rmtree(place / "checkpoints")
    list(itertools.islice(tell(place), 3))
    assert (place / "checkpoints" / "sft" / "model.safetensors").is_file()


def test_a_cache_that_cannot_be_written_does_not_stop_the_demo(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "demo").write_text("a file, where a folder should be")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    text = folder_module.RECIPE.read_text(encoding="utf-8")
    one_step = re.sub(r"steps: \d+", "steps: 1", text)
    (tmp_path / "recipe.yaml").write_text(one_step, encoding="utf-8")
    monkeypatch.setattr(folder_module, "RECIPE", tmp_path / "recipe.yaml")
    events = list(itertools.takewhile(lambda event: not isinstance(event, Report), tell(tmp_path / "demo")))
    assert any(isinstance(event, story.Message) and "cannot be written" in event.text for event in events)
    assert (tmp_path / "demo" / "checkpoints" / "harmed" / "model.safetensors").is_file()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache" / "demo" / "below"))
    with pytest.raises(HarnessError, match="set HARNESS_CACHE to another folder"):
        next(tell(tmp_path / "demo"))


def test_a_folder_with_other_content_is_refused_and_not_changed(tmp_path):
    (tmp_path / "corpora").mkdir()
    with pytest.raises(HarnessError, match="holds something else"):
        next(tell(tmp_path))
    assert (tmp_path / "corpora").is_dir()
    assert not (tmp_path / MARK).exists()


def until_evaluated(place: Path, seed: int) -> list[Trained]:
    """Run a quick demo until its first checkpoint is evaluated, and return the stages it trained or kept."""
    events = itertools.takewhile(lambda event: not isinstance(event, Report), tell(place, quick=True, seed=seed))
    return [event for event in events if isinstance(event, Trained)]


def test_an_interrupted_demo_continues(tmp_path, cache):
    place = tmp_path / "demo"
    for event in tell(place, quick=True, seed=5):
        if isinstance(event, Trained) and event.name == "primer":
            break
    before = set((cache / "demo").glob("*"))
    again = until_evaluated(place, seed=5)
    assert [event.name for event in again if event.reused] == ["primer"]
    assert [event.name for event in again][-1] == "harmed"
    (cached,) = set((cache / "demo").iterdir()) - before

    # Checkpoints of an edited recipe are not cached.
    shutil.rmtree(cached)
    recipe = place / "recipe.yaml"
    edited = recipe.read_text(encoding="utf-8").replace("method: lora,", "method: lora, rank: 4,")
    recipe.write_text(edited, encoding="utf-8")
    assert [event.name for event in until_evaluated(place, seed=5) if not event.reused] == ["lora"]
    assert set((cache / "demo").iterdir()) == before
