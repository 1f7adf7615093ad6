"""`harness show`: read reports."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Which(StrEnum):
    """Which samples to show."""

    wrong = "wrong"
    right = "right"
    all = "all"


def show(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT", help="Report folders, or folders that contain reports.")
    ],
    all_tasks: Annotated[
        bool, typer.Option("--all", help="Show every task, not only those named for the run.")
    ] = False,
    samples: Annotated[Which | None, typer.Option(help="Show these samples too.")] = None,
    task: Annotated[str | None, typer.Option(metavar="NAME", help="Show only samples of this task.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most N samples per task.")] = 20,
) -> None:
    """Show reports and their samples.

    Each metric has its 95 % interval and n; each report its tokens, time and memory.
    """
    from harness.cli.views import samples as view
    from harness.cli.views import tables
    from harness.reports.report import find

    for report in find(reports):
        tables.show_report(report, all_tasks=all_tasks)
        if samples:
            view.show_samples(report, samples.value, task, limit)
