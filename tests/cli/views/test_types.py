"""Scores by type in a terminal: ten types of one task, or with `everything` all types of all tasks."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.cli.views import types
from harness.common.console import Console
from harness.metrics.extraction.tuples import Counts
from harness.reports.breakdown import Breakdown

EVENTS = Breakdown("duee", "event_macro_f1", {f"类型{n}": Counts(1, 2, 20 - n) for n in range(13)})
ARGUMENTS = Breakdown("duee", "argument_macro_f1", {"[b]类型": Counts(0, 0, 3)})
NAMES = Breakdown("cluener", "macro_f1", {"姓名": Counts(1, 1, 1)})


@pytest.fixture
def shown(monkeypatch):
    def show(*breakdowns: Breakdown, everything: bool = False) -> str:
        monkeypatch.setattr(types, "breakdowns", lambda report: iter(breakdowns))
        out = Console(width=120, record=True, file=io.StringIO())
        types.show(out, SimpleNamespace(folder=Path("reports/base")), everything=everything)
        return out.export_text()

    return show


def test_a_report_without_types_has_no_tables(shown):
    assert shown() == ""


def test_the_ten_most_frequent_types_of_a_score_are_shown(shown):
    text = shown(EVENTS, ARGUMENTS)
    assert "duee, event_macro_f1 by type" in text
    assert "类型9 " in text
    assert "类型10" not in text
    assert "… 3 more types: harness show reports/base --all" in text
    [line] = [line for line in text.splitlines() if "[b]类型" in line]
    assert line.replace("│", " ").split() == ["[b]类型", "0.0", "%", "–", "0.0", "%", "0", "0", "3"]


def test_everything_shows_all_types(shown):
    text = shown(EVENTS, everything=True)
    assert "类型12" in text
    assert "more types" not in text


def test_several_tasks_get_one_line(shown):
    text = shown(EVENTS, ARGUMENTS, NAMES)
    assert text == "3 scores by type: harness show reports/base --all\n"
    assert "cluener, macro_f1 by type" in shown(EVENTS, ARGUMENTS, NAMES, everything=True)


def test_a_type_that_a_checkpoint_invented_stays_on_one_line(shown):
    text = shown(
        Breakdown("cluener", "macro_f1", {"地址": Counts(1, 1, 1), "地\n\x1b[31m址" + "长" * 400: Counts(0, 1, 0)})
    )
    [row] = [line for line in text.splitlines() if "31m" in line]
    assert row.startswith("│ 地 �[31m址长长")
    assert row.replace("│", " ").split()[-8:] == ["0.0", "%", "0.0", "%", "–", "0", "1", "0"]
    assert "…" in row
    assert len(text.splitlines()) == 7
