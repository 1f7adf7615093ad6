"""How a family of checkpoints looks side by side in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from harness.common.console import escape
from harness.leaderboard.comparison import interval
from harness.reports import ledger
from harness.reports.report import Report, Score

_SHORT = {"exact_match": "exact", "rougeL_jieba": "rouge-L", "citation_f1": "F1", "micro_f1": "F1"}
"""Short names of metrics, for column headings."""


def family_table(reports: Sequence[Report], parents: Mapping[str, str | None]) -> Table:
    """Return a table with rows for chance, each checkpoint and the ceiling, and one column per task.

    `parents` maps the name of each checkpoint to the name of the checkpoint from which it was made, or to None.
    """
    doubtful = {
        (report.manifest.checkpoint.name, score.task)
        for report in reports
        for score in report.manifest.scores
        if ledger.of_score(report.manifest, score).is_doubtful
    }
    scores = {
        report.manifest.checkpoint.name: [score for score in report.manifest.scores if score.headline and score.primary]
        for report in reports
    }
    first = next(iter(scores.values()))
    table = Table("", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for score in first:
        task, metric = score.task.removeprefix("demo_"), _SHORT.get(score.metric, score.metric)
        table.add_column(f"{escape(task)}\n[dim]{escape(metric)}[/]", justify="right")
    table.add_row("[dim]chance[/]", *(_bound(score.chance) for score in first), end_section=True)
    for name, row in scores.items():
        parent = scores.get(parents[name] or "", row)
        cells = (cell(*pair, is_doubtful=(name, pair[0].task) in doubtful) for pair in zip(row, parent, strict=True))
        table.add_row(escape(name), *cells)
    table.add_section()
    table.add_row("[dim]ceiling[/]", *(_bound(score.ceiling) for score in first))
    return table


def cell(score: Score, before: Score, *, is_doubtful: bool = False) -> str:
    """Return the text of a score, with its interval on the line below.

    A mark shows that the score is doubtful, or that its interval does not overlap the interval of `before`.
    """
    low, high = interval(score)
    low_before, high_before = interval(before)
    mark, style = "", "not dim"
    if low > high_before:
        mark, style = "▲", "green"
    elif high < low_before:
        mark, style = "▼", "red"
    doubt = ledger.DOUBT if is_doubtful else ""
    return f"[{style}]{mark}{100 * score.value:.0f}{doubt}[/]\n[dim]{100 * low:.0f}–{100 * high:.0f}[/]"


def _bound(value: float | None) -> str:
    return "" if value is None else f"[dim]{100 * value:.0f}[/]"
