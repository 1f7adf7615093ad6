"""`harness journal`: the answers that runs resume from."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from harness.common.terminal import echo

journal = typer.Typer(
    help="Count, check and drop the stored answers that runs resume from.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Place = Annotated[Path, typer.Argument(metavar="PATH", help="Journal, or the output folder of a run.")]


@journal.command()
def stats(path: Place) -> None:
    """Count the answers of each checkpoint.

    A checkpoint is shown by the first digits of its fingerprint, as in its report. Dates are UTC.
    """
    from harness.backends import journal_upkeep

    content = journal_upkeep.stats(path)
    echo(f"{content.file}: {content.answers:,} answers, {content.bytes:,} bytes")
    for rows in content.checkpoints:
        stored = f"stored from {_day(rows.first)} to {_day(rows.last)}"
        echo(f"checkpoint {rows.checkpoint}: {rows.answers:,} answers, {rows.bytes:,} bytes, {stored}")
    for aside in content.asides:
        echo(f"set aside: {aside.name}, {aside.stat().st_size:,} bytes")


@journal.command()
def prune(
    path: Place,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="FINGERPRINT", help="Keep only the answers of this checkpoint; may be repeated."),
    ] = None,
    before: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", formats=["%Y-%m-%d"], help="Drop answers that were stored before this day (UTC)."),
    ] = None,
) -> None:
    """Drop answers, and give their space back.

    What is dropped is computed again if a run needs it. Several first digits of a fingerprint suffice.
    """
    from harness.backends import journal_upkeep

    pruned = journal_upkeep.prune(path, keep or [], before and before.replace(tzinfo=UTC))
    for rows in pruned.checkpoints:
        if rows.dropped:
            echo(f"checkpoint {rows.checkpoint}: {rows.dropped:,} answers dropped, {rows.kept:,} kept")
    sizes = f"{pruned.bytes_before:,} bytes before, {pruned.bytes_after:,} now"
    echo(f"{pruned.file}: {pruned.dropped:,} answers dropped, {pruned.kept:,} kept; {sizes}")


@journal.command()
def check(path: Place) -> None:
    """Verify every checksum; exit code 1 if there is damage.

    Nothing is changed: the next run sets a damaged file aside, keeps its sound answers and computes the others.
    """
    from harness.backends import journal_upkeep

    result = journal_upkeep.check(path)
    for problem in result.problems:
        echo(f"{result.file}: {problem}")
    echo(f"{result.file}: {result.sound:,} answers are sound")
    if result.problems:
        raise typer.Exit(1)


def _day(seconds: int) -> str:
    """Return the day of a moment in seconds since 1970, in UTC."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
    except (OverflowError, ValueError, OSError, TypeError):  # a damaged row
        return "an unknown day"
