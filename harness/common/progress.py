"""Progress on a terminal: a bar with an ETA, or a spinner. Nothing is shown if standard error is not a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from harness.common import signals, terminal

Advance = Callable[[int], None]


class Bar(NamedTuple):
    """The functions with which running work updates its progress bar."""

    advance: Advance
    """Called with the number of units just finished; raises `signals.Stopped` if a signal asked the process to stop."""
    title: Callable[[str], None]
    """Called with a text that replaces the bar's title."""
    expect: Callable[[int], None]
    """Called with the number of units if that becomes known only now; counting begins again."""


SILENT = Bar(lambda _: signals.check(), lambda _: None, lambda _: None)


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show `text` and a spinner on standard error while the `with` block runs, for work without countable units."""
    from rich.text import Text

    from harness.common import console

    out = console.create(error=True)
    if out.is_terminal:
        with out.status(Text(terminal.line(text))):
            yield
    else:
        yield
    signals.check()


@contextmanager
def bar(title: str, total: int | None, unit: str = "requests") -> Iterator[Bar]:
    """Show `title` and how many of `total` units are done, on standard error, while the `with` block runs.

    `total` is None if it is not known yet.
    """
    from harness.common import console

    out = console.create(error=True)
    if not out.is_terminal:
        yield SILENT
        return
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=30),
        progress.MofNCompleteColumn(),
        progress.TextColumn(unit),
        progress.TimeElapsedColumn(),
        progress.TextColumn("ETA"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=out, transient=True) as display:
        task = display.add_task(terminal.line(title), total=total)

        def advance(count: int) -> None:
            signals.check()
            display.advance(task, count)

        yield Bar(
            advance,
            lambda text: display.update(task, description=terminal.line(text)),
            lambda count: display.update(task, total=count, completed=0),
        )
