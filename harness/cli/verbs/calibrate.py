"""`harness calibrate`: how often a checkpoint's scores change when it is evaluated again."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli import stopping
from harness.cli.options import Evaluation, Tasks, require_tasks, with_evaluation
from harness.common.terminal import echo
from harness.errors import HarnessError


@with_evaluation
def calibrate(
    model: Annotated[
        list[str], typer.Option(metavar="CHECKPOINT", help="Calibrate PATH_OR_HUB_ID[,key=value…]; one only.")
    ],
    tasks: Annotated[list[str], Tasks],
    evaluation: Evaluation,
) -> None:
    """Measure how often a checkpoint's scores flip by chance.

    The checkpoint is evaluated again in other batches, or with other seeds if a task samples. The flip rates are
    written beside the reports, where 'harness gate' finds them.
    """
    if len(model) > 1:
        raise HarnessError(f"a calibration is of one checkpoint, not of {len(model)}: give --model once")
    calibrate_model(model[0], tasks, evaluation)


def calibrate_model(model: str, tasks: list[str] | None, evaluation: Evaluation) -> None:
    """Calibrate a checkpoint on `tasks`, write the calibration beside the reports, and print it."""
    from harness.checkpoints.reference import parse
    from harness.cli.views import verdicts
    from harness.common import console, progress, slow_imports
    from harness.reports import calibration

    if evaluation.keep_going:
        raise HarnessError("a calibration counts every document: drop --keep-going")
    reference, options = parse(model), evaluation.options(require_tasks(tasks))
    with progress.status("loading libraries"), slow_imports.importing():
        from harness.runs.calibrate import calibrate
    with stopping.says("No calibration was written: run the same command again to start anew."):
        result = calibrate(reference, options)
    file = calibration.file_in(options.output, result.fingerprint)
    result.write(file)
    verdicts.show_calibration(console.create(), result)
    echo(f"calibration: {file}")
