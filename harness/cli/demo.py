"""`harness demo`: the whole of it on a small made-up task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Where its files go.")] = Path("demo"),
    steps: Annotated[int, typer.Option(min=1, help="Training steps of the small model.")] = 400,
) -> None:
    """Train a small checkpoint, evaluate it, and make its page: about a minute, no downloads."""
    from harness.demo.story import tell

    tell(output, steps=steps)
