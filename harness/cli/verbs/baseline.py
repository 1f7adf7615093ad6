"""`harness baseline`: reports kept as baselines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.common.terminal import echo

if TYPE_CHECKING:
    from harness.reports.report import Manifest

baseline = typer.Typer(
    help="Keep reports as baselines for the gate.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Folder = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of all baselines; default: baselines.")]


@baseline.command(name="set")
def keep(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="Report folder, or a folder with one report.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the baseline; default: main.")] = None,
    folder: Folder = None,
) -> None:
    """Keep a copy of a report as a baseline.

    A baseline of the same name is replaced.
    """
    from harness.reports import baselines

    saved = baselines.save(baselines.only_report(report), name or baselines.NAME, folder or baselines.FOLDER)
    replaced = "" if saved.replaced is None else f", in place of {_describe(saved.replaced.manifest)}"
    echo(f"{saved.baseline.folder}: {_describe(saved.baseline.manifest)}{replaced}")


@baseline.command()
def show(folder: Folder = None) -> None:
    """List the baselines.

    Each has its checkpoint, fingerprint and date, and its scores with intervals.
    """
    from harness.cli.views import tables
    from harness.reports import baselines

    for name, report in baselines.load_all(folder or baselines.FOLDER).items():
        echo(f"{name}: {_describe(report.manifest)}")
        tables.show_report(report)


def _describe(manifest: Manifest) -> str:
    """Return a report's checkpoint, fingerprint and date on one line."""
    checkpoint, day = manifest.checkpoint, manifest.created.partition("T")[0]
    return f"{checkpoint.name} ({checkpoint.fingerprint[:12]}), evaluated on {day}"
