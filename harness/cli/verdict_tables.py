"""How comparisons and verdicts look in a terminal, from 80 columns on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli.tables import ROOMY
from harness.runs.report import CheckpointInfo
from harness.verdicts import render, wording
from harness.verdicts.compare import Comparison, Refusal
from harness.verdicts.gate import Judgement, Outcome, Verdict

WIDE = 120
"""Where a terminal is as wide, tables have all their columns; below `ROOMY` some cells take two lines."""

STYLES: dict[Verdict, str] = {"passed": "green", "regressed": "bold red", "inconclusive": "yellow"}


def show_outcome(out: Console, outcome: Outcome) -> None:
    """Print a gate's table, what is to be said of it, and last its verdict in one sentence."""
    _title(out, outcome.candidate, outcome.baseline)
    shown = wording.shown(outcome)
    table = _table(out, [one.comparison for one in shown], ("margin", "verdict"))
    for one in shown:
        table.add_row(*_numbers(out, one.comparison), *_judged(out, one))
    out.print(table)
    _say_direction(out, [one.comparison for one in shown])
    for line in (*render.remarks(shown), wording.watched(outcome), *(f"note: {note}" for note in outcome.notes)):
        if line:
            _say(out, line)
    said = wording.verdict(outcome).removeprefix(outcome.verdict)
    out.print(f"[{STYLES[outcome.verdict]}]{outcome.verdict}[/]{escape(plain(said))}", highlight=False, soft_wrap=True)


def show_compared(
    out: Console, baseline: CheckpointInfo, candidate: CheckpointInfo, found: Sequence[Comparison | Refusal]
) -> None:
    """Print how a candidate compares with the baseline, and what of it does not compare."""
    _title(out, candidate, baseline)
    compared = [one for one in found if isinstance(one, Comparison)]
    if compared:
        table = _table(out, compared, ("p", "resolution", "n needed"))
        for one in compared:
            told = (wording.probability(one.p_value), wording.resolution(one), wording.documents(one.needed))
            table.add_row(*_numbers(out, one), *told)
        out.print(table)
        _say_direction(out, compared)
    for one in compared:
        if seen := wording.tainted(one):
            _say(out, seen)
        if one.left_out:
            _say(out, f"{one.score.task}: {one.left_out:,} documents left out, which only one of both answered")
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


def _table(out: Console, compared: Iterable[Comparison], last: Sequence[str]) -> Table:
    table = Table()
    table.add_column("task", overflow="fold")
    if out.width >= ROOMY:
        table.add_column("metric", overflow="fold")
    for heading in ("baseline", "candidate"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("difference", justify="right", no_wrap=True)
    if out.width >= ROOMY:
        table.add_column("95 % interval", justify="right", no_wrap=True)
    if out.width >= WIDE:
        table.add_column("lost / gained", justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for heading in last:
        if heading == "margin" and out.width < WIDE:
            continue
        table.add_column(heading, justify="left" if heading == "verdict" else "right", no_wrap=True)
    return table


def _numbers(out: Console, one: Comparison) -> list[str]:
    """Return the cells that every table of comparisons begins with, as many as `_table` made columns for."""
    score = one.score
    name, metric = escape(plain(wording.task(score))), escape(plain(wording.metric(score)))
    values = [wording.number(value, score) for value in (one.baseline, one.candidate)]
    change, interval, n = wording.difference(one), wording.interval(one), f"{one.documents:,}"
    if out.width < ROOMY:
        return [f"{name}\n[dim]{metric}[/]", *values, f"{change}\n[dim]{interval}[/]", n]
    flips = [wording.lost_gained(one)] if out.width >= WIDE else []
    return [name, metric, *values, change, interval, *flips, n]


def _judged(out: Console, one: Judgement) -> list[str]:
    verdict = f"[{STYLES[one.verdict]}]{one.verdict}[/]"
    return [wording.margin(one), verdict] if out.width >= WIDE else [verdict]


def _say_direction(out: Console, compared: Iterable[Comparison]) -> None:
    if not all(one.score.higher_is_better for one in compared):
        _say(out, wording.LESS_IS_BETTER)


def _say(out: Console, line: str) -> None:
    out.print(escape(plain(line)), highlight=False, soft_wrap=True)
