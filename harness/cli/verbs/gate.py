"""`harness gate`: may a candidate replace its baseline?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import outputs, stopping
from harness.cli.evaluate import evaluate_models
from harness.cli.options import Evaluation, Tasks, require_tasks, with_evaluation
from harness.cli.policy import load_policy
from harness.cli.verbs.calibrate import calibrate_model
from harness.common.terminal import echo
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.reports.report import Report
    from harness.verdicts.gate import Outcome
    from harness.verdicts.policy import Policy


@with_evaluation
def gate(
    *,
    candidate: Annotated[
        Path | None,
        typer.Argument(metavar="CANDIDATE", help="Report folder, or a folder with one report.", show_default=False),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="BASE", help="Report folder, or a name from 'harness baseline set'; default: main."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Read margins, floors and rules per task from a gate.yaml.")
    ] = None,
    margin: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Allowed loss: 2 (points) or 2% (relative). Per-task rules win."),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(metavar="P", help="Highest probability of a wrong verdict; default: 0.05. Per-task rules win."),
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the outcome as JSON; - is standard output.")
    ] = None,
    junit: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the outcome as JUnit XML; - is standard output.")
    ] = None,
    markdown: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the outcome as Markdown; GitHub's step summary always gets it."),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="CHECKPOINT", help="Evaluate this candidate on --tasks first."),
    ] = None,
    tasks: Annotated[list[str] | None, Tasks] = None,
    sequential: Annotated[
        bool,
        typer.Option(
            "--sequential", help="Evaluate --model in random blocks; stop each task once its verdict is clear."
        ),
    ] = False,
    calibrate: Annotated[bool, typer.Option("--calibrate", hidden=True)] = False,
    evaluation: Evaluation,
) -> None:
    """Judge a candidate against its baseline.

    Verdicts: passed (a loss as large as the margin is ruled out), regressed (a loss is real), inconclusive. Exit codes:
    0 passed, 1 regressed, 3 inconclusive, 2 wrong usage or reports that cannot be compared, 4 passed, but something
    failed and was left out (--keep-going).
    """
    from harness.cli.views import outcomes
    from harness.reports import baselines
    from harness.verdicts.texts import OutcomeText

    files = {"--json": json, "--junit": junit, "--markdown": markdown}
    if len(models or []) > 1:
        raise HarnessError("a gate judges one candidate: name one --model ('harness compare' takes several)")
    model = models[0] if models else None
    if (candidate is None) == (model is None):
        raise HarnessError("name one candidate: the folder of its report, or --model CHECKPOINT --tasks NAMES")
    for option, is_set in (("--sequential", sequential), ("--calibrate", calibrate)):
        if is_set and model is None:
            raise HarnessError(f"{option} evaluates a checkpoint: name it with --model CHECKPOINT --tasks NAMES")
    if sequential and evaluation.keep_going:
        raise HarnessError("--sequential stops by what it reads, so nothing may be left out: drop --keep-going")
    outputs.refuse_same_file(files)
    if calibrate:
        judging = {"--baseline": baseline, "--policy": policy, "--margin": margin, "--alpha": alpha, **files}
        _refuse_beside_calibrate({**judging, "--sequential": sequential or None})
        echo("harness gate --calibrate is now 'harness calibrate'", error=True)
        return calibrate_model(model or "", tasks, evaluation)
    to_stderr = outputs.STANDARD in files.values()
    gate_policy = load_policy(policy, margin, alpha)
    baseline_report = baselines.find(baseline or baselines.NAME)
    left_out = 0
    if model is None:
        evaluation.refuse_without_model(tasks)
        outcome = _judge_report(baseline_report, candidate or Path(), gate_policy)
    elif sequential:
        outcome = _judge_in_blocks(baseline_report, model, tasks, evaluation, gate_policy)
    else:
        outcome, left_out = _judge_model(baseline_report, model, tasks, evaluation, gate_policy, error=to_stderr)
    text = OutcomeText.of(outcome)
    outcomes.show(text, error=to_stderr)
    outputs.write_all(outcomes.documents(text, files))
    raise typer.Exit(outcome.exit_code or left_out)


def _refuse_beside_calibrate(options: Mapping[str, object]) -> None:
    for option, value in options.items():
        if value is not None:
            raise HarnessError(f"--calibrate judges nothing, so {option} cannot be used with it: drop one of the two")


def _judge_report(baseline: Report, candidate: Path, policy: Policy) -> Outcome:
    from harness.gating import whole_reports
    from harness.reports import baselines

    return whole_reports.judge(baseline, baselines.only_report(candidate), policy)


def _judge_model(
    baseline: Report, model: str, tasks: list[str] | None, evaluation: Evaluation, policy: Policy, *, error: bool
) -> tuple[Outcome, int]:
    """Return the verdict, and the exit code of the evaluation."""
    from harness.checkpoints import discovery
    from harness.checkpoints.reference import parse
    from harness.gating import whole_reports

    codes: list[int] = []

    def evaluate() -> Report:
        discovery.require_one(parse(model))
        evaluated = evaluate_models([model], tasks, evaluation, error=error)
        codes.append(evaluated.exit_code)
        [report] = evaluated.reports
        return report

    return whole_reports.judge_evaluated(baseline, evaluate, policy), codes[0]


def _judge_in_blocks(
    baseline: Report, model: str, tasks: list[str] | None, evaluation: Evaluation, policy: Policy
) -> Outcome:
    from harness.checkpoints.reference import parse
    from harness.common import progress, slow_imports
    from harness.gating import whole_reports

    reference, options = parse(model), evaluation.options(require_tasks(tasks))
    with progress.status("loading libraries"), slow_imports.importing():
        from harness.gating.sequential import gate_in_blocks
    with stopping.says(stopping.with_journal(options.output)):
        calibrations = whole_reports.calibrations(baseline)
        result = gate_in_blocks(reference, baseline, options, policy, calibrations=calibrations)
    echo(f"report: {result.report.folder}", error=True)
    return result.outcome
