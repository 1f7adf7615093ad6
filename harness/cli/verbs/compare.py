"""`harness compare`: what paired tests tell of the difference between checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Evaluation, Model, Tasks, with_evaluation
from harness.cli.verbs.run import evaluated

if TYPE_CHECKING:
    from harness.reports.report import Report, Score


@with_evaluation
def compare(
    *,
    reports: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BASELINE CANDIDATE",
            help="Report folders, or folders that hold no other; the first may be a baseline's name.",
            show_default=False,
        ),
    ] = None,
    all_scores: Annotated[
        bool, typer.Option("--all", help="Every metric and member task, not just what stands for each by name.")
    ] = False,
    samples: Annotated[
        bool, typer.Option("--samples", help="Show the documents that were lost and gained, with both answers.")
    ] = False,
    task: Annotated[str | None, typer.Option(metavar="NAME", help="This task or average only.")] = None,
    shown: Annotated[int, typer.Option("--show", min=1, metavar="N", help="At most so many samples a task.")] = 20,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write it all as JSON, too; - is standard output.")
    ] = None,
    model: Annotated[list[str] | None, Model] = None,
    tasks: Annotated[list[str] | None, Tasks] = None,
    evaluation: Evaluation,
) -> None:
    """Compare checkpoints with a baseline, document by document.

    Each difference has its 95 % interval, p-value and resolution ratio: documents there are by documents needed to
    tell the two apart. Names two reports or more, or evaluates two --model or more on --tasks first.
    """
    from harness.cli import outputs
    from harness.cli.views import flips, tables, verdicts
    from harness.errors import HarnessError
    from harness.verdicts import render
    from harness.verdicts.compare import Comparator, Comparison, Refusal

    aside = json == outputs.STANDARD
    baseline, *candidates = _reports(reports or [], model or [], tasks or [], evaluation, aside=aside)
    out = tables.console(error=aside)
    found: list[tuple[Report, list[Comparison | Refusal]]] = []
    for candidate in candidates:
        comparator = Comparator(baseline, candidate)
        found.append((candidate, list(comparator.compare_all(_scores(baseline, task, everything=all_scores)))))
        verdicts.show_compared(out, baseline.manifest.checkpoint, candidate.manifest.checkpoint, found[-1][1])
        if samples:
            flips.show_flips(out, comparator, task, shown)
    if json is not None:
        told = [(report.manifest.checkpoint, one) for report, one in found]
        outputs.write(render.compared_as_json(baseline.manifest.checkpoint, told), json, "--json")
    if not any(isinstance(one, Comparison) for _, each in found for one in each):
        raise HarnessError("nothing in these reports can be compared: evaluate both in the same way")


def _reports(
    named: list[str], models: list[str], tasks: list[str], evaluation: Evaluation, *, aside: bool
) -> list[Report]:
    """Return two reports or more, the baseline's first; what is told of an evaluation gives way if `aside`."""
    from harness.errors import HarnessError
    from harness.reports import baselines

    if bool(named) == bool(models) or len(named or models) < 2:
        raise HarnessError("name a baseline and its candidates: two reports or more, or as many --model on --tasks")
    if models:
        return evaluated(models, tasks, evaluation, error=aside)
    evaluation.refuse_without_model(tasks)
    return [baselines.find(one) for one in named]


def _scores(baseline: Report, task: str | None, *, everything: bool) -> list[Score]:
    """Return the numbers to compare: of what was asked for by name, or of `task`, what stands for it; or all."""
    from harness.errors import HarnessError, did_you_mean

    found = [one for one in baseline.manifest.scores if task in (None, one.task)]
    if not found and task is not None:
        known = list(dict.fromkeys(one.task for one in baseline.manifest.scores))
        raise HarnessError(f"{baseline.folder} has no scores of '{task}'{did_you_mean(task, known)}")
    return found if everything else [one for one in found if one.primary and (task or one.headline)]
