"""`harness export`: a report in another system's format."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What can be written."""

    ceval = "ceval-submission"


def export(
    form: Annotated[Format, typer.Argument(metavar="FORMAT", help="ceval-submission: what C-Eval's server takes.")],
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A report's folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The file to write.")],
) -> None:
    """Write a report in another system's format."""
    from harness.reports import export
    from harness.reports.report import read

    submission = export.ceval_submission(read(report))
    export.write(submission, output)
    answers = sum(map(len, submission.values()))
    typer.echo(f"{output}: {answers:,} answers in {len(submission)} subjects, as C-Eval's server takes them")
