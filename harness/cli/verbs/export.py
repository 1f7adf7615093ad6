"""`harness export`: a report in another system's format."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.common.terminal import echo


class Format(StrEnum):
    """A format that reports can be written in."""

    ceval = "ceval-submission"


def export(
    form: Annotated[
        Format, typer.Argument(metavar="FORMAT", help="ceval-submission: the file that C-Eval's server accepts.")
    ],
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="Report folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Write to this file.")],
) -> None:
    """Write a report in another system's format."""
    from harness.reports import export
    from harness.reports.report import read

    submission = export.ceval_submission(read(report))
    export.write(submission, output)
    answers = sum(map(len, submission.values()))
    echo(f"{output}: {answers:,} answers in {len(submission)} subjects, for C-Eval's server")
