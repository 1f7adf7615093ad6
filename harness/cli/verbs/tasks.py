"""`harness tasks`: which tasks there are, and what each one asks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Data, IncludePath, Metric, split_names
from harness.common.terminal import echo


def tasks(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Describe this task, with one rendered prompt.")
    ] = None,
    new: Annotated[
        str | None, typer.Argument(metavar="[NEW_NAME]", help="If NAME is 'new': write a definition with this name.")
    ] = None,
    data: Annotated[Path | None, Data] = None,
    metric: Annotated[list[str] | None, Metric] = None,
    num_fewshot: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Render the prompt with N few-shot examples.")
    ] = None,
    include_path: Annotated[list[Path] | None, IncludePath] = None,
) -> None:
    """List the tasks, or describe one.

    A description has protocol, data, metrics and one rendered prompt. 'harness tasks new NAME' writes a commented
    definition to start from.
    """
    if name == "new" and new:
        _write(new)
        return
    if new:
        raise typer.BadParameter(f"'{new}': name one task to describe")
    from harness.cli.views import tables
    from harness.tasks.describe import describe, summaries
    from harness.tasks.own_files import task_lists

    include = tuple(include_path or ())
    if name is None:
        tables.show_summaries(summaries(data, include))
    else:
        if name.startswith('"'):
            [name] = task_lists.split(name)[:1] or [name]
        tables.show_description(describe(name, data, include, num_fewshot, split_names(metric)))


def _write(name: str) -> None:
    from harness.tasks import scaffold

    files = scaffold.write(name)
    include = files.definition.parent
    echo(f"{files.definition}, and {files.data} with two documents. See the prompt, then run it:")
    echo(f"  harness tasks {name} --include-path {include}")
    echo(f"  harness run --model CHECKPOINT --tasks {name} --include-path {include}")
