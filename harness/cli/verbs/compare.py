"""`harness compare`: paired tests of the difference between checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import outputs
from harness.cli.evaluate import Evaluated, evaluate_models
from harness.cli.options import Evaluation, Model, Tasks, with_evaluation
from harness.errors import HarnessError, did_you_mean

if TYPE_CHECKING:
    from harness.reports.report import Report, Score
    from harness.verdicts.compare import Comparison, Refusal


@with_evaluation
def compare(
    *,
    reports: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BASELINE CANDIDATE",
            help="Report folders, or folders with one report each; the first may be a baseline's name.",
            show_default=False,
        ),
    ] = None,
    all_scores: Annotated[
        bool, typer.Option("--all", help="Compare every metric and member task, not only the main ones.")
    ] = False,
    samples: Annotated[
        bool, typer.Option("--samples", help="Show the documents lost and gained, with both answers.")
    ] = False,
    task: Annotated[str | None, typer.Option(metavar="NAME", help="Compare only this task or average.")] = None,
    shown: Annotated[int, typer.Option("--show", min=1, metavar="N", help="Show at most N samples per task.")] = 20,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Also write the comparisons as JSON; - is standard output.")
    ] = None,
    model: Annotated[list[str] | None, Model] = None,
    tasks: Annotated[list[str] | None, Tasks] = None,
    evaluation: Evaluation,
) -> None:
    """Compare checkpoints document by document.

    Name two or more reports, the baseline's first, or two or more --model to be evaluated on --tasks first. Each
    difference has its 95 % interval, its p-value, and its resolution: the number of documents, divided by the number
    needed to detect it.
    """
    from harness.cli.views import flips, verdicts
    from harness.common import console
    from harness.verdicts import render
    from harness.verdicts.compare import Comparator, Comparison

    to_stderr = json == outputs.STANDARD
    evaluated = _reports(reports or [], model or [], tasks or [], evaluation, error=to_stderr)
    baseline, *candidates = evaluated.reports
    out = console.create(error=to_stderr)
    results: list[tuple[Report, list[Comparison | Refusal]]] = []
    for candidate in candidates:
        comparator = Comparator(baseline, candidate)
        compared = list(comparator.compare_all(_scores(baseline, task, everything=all_scores)))
        results.append((candidate, compared))
        verdicts.show_compared(out, baseline.manifest, candidate.manifest, compared)
        if samples:
            flips.show_flips(out, comparator, task, shown)
    if json is not None:
        compared_manifests = [(report.manifest, compared) for report, compared in results]
        outputs.write(render.compared_as_json(baseline.manifest, compared_manifests), json, "--json")
    if not any(isinstance(result, Comparison) for _, compared in results for result in compared):
        raise HarnessError("nothing in these reports can be compared: evaluate both in the same way")
    raise typer.Exit(evaluated.exit_code if model else 0)


def _reports(
    folders: list[str], models: list[str], tasks: list[str], evaluation: Evaluation, *, error: bool
) -> Evaluated:
    """Return two or more reports, the baseline's first; evaluate `models` if these are named instead of `folders`."""
    from harness.checkpoints import discovery
    from harness.checkpoints.reference import parse
    from harness.reports import baselines

    if bool(folders) == bool(models) or len(folders or models) < 2:
        raise HarnessError("name a baseline and its candidates: two or more reports, or two or more --model on --tasks")
    if models:
        evaluated = evaluate_models(models, tasks, evaluation, error=error)
        baseline = discovery.expand(map(parse, models))[0].label
        if baseline in evaluated.failed or len(evaluated.reports) < 2:
            raise HarnessError(f"nothing can be compared: {', '.join(evaluated.failed)} failed")
        return evaluated
    evaluation.refuse_without_model(tasks)
    return Evaluated([baselines.find(folder) for folder in folders], [])


def _scores(baseline: Report, task: str | None, *, everything: bool) -> list[Score]:
    """Return the scores to compare: those of `task`, or of all tasks if `task` is None.

    Unless `everything`, only primary scores are returned. If `task` is also None, tasks that were not asked for by name
    are left out. Raises HarnessError if `task` has no scores.
    """
    scores = [score for score in baseline.manifest.scores if task in (None, score.task)]
    if not scores and task is not None:
        names = list(dict.fromkeys(score.task for score in baseline.manifest.scores))
        raise HarnessError(f"{baseline.folder} has no scores of '{task}'{did_you_mean(task, names)}")
    return scores if everything else [score for score in scores if score.primary and (task or score.headline)]
