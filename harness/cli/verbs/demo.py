"""`harness demo`: train, evaluate and compare a small family on an invented world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import stopping


def demo(
    keep: Annotated[
        Path, typer.Option(metavar="DIR", help="Write everything to this folder, which must be new, empty or a demo's.")
    ] = Path("demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Train a tenth of the steps, ask few questions: under a minute.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, metavar="N", help="Seed the first weights and the training order.")
    ] = 0,
) -> None:
    """Train, evaluate and compare a small family of checkpoints.

    The world that they are trained on is invented. Takes five to ten minutes on two CPU cores, without downloads.
    Trained checkpoints are kept in the user's cache, so that the next demo takes less.
    """
    from harness.cli.views.story import show_event
    from harness.common import progress, slow_imports

    with progress.status("loading libraries"), slow_imports.importing():
        from harness.demo import story
    with stopping.says(stopping.with_stages(keep)):
        for event in story.tell(keep, quick=quick, seed=seed):
            show_event(event)
