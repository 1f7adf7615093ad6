"""How the measures of retrieval look in a terminal."""

from __future__ import annotations

from rich.table import Table

from harness.common import console
from harness.common.terminal import echo
from harness.retrieval.retrieve import Retrieved


def show_retrieval(result: Retrieved) -> None:
    """Print how passages were ranked, and each measure with its 95 % interval."""
    echo(f"{result.description}: {len(result.passages):,} passages, {len(result.questions):,} questions")
    if result.replaced:
        echo(f"{result.replaced:,} articles are left out, since a later text of their law has them, too")
    if not result.measures:
        echo("no question says which passages are right, so nothing is measured")
        return
    table = Table("right", "measure")
    for heading in ("score", "95 % interval", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for (kind, measure), estimate in result.measures.items():
        low, high = estimate.low, estimate.high
        interval = "" if low is None or high is None else f"{100 * low:.1f}–{100 * high:.1f}"
        table.add_row(kind, measure, f"{100 * estimate.value:.1f} %", interval, f"{estimate.n:,}")
    console.create().print(table)
