"""`harness score`: recorded predictions, or ratings → reports, without a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import discard_output

if TYPE_CHECKING:
    from harness.runs.report import Report


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
        str, typer.Option(metavar="NAME", help="auto, chatglm, lawbench, disc-law, lm-eval or jsonl.")
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
    include_path: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="A folder with more task definitions.")
    ] = None,
) -> None:
    """Score predictions that were recorded elsewhere; each model's get a report, as a run's do.

    Known are ChatGLM's generated_predictions.txt, LawBench's and DISC-LawLLM's published answers, lm-eval's samples,
    and lines {"id": 0, "prediction": "…"}.
    """
    from harness.cli import tables
    from harness.errors import HarnessError

    if predictions is not None and ratings is None:
        chosen = None if format == "auto" else format
        include = tuple(include_path or ())
        reports = _predictions(predictions, output, task, chosen, data, limit, name, include, keep_going)
    elif ratings is not None and predictions is None:
        from harness.runs import ratings as rated

        reports = rated.score(ratings, output, task=task, name=name, keep_going=keep_going)
    else:
        raise HarnessError("nothing to score: name either --predictions PATH or --ratings FILE")
    for report in reports:
        try:
            tables.show_report(report)
            typer.echo(f"report: {report.folder}\n")
        except OSError:  # nobody reads any more (| head): what is left is still scored
            discard_output()


def _predictions(*settings: Any) -> Iterator[Report]:
    from harness import libraries, progress

    with progress.status("loading libraries"), libraries.importing():
        from harness.runs.rescore import Scoring, score
    return score(Scoring(*settings))
