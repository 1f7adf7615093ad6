"""The leaderboard's page with recorded predictions and ratings, alone and beside runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.recorded import ratings
from support.invented_reports import MakeReport, checkpoint, one_task, score, task_info
from support.pages import words, write

UNKNOWN = dict.fromkeys(("architecture", "dtype", "device", "parameters", "max_length"))


def recorded(report: MakeReport, name: str, value: float, wording: str = "") -> Any:
    info = task_info("copa", 100, wording=wording, num_fewshot=None)
    model = checkpoint(name, kind="recorded", **UNKNOWN)
    return report(model, {"copa": info}, [score("copa", value)], protocol={"recorded": "jsonl"})


def test_a_page_of_recorded_predictions_only(report: MakeReport, tmp_path: Path) -> None:
    page = write(tmp_path, recorded(report, "a", 0.4), recorded(report, "b", 0.6))
    assert page.names == ["a", "b"]
    assert page.values("copa") == ["40.0", "60.0"]
    assert page.head("copa") == "copa acc, % ↑ (higher is better) n = 100"
    assert "recorded: jsonl" in page.card(0)
    assert "None" not in page.text


def test_beside_runs_recorded_predictions_are_marked_if_prompts_differ(report: MakeReport, tmp_path: Path) -> None:
    runs = [one_task(report, name, 0.5) for name in "ab"]
    same, other = recorded(report, "c", 0.4), recorded(report, "d", 0.6, wording="another")
    page = write(tmp_path, *runs, same, other)
    assert "recorded" not in page.cell(2, "copa").get("title")
    assert "different prompts: predictions recorded elsewhere (jsonl)" in page.cell(3, "copa").get("title")


def test_the_number_of_cut_prompts_is_unknown_for_recorded_predictions(report: MakeReport, tmp_path: Path) -> None:
    runs = [one_task(report, name, 0.5, info=task_info("copa", 100, truncated=7)) for name in "ab"]
    page = write(tmp_path, *runs, recorded(report, "c", 0.4))
    title = page.cell(2, "copa").get("title")
    assert "7 prompts cut to fit the context; unknown for the recorded predictions" in title
    assert "instead of" not in title


def test_ratings_have_a_column_of_their_own(report: MakeReport, tmp_path: Path) -> None:
    rows = [
        {"id": item, "criterion": "accuracy", "rating": item + place, "rater": rater, "model": "sft"}
        for item in range(3)
        for place, rater in enumerate("AB")
    ]
    file = tmp_path / "advice.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    [rated] = ratings.score(file, tmp_path / "rated", task=None, name=None, keep_going=False)
    page = write(tmp_path, one_task(report, "sft", 0.5), rated)
    assert page.columns == ["Checkpoint", "advice", "copa", "First run"]
    assert words(page.cell(0, "advice")) == "–"
    assert words(page.cell(1, "advice")).startswith("1.500")
    assert [name.split()[0] for name in page.names] == ["sft", "sft"], "a rated model is known by name only"
    [line] = page.section("advice")  # its other number, the agreement of the raters
    assert "0.5455" in line
