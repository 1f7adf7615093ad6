"""`harness verify`: what reports claim, computed again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import outputs
from harness.cli.options import Data, IncludePath


def verify(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT", help="Report folders, or folders that contain reports.")
    ],
    model: Annotated[
        str | None,
        typer.Option(metavar="CHECKPOINT", help="Look for the checkpoint, or for recorded predictions, here."),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Name the FILE.jsonl or ppl:FILE of a task; repeat for several."),
    ] = None,
    articles: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Articles from 'harness retrieve' that the prompts contained.")
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Also write all checks as JSON; - is standard output.")
    ] = None,
    data: Annotated[Path | None, Data] = None,
    include_path: Annotated[list[Path] | None, IncludePath] = None,
) -> None:
    """Check what reports claim.

    Hashes files, computes numbers, scores answers and renders prompts again, and compares documents and checkpoint,
    where these are at hand. No model is loaded and nothing is fetched. Exit code 1: something does not hold.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the libraries read it
    from harness.cli.views import verification as view
    from harness.common import console, progress, slow_imports
    from harness.errors import HarnessError

    with progress.status("loading libraries"), slow_imports.importing():
        from harness.verification import verify as library
        from harness.verification.settings import Settings
    folders = library.find(reports)
    if model is not None and len(folders) > 1:
        raise HarnessError(
            f"--model says where the checkpoint of one report is, and these are {len(folders)}: name one"
        )
    settings = Settings(model, data, tuple(task or ()), articles, tuple(include_path or ()))
    library.require_use(folders, settings)
    out = console.create(error=json == outputs.STANDARD)
    verifications = []
    for folder in folders:
        with progress.status(f"verifying {folder.name}"):
            verification = library.verify(folder, settings)
        verifications.append(verification)
        view.show(out, verification)
    if json is not None:
        outputs.write(view.as_json(verifications), json, "--json")
    if not all(verification.holds for verification in verifications):
        raise typer.Exit(1)
