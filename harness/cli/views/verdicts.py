"""How comparisons and verdicts look in a terminal, from 80 columns on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli.views.tables import ROOMY
from harness.reports.calibration import Calibration
from harness.reports.numbers_in_words import counted
from harness.reports.report import CheckpointInfo
from harness.verdicts import wording
from harness.verdicts.compare import Comparison, Refusal
from harness.verdicts.gate import Judgement, Outcome, Verdict

WIDE = 140
"""Where a terminal is narrower, some cells take two lines."""

STYLES: dict[Verdict, str] = {"passed": "green", "regressed": "bold red", "inconclusive": "yellow"}


def show_outcome(out: Console, outcome: Outcome) -> None:
    """Print a gate's table, what is to be said of it, and last its verdict in one sentence."""
    _title(out, outcome.candidate, outcome.baseline)
    shown = wording.shown(outcome)
    out.print(_table(out, [_gated(out, one) for one in shown]))
    _say_direction(out, [one.comparison for one in shown])
    for line in wording.remarks(outcome):
        _say(out, line)
    said = plain(wording.verdict(outcome)).removeprefix(outcome.verdict)
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
    out: Console, baseline: CheckpointInfo, candidate: CheckpointInfo, found: Sequence[Comparison | Refusal]
) -> None:
    """Print how a candidate compares with the baseline, and what of it does not compare."""
    _title(out, candidate, baseline)
    compared = [one for one in found if isinstance(one, Comparison)]
    if compared:
        out.print(_table(out, [_compared(out, one) for one in compared]))
        _say_direction(out, compared)
    for one in compared:
        if seen := wording.tainted(one):
            _say(out, seen)
        if one.left_out:
            left_out = counted(one.left_out, "document")
            _say(out, f"{one.score.task}: {left_out} left out, which only one of both answered")
    for refusal in found:
        if isinstance(refusal, Refusal):
            name = f"{wording.task(refusal.score)}, {wording.metric(refusal.score)}"
            _say(out, f"{name}: not comparable: {refusal.reason}")


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


def _numbers(out: Console, one: Comparison, needed: float) -> list[Cell]:
    score = one.score
    lost, gained = one.values.lost, one.values.gained
    name, metric = escape(plain(wording.task(score))), escape(plain(wording.metric(score)))
    cells = [
        Cell("task", name, "metric", metric, left=True),
        Cell("baseline", wording.baseline(one)),
        Cell("candidate", wording.candidate(one)),
        Cell("difference", wording.difference(one), "95 % interval", wording.interval(one)),
        Cell("lost", f"{lost:,}", "gained", f"{gained:,}"),
        Cell("n", wording.size(one), "needed", wording.documents(needed)),
    ]
    return cells if out.width >= ROOMY else [cell for cell in cells if cell.heading != "lost"]


def _gated(out: Console, one: Judgement) -> list[Cell]:
    verdict = Cell("verdict", f"[{STYLES[one.verdict]}]{one.verdict}[/]", left=True)
    margin = [Cell("margin", wording.margin(one))] if out.width >= ROOMY else []
    return [*_numbers(out, one.comparison, wording.needed(one)), *margin, verdict]


def _compared(out: Console, one: Comparison) -> list[Cell]:
    told = Cell("p", wording.probability(one.p_value), "resolution", wording.resolution(one))
    return [*_numbers(out, one, one.needed), told]


def _say_direction(out: Console, compared: Iterable[Comparison]) -> None:
    if not all(one.score.higher_is_better for one in compared):
        _say(out, wording.LESS_IS_BETTER)


def _say(out: Console, line: str) -> None:
    out.print(escape(plain(line)), highlight=False, soft_wrap=True)
