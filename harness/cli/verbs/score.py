"""`harness score`: recorded predictions, or ratings → reports, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import discard_output


def score(
    predictions: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A file, a folder or a tar archive of recorded predictions.")
    ] = None,
    ratings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="People's or a judge's ratings, JSON lines, in place of these.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="What was asked, where the files do not say; or their family.")
    ] = None,
    format: Annotated[
        str, typer.Option(metavar="NAME", help="auto, chatglm, lawbench, disc-law, lm-eval, jsonl or report.")
    ] = "auto",
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What to call the one who answered.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the first so many documents were asked.")
    ] = None,
    keep_going: Annotated[
        bool,
        typer.Option("--keep-going", help="Leave out what is malformed, twice or surplus; missing is empty."),
    ] = False,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where reports go.")] = Path(
        "reports/runs"
    ),
    data: Annotated[
        Path | None, typer.Option(envvar="HARNESS_DATA", metavar="DIR", help="A mirror of data sets: DIR/<org>/<name>.")
    ] = None,
    articles: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Articles that prompts had, of 'harness retrieve'.")
    ] = None,
    include_path: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="A folder with more task definitions.")
    ] = None,
) -> None:
    """Score predictions that were recorded elsewhere; each model's get a report, as a run's do.

    Known are ChatGLM's generated_predictions.txt, LawBench's and DISC-LawLLM's published answers, lm-eval's samples,
    and lines {"id": 0, "prediction": "…"}.
    """
    from harness.cli.views import tables
    from harness.common import progress, slow_imports
    from harness.errors import HarnessError

    if (predictions is None) == (ratings is None):
        raise HarnessError("name what is to be scored: --predictions PATH or --ratings FILE")
    if ratings is not None:
        if format != "auto" or limit or articles or include_path:
            raise HarnessError("--format, --limit, --articles and --include-path are for predictions: leave them out")
        from harness.recorded import ratings as rated

        reports = rated.score(ratings, output, task=task, name=name, keep_going=keep_going)
    else:
        with progress.status("loading libraries"), slow_imports.importing():
            from harness.recorded import score
        reports = score.score(
            score.Scoring(
                predictions=predictions or Path(),
                output=output,
                task=task,
                format=None if format == "auto" else format,
                data=data,
                limit=limit,
                name=name,
                articles=articles,
                include=tuple(include_path or ()),
                keep_going=keep_going,
            )
        )
    for report in reports:
        try:
            tables.show_report(report)
            typer.echo(f"report: {report.folder}\n")
        except OSError:  # nobody reads any more (| head): what is left is still scored
            discard_output()
