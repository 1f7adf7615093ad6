"""Evaluates checkpoints for `harness run` and other verbs, and prints each report as soon as it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.options import Evaluation, require_tasks
from harness.cli.outputs import discard_output
from harness.common.terminal import echo

if TYPE_CHECKING:
    from harness.checkpoints.reference import CheckpointReference
    from harness.reports.report import Report
    from harness.runs.options import Options


def evaluate(references: list[CheckpointReference], options: Options, *, error: bool = False) -> list[Report]:
    """Evaluate checkpoints, print each report once it is complete, and return all reports in the checkpoints' order.

    If `error`, reports are printed to standard error; this is for verbs that write a document to standard output.
    """
    from harness.common import progress, slow_imports

    with progress.status("loading libraries"), slow_imports.importing():
        from harness.runs.sweep import JOURNAL, run
    journal = options.output / JOURNAL
    reports: list[Report] = []
    try:
        for report in run(references, options):
            reports.append(report)
            print_report(report, error=error)
    except KeyboardInterrupt:
        none = "" if reports else " none"
        echo("", f"interrupted. Complete reports:{none}", *(f"  {report.folder}" for report in reports), error=True)
        if journal.exists():
            echo(f"Answers so far are in {journal}: run the same command again to continue.", error=True)
        raise typer.Exit(130) from None
    return reports


def evaluate_models(models: list[str], tasks: list[str] | None, evaluation: Evaluation, *, error: bool) -> list[Report]:
    """Evaluate the checkpoints that `models` names on `tasks`, and return their reports in that order.

    Reports are printed to standard error if `error`. Raises HarnessError if there are no `tasks`.
    """
    from harness.checkpoints.reference import parse

    return evaluate([parse(model) for model in models], evaluation.options(require_tasks(tasks)), error=error)


def print_report(report: Report, *, error: bool = False) -> None:
    """Print a report and its folder; if that fails (closed pipe, full disk), discard all further output."""
    from harness.cli.views import tables

    try:
        tables.show_report(report, error=error)
        echo(f"report: {report.folder}", "", error=error)
    except OSError:  # the remaining checkpoints are still evaluated
        discard_output()


@contextmanager
def journal_on_interrupt(options: Options) -> Iterator[None]:
    """On Ctrl-C in the block, print where the answers so far are kept, and exit with code 130."""
    from harness.runs.sweep import JOURNAL

    journal = options.output / JOURNAL
    try:
        yield
    except KeyboardInterrupt:
        if journal.exists():
            echo(
                "", f"interrupted. Answers so far are in {journal}: run the same command again to continue.", error=True
            )
        raise typer.Exit(130) from None


@contextmanager
def stages_on_interrupt(folder: Path) -> Iterator[None]:
    """On Ctrl-C in the block, print that finished stages stay in `folder`, and exit with code 130."""
    try:
        yield
    except KeyboardInterrupt:
        echo("", f"interrupted. Finished stages stay in {folder}: run the same command again to continue.", error=True)
        raise typer.Exit(130) from None
