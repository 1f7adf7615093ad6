"""How scores by type look in a terminal: a table a score, long ones cut."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.metrics.extraction.tuples import Counts
from harness.reports.breakdown import breakdowns
from harness.reports.report import Report

SHOWN = 10
"""So many types of a score are shown, the most wanted; CLUENER has as many."""

NUMBERS = 61
"""So many columns of a terminal the numbers of a row take; its type has the rest."""


def show(out: Console, report: Report, *, everything: bool) -> None:
    """Print scores by type; those of several tasks, and more than `SHOWN` types, only if `everything` is wanted."""
    found = list(breakdowns(report))
    if not everything and len({one.task for one in found}) > 1:
        out.print(f"{len(found)} scores by type: harness show {report.folder} --all", markup=False, highlight=False)
        return
    for one in found:
        table = Table()
        table.add_column("type", no_wrap=True, max_width=max(16, out.width - NUMBERS))
        for heading in ("F1", "precision", "recall", "right", "said", "wanted"):
            table.add_column(heading, justify="right", no_wrap=True)
        shown = list(one.types.items())[: None if everything else SHOWN]
        for name, counts in shown:
            table.add_row(escape(_one_line(name)), *_shares(counts), *(f"{count:,}" for count in counts))
        out.print(f"{one.task}, {one.metric} by type", markup=False, highlight=False)
        out.print(table)
        if len(one.types) > len(shown):
            hidden = len(one.types) - len(shown)
            out.print(f"… {hidden:,} more types: harness show {report.folder} --all", markup=False, highlight=False)


def _one_line(name: str) -> str:
    """Return a type, which may be anything that was said, without what would break its row or steer the terminal."""
    return "".join(mark if mark.isprintable() else " " for mark in name)


def _shares(counts: Counts) -> list[str]:
    of = (
        (counts.f1, counts.predicted + counts.expected),
        (counts.precision, counts.predicted),
        (counts.recall, counts.expected),
    )
    return [f"{100 * share:.1f} %" if below else "–" for share, below in of]
