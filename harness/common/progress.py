"""Progress for people: a bar with an ETA or a spinner on a terminal, silence anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

Advance = Callable[[int], None]


class Bar(NamedTuple):
    """What work in progress reports to."""

    advance: Advance
    """Told how many units were just finished."""
    title: Callable[[str], None]
    """Told what is being worked on."""


SILENT = Bar(lambda _: None, lambda _: None)


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show `text` and a spinner on standard error while the block runs: for waits that nobody can count."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


@contextmanager
def bar(title: str, total: int, unit: str = "requests") -> Iterator[Bar]:
    """Show `title` and how many of `total` `unit` are done, on standard error, while the block runs."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield SILENT
        return
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=30),
        progress.MofNCompleteColumn(),
        progress.TextColumn(unit),
        progress.TimeElapsedColumn(),
        progress.TextColumn("ETA"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(title, total=total)
        yield Bar(lambda count: shown.advance(task, count), lambda text: shown.update(task, description=text))
