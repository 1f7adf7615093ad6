"""`harness leaderboard`: reports → a static site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import stopping
from harness.common.terminal import echo


def leaderboard(
    reports: Annotated[
        list[Path],
        typer.Argument(help="Report folders, or folders that contain reports at any depth.", metavar="REPORT"),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR", help="Write the site to this folder; replaces one there."),
    ] = Path("site"),
) -> None:
    """Show checkpoints side by side on one static page.

    Scores have their intervals. The page opens from disk and uses no network. Numbers that must not be compared are
    marked with the reason.
    """
    from harness.leaderboard import site
    from harness.reports import report

    with stopping.says(f"The page in {output} is complete, old or new: run the same command again."):
        page = site.build(report.find(reports), output)
    echo(str(page))
