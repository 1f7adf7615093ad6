"""`harness merge`: base and adapter as one checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import stopping
from harness.common.terminal import echo


def merge(
    model: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="BASE,adapter=LORA, or the adapter's folder.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Write the merged checkpoint to this folder.")
    ],
) -> None:
    """Merge a LoRA into its base.

    Writes a plain checkpoint, and checks on a probe that its answers equal those of base and LoRA together.
    """
    from harness.checkpoints.reference import parse
    from harness.common import progress

    reference = parse(model)

    def sentence() -> str:
        is_written = output.is_dir() and any(output.iterdir())
        return f"{output} is complete." if is_written else f"{output} was not written: run the same command again."

    with stopping.says(sentence), progress.status(f"merging {reference.label}"):
        from harness.checkpoints.adapters.merging import merge

        merged = merge(reference, output)
    dtype = str(merged.dtype).removeprefix("torch.")
    echo(f"{merged.folder}: {merged.bytes:,} bytes in {dtype}")
    echo(f"log-probabilities on a probe differ from those of base and adapter by at most {merged.difference:.1e}")
    if merged.rounding != merged.difference:
        echo(f"and by {merged.rounding:.1e} once rounded to {dtype}")
