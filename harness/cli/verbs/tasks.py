"""`harness tasks`: what can be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def tasks(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Describe this task, with one rendered prompt.")
    ] = None,
    new: Annotated[
        str | None, typer.Argument(metavar="[NEW]", help="After 'new': write a definition called so.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(envvar="HARNESS_DATA", metavar="DIR", help="A mirror of data sets: DIR/<org>/<name>.")
    ] = None,
    metric: Annotated[str | None, typer.Option(metavar="NAMES", help="As in 'harness run'.")] = None,
    num_fewshot: Annotated[int | None, typer.Option(min=0, metavar="N", help="Shots in the rendered prompt.")] = None,
    include_path: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="A folder with more task definitions.")
    ] = None,
) -> None:
    """List the tasks, or describe one: protocol, data, metrics, one rendered prompt.

    'harness tasks new NAME' writes a commented definition to start from.
    """
    if name == "new" and new:
        _write(new)
        return
    if new:
        raise typer.BadParameter(f"'{new}': one task is described at a time")
    from harness.cli import names
    from harness.cli.views import tables
    from harness.tasks.describe import describe, summaries

    include = tuple(include_path or ())
    if name is None:
        tables.show_summaries(summaries(data, include))
    else:
        tables.show_description(describe(name, data, include, num_fewshot, names(metric)))


def _write(name: str) -> None:
    from harness.tasks import scaffold

    made = scaffold.write(name)
    typer.echo(f"{made.definition}, and {made.data} with two documents. See the prompt, then run it:")
    typer.echo(f"  harness tasks {name} --include-path {made.definition.parent}")
    typer.echo(f"  harness run --model CHECKPOINT --tasks {name} --include-path {made.definition.parent}")
