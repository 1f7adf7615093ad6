"""Descriptions of different conditions; the leaderboard's tests cover most of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.verdicts.comparable import conditions, differences, version_note
from support.answered import Answers, report


def reasons(root: Path, mine: Answers, other: Answers, **protocol: Any) -> list[tuple[str, str]]:
    sides = report(root / "a", "cand", {"law": mine}, protocol=protocol), report(root / "b", "base", {"law": other})
    return [tuple(item) for item in differences(*(conditions(side, "law") for side in sides))]  # type: ignore[misc]


def test_equal_conditions_do_not_differ(tmp_path: Path) -> None:
    assert reasons(tmp_path, Answers([1, 0]), Answers([0, 0])) == []


def test_an_early_stop_leads_to_different_documents(tmp_path: Path) -> None:
    result = reasons(tmp_path, Answers([1, 0]), Answers([0, 0, 1]), shuffled=7)
    assert result == [
        ("different documents", "2 documents instead of 3, because a gate stopped when its verdict was clear")
    ]


def test_a_limit_leads_to_different_documents(tmp_path: Path) -> None:
    cut = Answers([1, 0], info={"documents_in_split": 3})
    assert reasons(tmp_path, cut, Answers([0, 0, 1]), limit=2) == [
        ("different documents", "2 documents instead of 3, because of limit 2")
    ]


def test_other_versions_are_noted_and_other_machines_are_not(tmp_path: Path) -> None:
    manifest = report(tmp_path, "base", {"law": Answers([1, 0])}).manifest
    known = manifest.model_copy(update={"environment": {"torch": "2.12.0", "peft": "0.20", "cpu": "A"}})
    other = known.model_copy(update={"environment": {"torch": "2.13.0", "gpu": "H", "cpu": "B"}, "harness": "0.2.0"})
    assert version_note(known, known) == ""
    assert version_note(known, other) == (
        "the candidate was evaluated with other versions than the baseline: harness 0.2.0 instead of 0.1.0, "
        "torch 2.13.0 instead of 2.12.0"
    )
