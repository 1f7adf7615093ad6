"""How scores by type (of entities, for example) look in a terminal: one table per score; long tables are cut."""

from __future__ import annotations

from rich.table import Table

from harness.common.console import Console, escape
from harness.metrics.extraction.tuples import Counts
from harness.reports.breakdown import breakdowns
from harness.reports.report import Report

SHOWN = 10
"""How many types are shown per score, the most frequent ones first; the data set CLUENER has this many types."""

NUMBERS = 64
"""Width, in characters, of the numbers in a row; the name of the type gets the rest of the terminal."""


def show(out: Console, report: Report, *, everything: bool) -> None:
    """Print scores by type.

    Unless `everything`, print at most `SHOWN` types per score; if several tasks have scores by type, print only which
    command shows them.
    """
    scores = list(breakdowns(report))
    if not everything and len({score.task for score in scores}) > 1:
        out.print(escape(f"{len(scores)} scores by type: harness show {report.folder} --all"), highlight=False)
        return
    for score in scores:
        table = Table()
        table.add_column("type", no_wrap=True, max_width=max(16, out.width - NUMBERS))
        for heading in ("F1", "precision", "recall", "right", "predicted", "gold"):
            table.add_column(heading, justify="right", no_wrap=True)
        rows = list(score.types.items())[: None if everything else SHOWN]
        for name, counts in rows:
            table.add_row(escape(name), *_shares(counts), *(f"{count:,}" for count in counts))
        out.print(escape(f"{score.task}, {score.metric} by type"), highlight=False)
        out.print(table)
        if hidden := len(score.types) - len(rows):
            out.print(escape(f"… {hidden:,} more types: harness show {report.folder} --all"), highlight=False)


def _shares(counts: Counts) -> list[str]:
    """Return F1, precision and recall as texts; a dash for a value with the denominator 0."""
    shares = (
        (counts.f1, counts.predicted + counts.expected),
        (counts.precision, counts.predicted),
        (counts.recall, counts.expected),
    )
    return [f"{100 * share:.1f} %" if denominator else "–" for share, denominator in shares]
