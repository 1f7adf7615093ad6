"""How a family of checkpoints looks side by side in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from harness.leaderboard.comparison import interval
from harness.reports.report import Report, Score

_SHORT = {"exact_match": "exact", "rougeL_jieba": "rouge-L", "citation_f1": "F1", "micro_f1": "F1"}
"""Short names of metrics, for column headings."""


def family_table(reports: Sequence[Report], parents: Mapping[str, str | None]) -> Table:
    """Return a table with rows for chance, each checkpoint and ceiling, and one column per task.

    `parents` names, for each checkpoint, the one it was made from.
    """
    scores = {
        report.manifest.checkpoint.name: [score for score in report.manifest.scores if score.headline and score.primary]
        for report in reports
    }
    first = next(iter(scores.values()))
    table = Table("", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for score in first:
        task, metric = score.task.removeprefix("demo_"), _SHORT.get(score.metric, score.metric)
        table.add_column(f"{task}\n[dim]{metric}[/]", justify="right")
    table.add_row("[dim]chance[/]", *(_bound(score.chance) for score in first), end_section=True)
    for name, row in scores.items():
        parent = scores.get(parents[name] or "", row)
        table.add_row(name, *(cell(score, before) for score, before in zip(row, parent, strict=True)))
    table.add_section()
    table.add_row("[dim]ceiling[/]", *(_bound(score.ceiling) for score in first))
    return table


def cell(score: Score, before: Score) -> str:
    """Return a score above its interval, marked if the interval does not overlap that of `before`."""
    low, high = interval(score)
    low_before, high_before = interval(before)
    mark, style = "", "not dim"
    if low > high_before:
        mark, style = "▲", "green"
    elif high < low_before:
        mark, style = "▼", "red"
    return f"[{style}]{mark}{100 * score.value:.0f}[/]\n[dim]{100 * low:.0f}–{100 * high:.0f}[/]"


def _bound(value: float | None) -> str:
    return "" if value is None else f"[dim]{100 * value:.0f}[/]"
