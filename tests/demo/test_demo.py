"""The demo: what its invented world promises, and that its checkpoints learn what they are taught."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from harness.demo import training
from harness.demo.story import BASE_LESSONS, LORA_LESSONS, MARK, Command, Page, tell
from harness.demo.world import KINDS, LANDS, SKILLS, World, alphabet
from harness.errors import HarnessError
from harness.runs.report import Report, Score


@pytest.fixture(scope="module", params=[0, 1, 2])
def world(request) -> World:
    return World(request.param)


def test_no_test_villager_is_read_about(world):
    lessons = "\n".join(text for skills in (BASE_LESSONS, LORA_LESSONS) for text in world.lessons(skills, 10_000))
    passages = [document.passage for skill in SKILLS for document in world.tests[skill]]
    assert len(set(passages)) == len(passages)
    assert not [passage for passage in passages if passage in lessons]


def test_a_base_is_never_told_what_land_a_town_lies_in(world):
    for lesson in world.lessons(BASE_LESSONS, 5_000):
        asked = lesson.partition("问：")[2]
        assert "哪一带" not in asked
        assert not [town for towns in LANDS.values() for town in towns if town in asked]


def test_answers_are_right(world):
    # Found anew from the sentence alone: the one kind (land) that has a word in it.
    for skill, words in (("goods", KINDS), ("towns", LANDS)):
        for document in world.tests[skill]:
            fitting = [one for one, members in words.items() if any(word in document.passage for word in members)]
            assert fitting == [document.choices[document.answer]]
            assert sorted(document.choices) == sorted(words)


def test_a_constant_answer_is_at_chance(world):
    for skill in SKILLS:
        documents = world.tests[skill]
        for counts in (
            Counter(document.answer for document in documents),
            Counter(document.choices[document.answer] for document in documents),
        ):
            assert list(counts.values()) == [len(documents) / 4] * 4


def test_a_seed_makes_a_world():
    assert World(3).tests == World(3).tests
    assert World(3).lessons(SKILLS, 50) == World(3).lessons(SKILLS, 50)
    assert World(3).tests != World(4).tests


def test_every_character_is_a_piece(world):
    pieces = training.tokenizer(alphabet())
    for text in world.lessons(SKILLS, 100):
        ids = pieces(text)["input_ids"]
        assert len(ids) == len(text)
        assert pieces.unk_token_id not in ids
        assert pieces.decode(ids) == text
    assert pieces("\n鑫")["input_ids"] == [pieces.unk_token_id] * 2


def test_the_story(tmp_path: Path):
    output = tmp_path / "demo"
    events = list(tell(output, steps=120))
    untrained, base, lora = (event for event in events if isinstance(event, Report))
    assert [one.manifest.checkpoint.name for one in (untrained, base, lora)] == ["untrained", "base", "lora"]
    assert apart(untrained, base, "demo_goods")
    assert apart(base, lora, "demo_towns")
    assert apart(untrained, lora, "demo_goods"), "the LoRA forgot what the base knows"
    assert score(untrained, "demo_goods").low <= 0.25 <= score(untrained, "demo_goods").high
    assert score(base, "demo_towns").low < 0.35, "the base was never told about towns"
    assert {command.words[1] for command in events if isinstance(command, Command)} == {"run", "show", "leaderboard"}
    assert isinstance(events[-1], Page)
    assert "lora" in events[-1].file.read_text(encoding="utf-8")

    weights = {file: file.stat().st_mtime_ns for file in output.rglob("*.safetensors")}
    assert len(weights) == 3
    again = list(tell(output, steps=120))
    assert weights == {file: file.stat().st_mtime_ns for file in output.rglob("*.safetensors")}
    scores = [[report.manifest.scores for report in told if isinstance(report, Report)] for told in (events, again)]
    assert scores[0] == scores[1]


def test_a_folder_that_is_not_the_demos_is_left_alone(tmp_path: Path):
    (tmp_path / "data").mkdir()
    with pytest.raises(HarnessError, match="holds something else"):
        next(tell(tmp_path, steps=1))
    assert (tmp_path / "data").is_dir()
    assert not (tmp_path / MARK).exists()


def score(report: Report, task: str) -> Score:
    return next(one for one in report.manifest.scores if one.task == task)


def apart(worse: Report, better: Report, task: str) -> bool:
    """Tell whether `better` is above `worse` by more than their intervals."""
    return score(worse, task).high < score(better, task).low
