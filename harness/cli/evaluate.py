"""Evaluates checkpoints for `harness run` and other verbs, and prints each report as soon as it is complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cli import stopping
from harness.cli.options import Evaluation, require_tasks
from harness.cli.outputs import discard_output
from harness.common.terminal import echo

if TYPE_CHECKING:
    from harness.checkpoints.reference import CheckpointReference
    from harness.reports.report import Report
    from harness.runs.options import Options


def evaluate(references: list[CheckpointReference], options: Options, *, error: bool = False) -> list[Report]:
    """Evaluate checkpoints, print each report once it is complete, and return all reports in the checkpoints' order.

    With `error`, reports are printed to standard error, for verbs that write a document to standard output.
    """
    from harness.common import progress, slow_imports

    with progress.status("loading libraries"), slow_imports.importing():
        from harness.runs.sweep import run
    reports: list[Report] = []
    with stopping.says(stopping.with_journal(options.output, lambda: [report.folder for report in reports])):
        for report in run(references, options):
            reports.append(report)
            print_report(report, error=error)
    return reports


def evaluate_models(models: list[str], tasks: list[str] | None, evaluation: Evaluation, *, error: bool) -> list[Report]:
    """Evaluate the checkpoints that `models` names on `tasks`, and return their reports in the order of `models`.

    With `error`, reports are printed to standard error. Raises HarnessError if there are no `tasks`.
    """
    from harness.checkpoints.reference import parse

    return evaluate([parse(model) for model in models], evaluation.options(require_tasks(tasks)), error=error)


def print_report(report: Report, *, error: bool = False) -> None:
    """Print a report and the path of its folder; if that fails (closed pipe, full disk), discard all further output."""
    from harness.cli.views import tables

    try:
        tables.show_report(report, error=error)
        echo(f"report: {report.folder}", "", error=error)
    except OSError:  # the remaining checkpoints are still evaluated
        discard_output()
