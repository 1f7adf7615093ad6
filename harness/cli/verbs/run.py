"""`harness run`: evaluate checkpoints on tasks."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.evaluate import evaluate
from harness.cli.options import Evaluation, Model, Tasks, with_evaluation


@with_evaluation
def run(
    model: Annotated[list[str], Model],
    tasks: Annotated[list[str], Tasks],
    evaluation: Evaluation,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate the cost and stop.")] = False,
) -> None:
    """Evaluate checkpoints on tasks.

    Each checkpoint gets a report folder. Keys of a checkpoint: adapter, dtype, quantize, device, revision, tokenizer,
    max_length, trust_remote_code, allow_unexpected_keys, allow_other_base, enable_thinking, think, chatglm, rope and
    name.
    """
    from harness.checkpoints.reference import parse

    options = evaluation.options(tasks)
    references = [parse(text) for text in model]
    if not dry_run:
        raise typer.Exit(evaluate(references, options).exit_code)
    from harness.cli.views import tables
    from harness.runs.estimate import forecast

    for estimate in forecast(references, options):
        tables.show_forecast(estimate)
