"""`harness train`: produce the stages being compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.training.stages import Trained


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file of corpora and stages.")],
    stage: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this stage and those it starts from; repeat it for several."),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where each stage's checkpoint gets its folder.")
    ] = Path("checkpoints"),
) -> None:
    """Train the stages of a recipe, each into DIR/STAGE.

    What is finished stays: the same command goes on where it was interrupted.
    """
    from harness.common import progress, slow_imports

    with progress.status("loading libraries"), slow_imports.importing():
        from harness.training import recipe as recipes
        from harness.training import stages
    try:
        for one in stages.train(recipes.load(recipe), output, stage or []):
            typer.echo(line(one))
    except KeyboardInterrupt:
        typer.echo(f"\ninterrupted. Finished stages stay in {output}: the same command goes on from there.", err=True)
        raise typer.Exit(130) from None


def line(trained: Trained) -> str:
    """Return what one line tells of a stage."""
    from harness.reports import numbers_in_words

    stage = trained.stage
    how = {"full": "", "lora": "LoRA, ", "prefix": "prefix, "}[stage.method]
    origin = Path(stage.start).name
    told = f"{trained.name:10} from {origin:10} {how}{stage.steps:,} steps, {trained.tokens:,} tokens, "
    told += f"{trained.learning:,} parameters, loss {trained.loss:.2f}"
    return told + (", kept" if trained.kept else f", {numbers_in_words.duration(trained.seconds)}")
