"""`harness score`: recorded predictions or ratings → reports, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import stopping
from harness.cli.evaluate import print_report
from harness.cli.options import REPORTS, Data, IncludePath, KeepPaths, Metric, Output, parse_limit, split_names

if TYPE_CHECKING:
    from harness.reports.report import Report


def score(
    predictions: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Score a file, folder or tar archive of predictions.")
    ] = None,
    ratings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Score a JSON Lines file of ratings, by people or a judge.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="Task or family of tasks, if the files do not name it.")
    ] = None,
    metric: Annotated[list[str] | None, Metric] = None,
    format: Annotated[
        str, typer.Option(metavar="NAME", help="auto, chatglm, lawbench, disc-law, lm-eval, jsonl or report.")
    ] = "auto",
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Use this name for the model that answered.")] = None,
    think: Annotated[
        str | None,
        typer.Option(metavar="MARKS", help="Marks around a thought: START,END, or none."),
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(
            parser=parse_limit, metavar="N", help="Expect only the first N documents; 0.1 is a tenth of them."
        ),
    ] = None,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going", help="Skip malformed, duplicate and surplus predictions; take missing ones as empty."
        ),
    ] = False,
    output: Annotated[Path, Output] = REPORTS,
    data: Annotated[Path | None, Data] = None,
    articles: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Articles from 'harness retrieve' that the prompts contained.")
    ] = None,
    include_path: Annotated[list[Path] | None, IncludePath] = None,
    keep_paths: Annotated[bool, KeepPaths] = False,
) -> None:
    """Score predictions that were recorded elsewhere.

    Each model gets a report folder, as in 'harness run'. Formats: ChatGLM's generated_predictions.txt, LawBench's and
    DISC-LawLLM's published answers, lm-eval's samples, and lines {"id": 0, "prediction": "…"}.
    """
    from harness.common import progress, slow_imports
    from harness.errors import HarnessError

    if (predictions is None) == (ratings is None):
        raise HarnessError("name what to score, one of the two: --predictions PATH or --ratings FILE")
    if ratings is not None:
        if metric or format != "auto" or think or limit or articles or include_path:
            raise HarnessError(
                "--metric, --format, --think, --limit, --articles and --include-path are for --predictions: drop them"
            )
        from harness.recorded import ratings as rated

        reports = rated.score(ratings, output, task=task, name=name, keep_going=keep_going, keep_paths=keep_paths)
    else:
        with progress.status("loading libraries"), slow_imports.importing():
            from harness.recorded import score
        reports = score.score(
            score.Scoring(
                predictions=predictions or Path(),
                output=output,
                task=task,
                comparisons=split_names(metric),
                format=None if format == "auto" else format,
                data=data,
                think=think,
                limit=limit,
                name=name,
                articles=articles,
                include=tuple(include_path or ()),
                keep_going=keep_going,
                keep_paths=keep_paths,
            )
        )
    complete: list[Report] = []

    def sentence() -> str:
        return f"Complete reports: {', '.join(str(report.folder) for report in complete) or 'none'}. {stopping.ANEW}"

    with stopping.says(sentence):
        for report in reports:
            complete.append(report)
            print_report(report)
