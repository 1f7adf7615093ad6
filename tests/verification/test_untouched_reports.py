"""Every check of an untouched report holds, whatever kind of task it has and wherever its answers come from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints.reference import parse
from harness.gating import blocks
from harness.gating.sequential import gate_in_blocks
from harness.recorded import ratings
from harness.recorded.score import Scoring, score
from harness.reports.report import Report, read
from harness.runs.sweep import run
from harness.verdicts import comparable
from harness.verdicts.policy import Policy
from harness.verification.checks import FAILS, HOLDS, UNKNOWN, Verification
from harness.verification.settings import Settings
from harness.verification.verify import verify
from support import every_kind, tiny
from support.every_kind import TASKS, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return every_kind.build(tmp_path_factory.mktemp("world"))


def verified(world: World, report: Report, **settings: Any) -> Verification:
    include = (world.folder / "tasks",)
    return verify(report.folder, Settings(**{"data": world.data, "include": include, **settings}))


def results(verification: Verification, name: str) -> dict[str | None, str]:
    return {check.task: check.result for check in verification.checks if check.name == name}


def assert_holds(verification: Verification, *, unknown: tuple[str, ...] = ("answers",)) -> None:
    """Assert that every check holds, except that those called `unknown` could not be made."""
    other = [check for check in verification.checks if check.result == FAILS]
    assert not other, other
    missing = [check for check in verification.checks if check.result == UNKNOWN and check.name not in unknown]
    assert not missing, missing
    assert verification.holds


def test_a_run_on_every_kind_of_task_holds(world: World, tmp_path: Path) -> None:
    report = world.answered(tmp_path, *TASKS, "gsm8k", *world.own, comparisons=("rouge", "bleu"), num_fewshot=1)
    verification = verified(world, report, files=world.own)
    assert_holds(verification)
    tasks = set(report.manifest.tasks)
    assert len(tasks) == 10
    for name in ("samples", "documents", "prompts", "scores"):
        assert results(verification, name) == dict.fromkeys(tasks, HOLDS)
    assert results(verification, "averages") == dict.fromkeys(tasks | {"pick"}, HOLDS)


def test_chat_prompts_of_an_adapter_are_rendered_by_its_checkpoint(world: World, tmp_path: Path) -> None:
    lora = tiny.lora(tmp_path / "lora", world.base)
    chat = {"apply_chat_template": True, "system_instruction": "Be brief.", "limit": 2}
    report = world.answered(tmp_path, "pick_red", "say", model=f"{world.base},adapter={lora}", **chat)
    assert_holds(verified(world, report))
    moved = tmp_path / "moved"
    lora.rename(moved)
    gone = verified(world, report)
    assert gone.holds
    assert results(gone, "checkpoint") == {None: UNKNOWN}
    assert results(gone, "prompts") == {"pick_red": UNKNOWN, "say": UNKNOWN}
    assert results(gone, "scores") == {"pick_red": HOLDS, "say": HOLDS}
    assert_holds(verified(world, report, model=f"{world.base},adapter={moved}"))


def test_a_report_without_paths_holds_where_the_checkpoint_is_named(world: World, tmp_path: Path) -> None:
    report = world.answered(tmp_path, "pick_red", limit=1, keep_paths=False)
    verification = verified(world, report)
    assert verification.holds
    assert results(verification, "checkpoint") == {None: UNKNOWN}
    assert_holds(verified(world, report, model=str(world.base)))


def test_a_data_set_at_an_absolute_path_is_the_same_everywhere(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "zhang san" / "mine"
    folder.mkdir(parents=True)
    text = (world.folder / "tasks" / "red.yaml").read_text(encoding="utf-8")
    text = text.replace("dataset_path: me/caravans", f"dataset_path: {world.data / 'me' / 'caravans'}")
    (folder / "far.yaml").write_text(text.replace("pick_red", "far"), encoding="utf-8")
    reports = []
    for place, keep_paths in ((tmp_path, False), (world.folder, False), (Path("/"), True)):
        monkeypatch.chdir(place)
        options = replace(world.options(tmp_path / "out", "far", keep_paths=keep_paths), include=(folder,))
        reports += run([parse(str(world.base))], options)
    first, *others = (read(report.folder) for report in reports)
    assert first.manifest.tasks["far"].dataset == "…/caravans:red"
    for other in others:
        assert not comparable.differences(*(comparable.conditions(item, "far") for item in (first, other)))
    for report in reports:
        verification = verified(world, report, include=(folder,), model=str(world.base))
        assert_holds(verification)
    result = gate_in_blocks(
        parse(str(world.base)), first, replace(options, output=tmp_path / "gate"), Policy(margin=50)
    )
    assert result.report.manifest.tasks["far"].dataset == "…/caravans:red"


def test_a_note_on_answers_scored_again_names_no_folder(world: World, tmp_path: Path) -> None:
    report = world.answered(tmp_path / "zhang san", "pick_red", limit=1)
    include = (world.folder / "tasks",)
    (again,) = score(Scoring(report.folder, tmp_path / "again", data=world.data, include=include))
    text = "".join((again.folder / name).read_text(encoding="utf-8") for name in ("manifest.json", "results.json"))
    assert f"scored again from …/{report.folder.name}" in text
    assert str(tmp_path) not in text
    assert "san" not in text.replace("sandbox", "")


def test_each_part_of_a_checkpoint_that_is_missing_is_asked_for_by_its_key(world: World, tmp_path: Path) -> None:
    lora = tiny.lora(tmp_path / "lora", world.base)
    report = world.answered(tmp_path, "pick_red", model=f"{world.base},adapter={lora}", limit=1, keep_paths=False)
    (check,) = (item for item in verified(world, report, model=str(world.base)).checks if item.name == "checkpoint")
    assert check.result == UNKNOWN
    assert "name it with adapter= in --model" in check.detail
    assert_holds(verified(world, report, model=f"{world.base},adapter={lora}"))


def test_a_gate_that_stopped_early_holds(world: World, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(every_kind.Engine, "decode", every_kind.scripted)
        options = world.options(tmp_path, "pick", "say")
        with blocks.open_blocks(parse(str(world.base)), options) as evaluation:
            evaluation.evaluate(["pick", "say"], 3)
            report = evaluation.write_report()
    assert report.manifest.tasks["say"].documents < 6
    assert_holds(verified(world, report))


def test_recorded_predictions_hold(world: World, tmp_path: Path) -> None:
    file = tmp_path / "gsm8k.jsonl"
    rows = [{"id": place, "prediction": f"<think>{place}</think>#### {place}"} for place in range(6)]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (report,) = score(Scoring(file, tmp_path / "scored", data=world.data, think="none", keep_paths=True))
    assert_holds(verified(world, report), unknown=("prompts",))
    rows[3]["prediction"] = "#### 4"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert results(verified(world, report), "checkpoint") == {None: FAILS}
    file.unlink()
    assert results(verified(world, report), "checkpoint") == {None: UNKNOWN}


def test_predictions_with_references_of_their_own_hold(world: World, tmp_path: Path) -> None:
    file = tmp_path / "m" / "generated_predictions.txt"
    file.parent.mkdir()
    lines = ({"labels": row["summary"], "predict": "简约的上衣。"} for row in every_kind.COPY)
    file.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    (report,) = score(Scoring(file, tmp_path / "scored", keep_paths=True))
    assert_holds(verified(world, report), unknown=("prompts",))
    file.unlink()
    verification = verified(world, report)
    assert verification.holds
    assert results(verification, "scores") == {"adgen_chatglm": UNKNOWN}


def test_a_report_that_was_scored_again_holds(world: World, tmp_path: Path) -> None:
    report = world.answered(tmp_path, "pick", "say", limit=3)
    include = (world.folder / "tasks",)
    (again,) = score(Scoring(report.folder, tmp_path / "again", data=world.data, include=include, keep_paths=True))
    assert_holds(verified(world, again))


def test_ratings_hold(tmp_path: Path, world: World) -> None:
    file = tmp_path / "advice.jsonl"
    rows = [
        {"id": item, "criterion": "accuracy", "rating": (item * 7 + ord(rater)) % 5, "rater": rater}
        for item in range(4)
        for rater in "AB"
    ]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (report,) = ratings.score(file, tmp_path / "rated", task=None, name=None, keep_going=False)
    verification = verified(world, report)
    assert_holds(verification, unknown=("averages", "checkpoint"))
    assert {check.detail for check in verification.checks if check.name == "averages" and check.result == UNKNOWN} == {
        "accuracy_alpha,none: the raters' single ratings are not at hand"
    }


def test_own_files_that_are_not_named_are_asked_for(world: World, tmp_path: Path) -> None:
    verification = verified(world, world.answered(tmp_path, *world.own[1:], "pick_red"))
    assert verification.holds
    assert results(verification, "scores") == {"choices.jsonl": UNKNOWN, "ppl_story": UNKNOWN, "pick_red": HOLDS}
    details = {check.detail for check in verification.checks if check.name == "scores" and check.result == UNKNOWN}
    assert details == {"it was made of a file: name that with --task"}


def test_without_data_numbers_still_hold(world: World, tmp_path: Path) -> None:
    report = world.answered(tmp_path, "pick_red", "adgen")
    verification = verified(world, report, data=None)
    assert verification.holds
    assert results(verification, "scores") == {"pick_red": UNKNOWN, "adgen": UNKNOWN}
    assert results(verification, "averages")["pick_red"] == HOLDS
