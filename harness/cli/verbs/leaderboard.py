"""`harness leaderboard`: reports → a static site."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import stopping
from harness.common.terminal import echo


class Shown(StrEnum):
    """Whose prompts and answers the site contains."""

    NONE = "none"
    FLIPS = "flips"
    ALL = "all"


def leaderboard(
    reports: Annotated[
        list[Path],
        typer.Argument(help="Report folders, or folders that contain reports at any depth.", metavar="REPORT"),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR", help="Write the site to this folder; replaces one there."),
    ] = Path("site"),
    title: Annotated[str, typer.Option(metavar="TEXT", help="Put this title on the page.")] = "Leaderboard",
    lineage: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Read from this YAML which checkpoint descends from which: 'sft: cpt'."),
    ] = None,
    samples: Annotated[
        Shown,
        typer.Option(help="Publish prompts and answers: of no document, of those whose scores differ, or of all."),
    ] = Shown.ALL,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Show checkpoints side by side on a static site.

    The site opens from disk and uses no network. It shows scores with their intervals, paired comparisons of any two
    checkpoints, samples, and the steps of a family. Numbers that must not be compared are marked with the reason.
    """
    from harness.common import progress
    from harness.leaderboard import lineage as family
    from harness.leaderboard import site
    from harness.reports import report

    options = site.Options(title, {} if lineage is None else family.read(lineage), samples.value)
    sentence = f"The page in {output} is complete, old or new: run the same command again."
    with stopping.says(sentence), progress.bar("building the site", None, "steps") as bar:
        built = site.build(report.find(reports), output, options, bar)
    echo(str(built.page))
    echo(f"the site has {built.size / 1e6:,.1f} MB", error=True)
    if open_page:
        typer.launch(built.page.resolve().as_uri())
