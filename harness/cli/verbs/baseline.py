"""`harness baseline`: reports kept as baselines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.reports.report import Manifest

baseline = typer.Typer(
    help="Keep reports as baselines, so that a gate need not evaluate them again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Folder = Annotated[Path | None, typer.Option(metavar="DIR", help="The folder of all baselines; default: baselines.")]


@baseline.command(name="set")
def keep(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A report's folder, or one that holds no other.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What to call it; default: main.")] = None,
    folder: Folder = None,
) -> None:
    """Keep a copy of a report as a baseline, in place of the one that has its name."""
    from harness.reports import baselines

    kept = baselines.keep(baselines.only(report), name or baselines.NAME, folder or baselines.FOLDER)
    before = "" if kept.replaced is None else f", in place of {_who(kept.replaced.manifest)}"
    typer.echo(f"{kept.baseline.folder}: {_who(kept.baseline.manifest)}{before}")


@baseline.command()
def show(folder: Folder = None) -> None:
    """List the baselines: checkpoint, fingerprint, date, and scores with intervals."""
    from harness.cli.views import tables
    from harness.reports import baselines

    for name, one in baselines.kept(folder or baselines.FOLDER):
        typer.echo(f"{name}: {_who(one.manifest)}")
        tables.show_report(one)


def _who(manifest: Manifest) -> str:
    from harness.cli.views.verdicts import plain

    who, day = manifest.checkpoint, manifest.created.partition("T")[0]
    return f"{plain(who.name)} ({who.fingerprint[:12]}), evaluated on {day}"
