"""`harness show`: read reports."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Which(StrEnum):
    """Which samples to read."""

    wrong = "wrong"
    right = "right"
    all = "all"


def show(
    reports: Annotated[list[Path], typer.Argument(metavar="REPORT", help="Report folders, or folders that hold some.")],
    all_tasks: Annotated[bool, typer.Option("--all", help="Every task, not just what was asked for by name.")] = False,
    samples: Annotated[Which | None, typer.Option(help="Read the samples too.")] = None,
    task: Annotated[str | None, typer.Option(metavar="NAME", help="Samples of this task only.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many samples a task.")] = 20,
) -> None:
    """Show reports: each metric with its 95 % interval, n, tokens, time and memory."""
    from harness.cli.views import samples as view
    from harness.cli.views import tables
    from harness.reports import report

    for one in report.find(reports):
        tables.show_report(one, all_tasks=all_tasks)
        if samples:
            view.show_samples(one, samples.value, task, limit)
