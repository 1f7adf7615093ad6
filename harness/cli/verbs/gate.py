"""`harness gate`: may a candidate replace its baseline?"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import discard_output, outputs
from harness.cli.options import Evaluation, Tasks, with_evaluation
from harness.cli.verbs.run import evaluated, required

if TYPE_CHECKING:
    from harness.reports.calibration import Calibration
    from harness.reports.report import Report
    from harness.verdicts.gate import Outcome
    from harness.verdicts.policy import Policy
    from harness.verdicts.texts import OutcomeText


@with_evaluation
def gate(
    *,
    candidate: Annotated[
        Path | None,
        typer.Argument(metavar="CANDIDATE", help="A report's folder, or one that holds no other.", show_default=False),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="BASE", help="The same, or a name given by 'harness baseline set'; default: main."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A gate.yaml: margins, floors and the like, by task.")
    ] = None,
    margin: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What may be lost: 2 is points, 2% a share; where no rule says.")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(metavar="P", help="How often, at most, a verdict may be wrong; default: 0.05.")
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the outcome as JSON; - is standard output.")
    ] = None,
    junit: Annotated[str | None, typer.Option(metavar="FILE", help="As JUnit XML.")] = None,
    markdown: Annotated[
        str | None, typer.Option(metavar="FILE", help="As Markdown; GitHub's step summary gets it by itself.")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="CHECKPOINT", help="Evaluate this first, in place of CANDIDATE, on --tasks."),
    ] = None,
    tasks: Annotated[list[str] | None, Tasks] = None,
    sequential: Annotated[
        bool,
        typer.Option(
            "--sequential", help="Ask --model in random blocks, and stop each task once its verdict is clear."
        ),
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Judge nothing: ask --model again and again, and keep how often scores flip."),
    ] = False,
    evaluation: Evaluation,
) -> None:
    """Judge a candidate against its baseline: passed, regressed or inconclusive.

    Passed means that a loss of the margin is ruled out, regressed that a loss is real. Exit codes: 0 passed, 1
    regressed, 3 inconclusive, 2 wrong usage or reports that cannot be compared.
    """
    from harness.cli.views import tables, verdicts
    from harness.errors import HarnessError
    from harness.reports import baselines
    from harness.verdicts import render
    from harness.verdicts.texts import OutcomeText

    if len(models or []) > 1:
        raise HarnessError("one candidate is judged at a time: name one --model ('harness compare' takes several)")
    model = models[0] if models else None
    if (candidate is None) == (model is None):
        raise HarnessError("name what is to be judged: the folder of its report, or --model CHECKPOINT --tasks NAMES")
    for option, is_asked in (("--sequential", sequential), ("--calibrate", calibrate)):
        if is_asked and model is None:
            raise HarnessError(f"{option} asks a checkpoint: name it with --model CHECKPOINT --tasks NAMES")
    files = {"--json": json, "--junit": junit, "--markdown": markdown}
    outputs.refuse_one_for_two(files)
    aside = outputs.STANDARD in files.values()
    if calibrate:
        judging = {"--baseline": baseline, "--policy": policy, "--margin": margin, "--alpha": alpha, **files}
        _refuse_beside_calibrate({**judging, "--sequential": sequential or None})
        return _calibrate(model or "", tasks, evaluation)
    asked = _policy(policy, margin, alpha)
    against = baselines.find(baseline or baselines.NAME)
    if model is None:
        evaluation.refuse_without_model(tasks)
        outcome = _judged(against, baselines.only(candidate or Path()), asked)
    elif sequential:
        outcome = _judged_in_blocks(against, model, tasks, evaluation, asked)
    else:
        outcome = _judged_on_tasks(against, model, tasks, evaluation, asked, aside=aside)
    out, text = tables.console(error=aside), OutcomeText.of(outcome)
    try:
        verdicts.show_outcome(out, text)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            for line in render.as_annotations(text):
                out.out(line, highlight=False)
    except OSError:  # nobody reads any more (| head): the exit code still says it
        discard_output()
    _write(text, files)
    raise typer.Exit(outcome.exit_code)


def _refuse_beside_calibrate(options: Mapping[str, object]) -> None:
    from harness.errors import HarnessError

    for option, said in options.items():
        if said is not None:
            raise HarnessError(f"--calibrate judges nothing, so {option} means nothing beside it: leave one out")


def _judged(baseline: Report, candidate: Report, policy: Policy, only: Collection[str] | None = None) -> Outcome:
    from harness.verdicts.gate import gate as judge

    return judge(baseline, candidate, policy, only, calibrations=_calibrations(baseline, candidate))


def _judged_on_tasks(
    baseline: Report, model: str, tasks: list[str] | None, evaluation: Evaluation, policy: Policy, *, aside: bool
) -> Outcome:
    from harness.verdicts.gate import select_scores

    every = select_scores(baseline, policy)  # a policy that does not fit is told before anything is evaluated
    (candidate,) = evaluated([model], tasks, evaluation, error=aside)
    asked = {score.task for score in candidate.manifest.scores if score.headline}
    return _judged(baseline, candidate, policy, asked & {score.task for score in every.judged} or asked)


def _judged_in_blocks(
    baseline: Report, model: str, tasks: list[str] | None, evaluation: Evaluation, policy: Policy
) -> Outcome:
    from harness.checkpoints.reference import parse
    from harness.common import progress, slow_imports

    reference, options = parse(model), evaluation.options(required(tasks))
    with progress.status("loading libraries"), slow_imports.importing():
        from harness.gating.sequential import gate_in_blocks
        from harness.runs.sweep import JOURNAL
    try:
        found = gate_in_blocks(reference, baseline, options, policy, calibrations=_calibrations(baseline))
    except KeyboardInterrupt:
        if (journal := options.output / JOURNAL).exists():
            typer.echo(
                f"\ninterrupted. Answers so far are in {journal}: the same command goes on from there.", err=True
            )
        raise typer.Exit(130) from None
    typer.echo(f"report: {found.report.folder}", err=True)
    return found.outcome


def _calibrations(*reports: Report) -> list[Calibration]:
    """Return what is known of how often the checkpoints of `reports` differ from themselves."""
    from harness.reports import calibration

    found = [calibration.find(one.folder.parent, one.manifest.checkpoint.fingerprint) for one in reports]
    return [one for one in found if one is not None]


def _calibrate(model: str, tasks: list[str] | None, evaluation: Evaluation) -> None:
    from harness.checkpoints.reference import parse
    from harness.cli.views import verdicts
    from harness.cli.views.tables import console
    from harness.common import progress, slow_imports
    from harness.reports import calibration

    reference, options = parse(model), evaluation.options(required(tasks))
    with progress.status("loading libraries"), slow_imports.importing():
        from harness.runs.calibrate import calibrate
    found = calibrate(reference, options)
    file = calibration.place(options.output, found.fingerprint)
    found.write(file)
    verdicts.show_calibration(console(), found)
    typer.echo(f"calibration: {file}")


def _policy(file: Path | None, margin: str | None, alpha: float | None) -> Policy:
    """Return what is asked: of the file, or the default; with what the command line says in its place."""
    from pydantic import ValidationError

    from harness.common import validation
    from harness.errors import HarnessError
    from harness.verdicts.policy import Policy, read

    asked = Policy.model_validate({}) if file is None else read(file)
    said = {name: value for name, value in (("margin", margin), ("alpha", alpha)) if value is not None}
    try:
        return Policy.model_validate({name: getattr(asked, name) for name in Policy.model_fields} | said)
    except ValidationError as error:
        problem = validation.first_problem(error)
        raise HarnessError(f"--{problem.place[0]} cannot be used: {problem.message}") from error


def _write(text: OutcomeText, files: dict[str, str | None]) -> None:
    """Write the files that were asked for, and GitHub's summary; the first that cannot be written is told at last."""
    from harness.errors import HarnessError
    from harness.verdicts import render

    made: dict[str, Callable[[], str]] = {
        "--json": lambda: render.as_json(text),
        "--junit": lambda: render.as_junit(text, datetime.now(UTC)),
        "--markdown": lambda: render.as_markdown(text),
    }
    wanted = [(file, option, made[option], False) for option, file in files.items() if file is not None]
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        wanted.append((summary, "GITHUB_STEP_SUMMARY", made["--markdown"], True))
    wrong: list[HarnessError] = []
    for file, option, make, append in wanted:
        try:
            outputs.write(make(), file, option, append=append)
        except HarnessError as error:
            wrong.append(error)
    if wrong:
        raise wrong[0]
