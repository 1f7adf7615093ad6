"""Chance and ceiling on the leaderboard's page: column heads, strokes, labels, legend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.invented_reports import SUBJECTS, MakeReport, average, checkpoint, one_task, score, task_info
from support.pages import words, write


def strokes(cell: Any, kind: str) -> list[tuple[str, str]]:
    return [(line.get("x1"), line.get("x2")) for line in cell.xpath(f".//*[@class='{kind}']")]


def standing(cell: Any) -> list[str]:
    return [words(label) for label in cell.xpath("span[@class='standing']")]


def bounded(report: MakeReport, name: str, value: float, half: float | None = 0.02, **changes: Any) -> Any:
    fields = {key: changes.pop(key) for key in ("chance", "ceiling", "fraction", "higher_is_better") if key in changes}
    info = changes.pop("info", task_info("copa", 100))
    return report(checkpoint(name), {"copa": info}, [score("copa", value, half, info.documents, **fields)], **changes)


def test_chance_and_ceiling_are_in_the_head_and_drawn_in_every_cell(report: MakeReport, tmp_path: Path) -> None:
    page = write(tmp_path, *(bounded(report, str(v), v, chance=1 / 3, ceiling=0.96) for v in (0.5, 0.9)))
    assert page.head("copa").replace("\xa0", " ").endswith("0-shot, n = 100 chance 33.3, ceiling 96")
    for row in (0, 1):
        assert strokes(page.cell(row, "copa"), "chance") == [("33.33%", "33.33%")]
        assert strokes(page.cell(row, "copa"), "ceiling") == [("96.00%", "96.00%")]
        assert "chance 33.3, ceiling 96" in page.cell(row, "copa").get("title").replace("\xa0", " ")
    legend = words(page.root.xpath("//div[@class='legend']")[0])
    assert "Dashed: chance" in legend
    assert "Dotted: the ceiling" in legend


def test_without_chance_and_ceiling_nothing_is_drawn_or_explained(report: MakeReport, tmp_path: Path) -> None:
    page = write(tmp_path, one_task(report, "a", 0.1))
    assert (strokes(page.cell(0, "copa"), "chance"), strokes(page.cell(0, "copa"), "ceiling")) == ([], [])
    assert "chance" not in words(page.root)
    assert "ceiling" not in words(page.root)


def test_without_a_ceiling_only_chance_is_explained(report: MakeReport, tmp_path: Path) -> None:
    page = write(tmp_path, bounded(report, "a", 0.5, chance=0.25))
    assert page.head("copa").replace("\xa0", " ").endswith("n = 100 chance 25")
    assert "ceiling" not in words(page.root)


@pytest.mark.parametrize(
    ("value", "half", "higher", "label"),
    [
        (0.28, 0.02, True, []),
        (0.27, 0.02, True, ["at chance"]),
        (0.24, 0.02, True, ["at chance"]),
        (0.20, 0.02, True, ["worse than chance"]),
        (0.20, None, True, ["at chance"]),
        (0.26, None, True, []),
        (0.20, 0.02, False, []),
        (0.24, 0.02, False, ["at chance"]),
        (0.30, 0.02, False, ["worse than chance"]),
    ],
)
def test_a_score_whose_interval_reaches_chance_is_marked(
    report: MakeReport, tmp_path: Path, value: float, half: float | None, higher: bool, label: list[str]
) -> None:
    cell = write(tmp_path, bounded(report, "a", value, half, chance=0.25, higher_is_better=higher)).cell(0, "copa")
    assert standing(cell) == label
    assert [word for word in ("at chance", "worse than chance") if word in cell.get("title")] == label


def test_the_scale_of_other_units_includes_the_ceiling(report: MakeReport, tmp_path: Path) -> None:
    page = write(tmp_path, bounded(report, "a", 18.0, 1.0, chance=5.0, ceiling=41.5, fraction=False))
    assert strokes(page.cell(0, "copa"), "chance") == [("10.00%", "10.00%")]
    assert strokes(page.cell(0, "copa"), "ceiling") == [("83.00%", "83.00%")]


def test_an_older_report_of_the_same_questions_takes_chance_from_newer_ones(report: MakeReport, tmp_path: Path) -> None:
    limited = task_info("copa", 40, documents_in_split=100)
    page = write(
        tmp_path,
        bounded(report, "old", 0.24),
        bounded(report, "new", 0.9, chance=0.25),
        bounded(report, "old and limited", 0.24, info=limited, protocol={"limit": 40}),
    )
    assert [standing(page.cell(row, "copa")) for row in range(3)] == [["at chance"], [], []]
    assert [len(strokes(page.cell(row, "copa"), "chance")) for row in range(3)] == [1, 1, 0]


def test_limited_runs_have_the_chance_of_their_own_documents(report: MakeReport, tmp_path: Path) -> None:
    limited = task_info("copa", 40, documents_in_split=100)
    page = write(
        tmp_path,
        bounded(report, "a", 0.5, chance=0.25),
        bounded(report, "b", 0.5, chance=0.5, info=limited, protocol={"limit": 40}),
    )
    assert [strokes(page.cell(row, "copa"), "chance")[0][0] for row in (0, 1)] == ["25.00%", "50.00%"]
    assert [standing(page.cell(row, "copa")) for row in (0, 1)] == [[], ["at chance"]]


def test_lines_of_detail_tables_state_their_chance(report: MakeReport, tmp_path: Path) -> None:
    tasks = {name: task_info(name, 20, 5) for name in SUBJECTS}
    parts = [score(name, 0.5, 0.1, 20, headline=False, chance=0.25) for name in SUBJECTS]
    whole = average("ceval", parts, headline=True)
    page = write(tmp_path, report(checkpoint("a"), tasks, [whole, *parts], groups={"ceval": list(SUBJECTS)}))
    assert page.section("ceval")[0][1:] == ["20", "50.0 40.0–60.0"]
    (title,) = page.root.xpath("//details[@id='task-ceval']//tr[th[contains(., 'law')]]/td[last()]/@title")
    assert "chance 25" in title.replace("\xa0", " ")
