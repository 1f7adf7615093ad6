"""How comparisons and verdicts look in a terminal, from 80 columns on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli.views.tables import ROOMY
from harness.reports.calibration import Calibration
from harness.reports.report import CheckpointInfo
from harness.verdicts.compare import Comparison, Refusal
from harness.verdicts.gate import Verdict
from harness.verdicts.texts import ComparisonsText, ComparisonText, JudgementText, OutcomeText, ScoreText

WIDE = 140
"""Where a terminal is narrower, some cells take two lines."""

STYLES: dict[Verdict, str] = {"passed": "green", "regressed": "bold red", "inconclusive": "yellow"}


def show_outcome(out: Console, text: OutcomeText) -> None:
    """Print a gate's table, the remarks on it, and last its verdict in one sentence."""
    outcome = text.outcome
    _title(out, outcome.candidate, outcome.baseline)
    out.print(_table(out, [_gated(out, row) for row in text.rows]))
    for line in (text.direction, *text.remarks):
        if line:
            _say(out, line)
    said = plain(text.sentence).removeprefix(outcome.verdict)
    out.print(f"[{STYLES[outcome.verdict]}]{outcome.verdict}[/]{escape(said)}", highlight=False, soft_wrap=True)


def show_calibration(out: Console, found: Calibration) -> None:
    """Print how often each number of a checkpoint differs from itself."""
    out.print(f"[bold]{escape(plain(found.checkpoint))}[/] against itself: {', '.join(found.again)}", highlight=False)
    table = Table("task", "metric")
    for heading in ("documents", "asked again", "flips", "flip rate"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found.rates:
        name = one.metric + ("" if one.filter == "none" else f" ({one.filter})")
        counts = (f"{one.documents:,}", f"{one.repeats} times", f"{one.changed:,}", f"{one.rate:.2%}")
        table.add_row(escape(plain(one.task)), escape(plain(name)), *counts)
    out.print(table)


def show_compared(
    out: Console, baseline: CheckpointInfo, candidate: CheckpointInfo, results: Sequence[Comparison | Refusal]
) -> None:
    """Print how a candidate compares with the baseline, and the scores that cannot be compared."""
    _title(out, candidate, baseline)
    text = ComparisonsText.of(results)
    if text.rows:
        out.print(_table(out, [_compared(out, row) for row in text.rows]))
    for line in (text.direction, *text.remarks):
        if line:
            _say(out, line)


def plain(text: str) -> str:
    """Return `text` on one line, without what a terminal would obey."""
    return "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in " ".join(text.split()))


def _title(out: Console, candidate: CheckpointInfo, baseline: CheckpointInfo) -> None:
    names = [f"[bold]{escape(plain(one.name))}[/] ({one.fingerprint[:12]})" for one in (candidate, baseline)]
    out.print(" against ".join(names), highlight=False)


class Cell(NamedTuple):
    """What a row says under a heading; in a narrow terminal `second` stands below `first`, else beside it."""

    heading: str
    first: str
    under: str = ""
    second: str = ""
    left: bool = False


def _table(out: Console, rows: Sequence[Sequence[Cell]]) -> Table:
    """Return a table of `rows`, all of which have the same headings."""
    table, narrow = Table(), out.width < WIDE
    for cell in rows[0]:
        for heading in (
            (f"{cell.heading}\n{cell.under}".strip(),) if narrow else filter(None, (cell.heading, cell.under))
        ):
            table.add_column(
                heading,
                justify="left" if cell.left else "right",
                no_wrap=not (cell.left and cell.under),
                overflow="fold",
            )
    for row in rows:
        cells = []
        for cell in row:
            if not cell.under:
                cells.append(cell.first)
            elif narrow:
                cells.append(f"{cell.first}\n[dim]{cell.second}[/]")
            else:
                cells += [cell.first, cell.second]
        table.add_row(*cells)
    return table


def _numbers(out: Console, score: ScoreText, needed: str) -> list[Cell]:
    cells = [
        Cell("task", escape(plain(score.task)), "metric", escape(plain(score.metric)), left=True),
        Cell("baseline", score.baseline),
        Cell("candidate", score.candidate),
        Cell("difference", score.difference, "95 % interval", score.interval),
        Cell("lost", score.lost, "gained", score.gained),
        Cell("n", score.documents, "needed", needed),
    ]
    return cells if out.width >= ROOMY else [cell for cell in cells if cell.heading != "lost"]


def _gated(out: Console, row: JudgementText) -> list[Cell]:
    verdict = row.judgement.verdict
    margin = [Cell("margin", row.margin)] if out.width >= ROOMY else []
    styled = Cell("verdict", f"[{STYLES[verdict]}]{verdict}[/]", left=True)
    return [*_numbers(out, row.score, row.documents_needed), *margin, styled]


def _compared(out: Console, row: ComparisonText) -> list[Cell]:
    return [*_numbers(out, row.score, row.documents_needed), Cell("p", row.p_value, "resolution", row.resolution)]


def _say(out: Console, line: str) -> None:
    out.print(escape(plain(line)), highlight=False, soft_wrap=True)
