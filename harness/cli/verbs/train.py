"""`harness train`: produce the stages being compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli import options, stopping
from harness.common.terminal import echo


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="YAML file of corpora and stages.")],
    stage: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Train only this stage and those it starts from; repeat for several."),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="NAME", help="Stop after this stage.")] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Write each stage's checkpoint to DIR/STAGE.")
    ] = Path("checkpoints"),
    plan: Annotated[bool, typer.Option("--plan", help="Show what each stage would learn from; train nothing.")] = False,
    data: Annotated[Path | None, options.Data] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Train stages anew that were trained from something else.")
    ] = False,
) -> None:
    """Train the stages of a recipe, each into DIR/STAGE.

    Finished stages stay: after an interruption, run the same command again to continue.
    """
    from harness.cli.views import stages as views
    from harness.common import progress, slow_imports

    with progress.status("loading libraries"), slow_imports.importing():
        from harness.training import processes, stages
        from harness.training import recipe as recipes
    with processes.quiet(), stopping.says(stopping.with_stages(output)):
        loaded = recipes.load(recipe)
        if plan:
            for planned in stages.plan(loaded, output, stage or [], until=until, data=data):
                views.print_plan(planned)
            return
        slow_imports.freeze()
        events = stages.Events(views.print_data, views.print_line)
        chosen: dict[str, Any] = {"until": until, "replace": replace, "data": data}
        for trained in stages.train(loaded, output, stage or [], events=events, **chosen):
            echo(*views.stage_lines(trained))
