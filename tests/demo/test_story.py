"""The demo as a program: its events, its folder, its cache. The trained family is in `tests/demo/test_family.py`."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from harness.demo import story
from harness.demo.folder import MARK
from harness.demo.story import FAMILY, Page, tell
from harness.errors import HarnessError
from harness.reports.report import Report
from harness.training.stages import Trained


@pytest.fixture(autouse=True)
def _cached(_own_cache, demo_cache, monkeypatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(demo_cache))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo") / "demo"


@pytest.fixture(scope="module")
def events(demo_cache, folder) -> list[story.Event]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(demo_cache))
        return list(tell(folder, quick=True))


@pytest.fixture(scope="module")
def family(events) -> dict[str, Report]:
    return {event.manifest.checkpoint.name: event for event in events if isinstance(event, Report)}


def test_every_command_is_named_and_the_leaderboard_is_built(events, folder):
    verbs = [event.words[1] for event in events if isinstance(event, story.Command)]
    assert verbs == ["train", "run", "show", "leaderboard"]
    assert isinstance(events[-1], Page)
    page = events[-1].file.with_name("table.html").read_text(encoding="utf-8")
    assert events[-1].file == folder / "site" / "index.html"
    assert all(member.name in page for member in FAMILY)


def beginning(place: Path, reports: int) -> list[story.Event]:
    """Return the events of a quick demo up to its first `reports` reports."""
    events: list[story.Event] = []
    for event in tell(place, quick=True):
        events.append(event)
        if sum(isinstance(event, Report) for event in events) == reports:
            break
    return events


@pytest.mark.oracle
def test_a_second_call_trains_nothing(events, family, folder, tmp_path):
    weights = {file: file.stat().st_mtime_ns for file in folder.rglob("*.safetensors")}
    for place, evaluated in ((folder, len(FAMILY)), (tmp_path / "elsewhere", 2)):
        again = beginning(place, evaluated)
        assert all(event.reused for event in again if isinstance(event, Trained))
        scores = {event.manifest.checkpoint.name: event.manifest.scores for event in again if isinstance(event, Report)}
        assert len(scores) == evaluated
        assert scores == {name: family[name].manifest.scores for name in scores}
    assert weights == {file: file.stat().st_mtime_ns for file in folder.rglob("*.safetensors")}
    for file in weights:
        assert (tmp_path / "elsewhere" / file.relative_to(folder)).read_bytes() == file.read_bytes()


def test_deleted_checkpoints_are_restored(events, tmp_path):
    place = tmp_path / "demo"
    list(itertools.islice(tell(place, quick=True), 3))
    shutil.rmtree(place / "checkpoints")
    list(itertools.islice(tell(place, quick=True), 3))
    assert (place / "checkpoints" / "sft" / "model.safetensors").is_file()


@pytest.mark.oracle
def test_a_cache_that_cannot_be_written_does_not_stop_the_demo(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "demo").write_text("a file, where a folder should be")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    events = list(itertools.takewhile(lambda event: not isinstance(event, Report), tell(tmp_path / "demo", quick=True)))
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


def test_an_interrupted_demo_continues(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("HARNESS_CACHE", str(cache))
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
    edited = recipe.read_text(encoding="utf-8").replace("method: lora,", "method: lora, r: 4,")
    recipe.write_text(edited, encoding="utf-8")
    assert [event.name for event in until_evaluated(place, seed=5) if not event.reused] == ["lora"]
    assert set((cache / "demo").iterdir()) == before
