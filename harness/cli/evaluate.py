"""Evaluates checkpoints for `harness run` and other verbs, and prints each report as soon as it is complete."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harness.cli import stopping
from harness.cli.options import Evaluation, require_tasks
from harness.cli.outputs import discard_output
from harness.common.terminal import echo

if TYPE_CHECKING:
    from harness.checkpoints.reference import CheckpointReference
    from harness.reports.report import Report
    from harness.runs.options import Options


LEFT_OUT = 4
"""The exit code if everything was done, but for what failed and was left out (`--keep-going`)."""


class Evaluated(NamedTuple):
    """The reports of an evaluation, in the checkpoints' order, and the names of checkpoints that failed."""

    reports: list[Report]
    failed: list[str]

    @property
    def exit_code(self) -> int:
        """0, or `LEFT_OUT` if a document, a task or a checkpoint was left out."""
        is_partial = self.failed or any(report.manifest.is_partial for report in self.reports)
        return LEFT_OUT if is_partial else 0


def evaluate(references: list[CheckpointReference], options: Options, *, error: bool = False) -> Evaluated:
    """Evaluate checkpoints, print each report once it is complete, and name on standard error what was left out.

    With `error`, reports are printed to standard error, for verbs that write a document to standard output.
    """
    from harness.common import progress, slow_imports

    with progress.status("loading libraries"), slow_imports.importing():
        from harness.runs.sweep import run
    reports: list[Report] = []
    failed: list[str] = []

    def left_out(name: str, reason: str) -> None:
        failed.append(name)
        echo(f"left out: checkpoint {name} failed: {reason}", error=True)

    with stopping.says(stopping.with_journal(options.output, lambda: [report.folder for report in reports])):
        for report in run(references, options, left_out):
            reports.append(report)
            print_report(report, error=error)
            if report.manifest.is_partial:
                echo(f"left out: {report.manifest.checkpoint.name}: {_summary(report)}", error=True)
    return Evaluated(reports, failed)


def _summary(report: Report) -> str:
    """Return what was left out of `report`: tasks, averages and metrics by name, documents by number."""
    from harness.reports.numbers_in_words import counted

    documents = [f"{counted(count, 'document')} of {task}" for task, count in report.manifest.failed_documents.items()]
    return f"{', '.join([*report.manifest.failed, *documents])} (the report's notes say why)"


def evaluate_models(models: list[str], tasks: list[str] | None, evaluation: Evaluation, *, error: bool) -> Evaluated:
    """Evaluate the checkpoints that `models` names on `tasks`, in the order of `models`.

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
