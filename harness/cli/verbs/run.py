"""`harness run`: evaluate checkpoints on tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import discard_output
from harness.cli.options import Evaluation, Model, Tasks, with_evaluation
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.checkpoints.reference import CheckpointReference
    from harness.reports.report import Report
    from harness.runs.options import Options


@with_evaluation
def run(
    model: Annotated[list[str], Model],
    tasks: Annotated[list[str], Tasks],
    evaluation: Evaluation,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and stop.")] = False,
) -> None:
    """Evaluate checkpoints on tasks; each gets a report folder.

    A checkpoint's keys: adapter, dtype, quantize, device, revision, tokenizer, max_length, trust_remote_code,
    allow_unexpected_keys, enable_thinking and name.
    """
    from harness.checkpoints.reference import parse

    options = evaluation.options(tasks)
    references = [parse(text) for text in model]
    if dry_run:
        _forecast(references, options)
    else:
        evaluate(references, options)


def evaluate(references: list[CheckpointReference], options: Options, *, error: bool = False) -> list[Report]:
    """Evaluate, print each report as it is complete, and return them all.

    They are printed to standard error where another document has standard output.
    """
    from harness.cli.views import tables
    from harness.common import progress, slow_imports

    with progress.status("loading libraries"), slow_imports.importing():
        from harness.runs.sweep import JOURNAL, run
    done: list[Report] = []
    try:
        for report in run(references, options):
            done.append(report)
            try:
                tables.show_report(report, error=error)
                typer.echo(f"report: {report.folder}\n", err=error)
            except OSError:  # nobody reads any more (| head), or the disk is full: what is left is still evaluated
                discard_output()
    except KeyboardInterrupt:
        kept = "".join(f"\n  {report.folder}" for report in done) or " none"
        typer.echo(f"\ninterrupted. Complete reports:{kept}", err=True)
        if (options.output / JOURNAL).exists():
            journal = options.output / JOURNAL
            typer.echo(f"Answers so far are in {journal}: the same command goes on from there.", err=True)
        raise typer.Exit(130) from None
    return done


def evaluated(models: list[str], tasks: list[str] | None, evaluation: Evaluation, *, error: bool) -> list[Report]:
    """Evaluate `models` on `tasks` exactly as `harness run` does, and return their reports, the first's first.

    What `run` prints goes to standard error where `error` says so.
    """
    from harness.checkpoints.reference import parse

    return evaluate([parse(text) for text in models], evaluation.options(required(tasks)), error=error)


def required(tasks: list[str] | None) -> list[str]:
    """Return `tasks`; raises HarnessError if there are none."""
    if not tasks:
        raise HarnessError("name what --model is to be evaluated on: --tasks NAMES (see 'harness tasks')")
    return tasks


def _forecast(references: list[CheckpointReference], options: Options) -> None:
    from harness.cli.views import tables
    from harness.runs.estimate import forecast

    for one in forecast(references, options):
        tables.show_forecast(one)
