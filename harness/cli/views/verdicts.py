"""How comparisons and verdicts look in a terminal of 80 or more columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.table import Table

from harness.cli.views.tables import ROOMY
from harness.common.console import Console, escape
from harness.reports.calibration import Calibration
from harness.reports.checkpoint_info import CheckpointInfo
from harness.reports.report import Manifest
from harness.verdicts import comparable
from harness.verdicts.compare import Comparison, Refusal
from harness.verdicts.gate import Verdict
from harness.verdicts.texts import ComparisonsText, ComparisonText, JudgementText, OutcomeText, ScoreText

WIDE = 140
"""In terminals with fewer columns of characters, some cells take two lines."""

STYLES: dict[Verdict, str] = {"passed": "green", "regressed": "bold red", "inconclusive": "yellow"}


def show_outcome(out: Console, text: OutcomeText) -> None:
    """Print the table of a gate's outcome, the remarks on the table, and finally the verdict in one sentence."""
    outcome = text.outcome
    _title(out, outcome.candidate, outcome.baseline)
    out.print(_table(out, [_judgement_row(out, row) for row in text.rows]))
    _print_remarks(out, text.direction, text.remarks)
    rest = text.sentence.removeprefix(outcome.verdict)
    out.print(f"[{STYLES[outcome.verdict]}]{outcome.verdict}[/]{escape(rest)}", highlight=False, soft_wrap=True)


def show_calibration(out: Console, calibration: Calibration) -> None:
    """Print for each score of a checkpoint how often it changes if the checkpoint is evaluated again."""
    name, ways = escape(calibration.checkpoint), ", ".join(calibration.again)
    out.print(f"[bold]{name}[/] against itself: {ways}", highlight=False)
    table = Table("task", "metric")
    for heading in ("documents", "repeated", "flips", "flip rate"):
        table.add_column(heading, justify="right", no_wrap=True)
    for rate in calibration.rates:
        metric = rate.metric + ("" if rate.filter == "none" else f" ({rate.filter})")
        counts = (f"{rate.documents:,}", f"{rate.repeats} times", f"{rate.changed:,}", f"{rate.rate:.2%}")
        table.add_row(escape(rate.task), escape(metric), *counts)
    out.print(table)


def show_compared(
    out: Console, baseline: Manifest, candidate: Manifest, results: Sequence[Comparison | Refusal]
) -> None:
    """Print how a candidate compares with the baseline, and which scores cannot be compared."""
    _title(out, candidate.checkpoint, baseline.checkpoint)
    text = ComparisonsText.of(results)
    if text.rows:
        out.print(_table(out, [_comparison_row(out, row) for row in text.rows]))
    note = comparable.version_note(baseline, candidate)
    _print_remarks(out, text.direction, [*text.remarks, *([f"note: {note}"] if note else [])])


class Cell(NamedTuple):
    """A cell of a row; `second` is shown beside `first` or, in a narrow terminal, below `first`."""

    heading: str
    first: str
    under: str = ""
    """The heading of `second`."""
    second: str = ""
    left: bool = False
    """Whether the cell is aligned to the left."""


def _table(out: Console, rows: Sequence[Sequence[Cell]]) -> Table:
    """Return a table of `rows`, all of which have the same headings."""
    table, narrow = Table(), out.width < WIDE
    for cell in rows[0]:
        stacked = (f"{cell.heading}\n{cell.under}".strip(),)
        for heading in stacked if narrow else filter(None, (cell.heading, cell.under)):
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


def _judgement_row(out: Console, row: JudgementText) -> list[Cell]:
    verdict = row.judgement.verdict
    margin = [Cell("margin", row.margin)] if out.width >= ROOMY else []
    styled = Cell("verdict", f"[{STYLES[verdict]}]{verdict}[/]", left=True)
    return [*_numbers(out, row.score, row.documents_needed), *margin, styled]


def _comparison_row(out: Console, row: ComparisonText) -> list[Cell]:
    return [*_numbers(out, row.score, row.documents_needed), Cell("p", row.p_value, "resolution", row.resolution)]


def _numbers(out: Console, score: ScoreText, needed: str) -> list[Cell]:
    """Return the cells that rows of comparisons and rows of judgements have in common."""
    cells = [
        Cell("task", escape(score.task), "metric", escape(score.metric), left=True),
        Cell("baseline", score.baseline),
        Cell("candidate", score.candidate),
        Cell("difference", score.difference, "95 % interval", score.interval),
        Cell("lost", score.lost, "gained", score.gained),
        Cell("n", score.documents, "needed", needed),
    ]
    return cells if out.width >= ROOMY else [cell for cell in cells if cell.heading != "lost"]


def _title(out: Console, candidate: CheckpointInfo, baseline: CheckpointInfo) -> None:
    names = [
        f"[bold]{escape(checkpoint.name)}[/] ({checkpoint.fingerprint[:12]})" for checkpoint in (candidate, baseline)
    ]
    out.print(" against ".join(names), highlight=False)


def _print_remarks(out: Console, direction: str | None, remarks: Iterable[str]) -> None:
    """Print which direction is better, if the table needs it, and one line per remark."""
    for line in (direction, *remarks):
        if line:
            out.print(escape(line), highlight=False, soft_wrap=True)
