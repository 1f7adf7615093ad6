"""`harness demo`: the whole of it on a small invented world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="A folder of its own for all its files.")
    ] = Path("demo"),
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Training steps of the base, and of the LoRA.")] = 150,
) -> None:
    """Train small checkpoints, evaluate them, and make their page: about a minute, no downloads.

    A second call keeps what was trained.
    """
    from harness.cli import tables
    from harness.demo.story import Command, Page, Said, tell

    out = tables.console()
    for event in tell(output, steps=steps):
        match event:
            case Said(text):
                out.print(text if text.startswith(" ") else f"\n{text}", markup=False, highlight=False)
            case Command():
                out.print(f"$ {event}", style="bold", markup=False, highlight=False, soft_wrap=True)
            case Page(file):
                out.print(f"The page, to open in a browser: {file}", markup=False, highlight=False, soft_wrap=True)
            case report:
                tables.show_report(report)
