"""Progress for people: a bar with an ETA on a terminal, silence anywhere else.

The engine takes any callable that is told how many units were just finished; `bar` makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]


def ignore(_: int) -> None:
    """Progress nobody watches."""


@contextmanager
def bar(title: str, total: int, unit: str = "requests") -> Iterator[Advance]:
    """Show `title` and `total` `unit`s on standard error while the block runs; yield the function that advances it."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield ignore
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)
