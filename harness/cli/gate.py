"""`harness gate`: may a candidate replace its baseline?"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import discard_output, outputs
from harness.cli.options import Evaluation, Tasks, evaluated, with_evaluation

if TYPE_CHECKING:
    from harness.verdicts.gate import Outcome
    from harness.verdicts.policy import Policy


@with_evaluation
def gate(
    *,
    candidate: Annotated[
        Path | None,
        typer.Argument(metavar="CANDIDATE", help="A report's folder, or one that holds no other.", show_default=False),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="BASE", help="The same, or a name given by 'harness baseline set'.")
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
    model: Annotated[
        str | None, typer.Option(metavar="CHECKPOINT", help="Evaluate this first, in place of CANDIDATE, on --tasks.")
    ] = None,
    tasks: Annotated[list[str] | None, Tasks] = None,
    evaluation: Evaluation,
) -> None:
    """Judge a candidate against its baseline: passed, regressed or inconclusive.

    Passed means that a loss of the margin is ruled out, regressed that a loss is real. Exit codes: 0 passed, 1
    regressed, 3 inconclusive, 2 wrong usage or reports that cannot be compared.
    """
    from harness.cli import tables, verdict_tables
    from harness.errors import HarnessError
    from harness.verdicts import baselines, render
    from harness.verdicts.gate import gate as judge

    if (candidate is None) == (model is None):
        raise HarnessError("name what is to be judged: the folder of its report, or --model CHECKPOINT --tasks NAMES")
    asked = _policy(policy, margin, alpha)
    against = baselines.find(baseline or baselines.NAME)
    if model is not None:
        (judged,) = evaluated([model], tasks, evaluation)
    else:
        evaluation.refuse_without_model(tasks)
        judged = baselines.only(candidate or Path())
    outcome = judge(against, judged, asked)
    files = {"--json": json, "--junit": junit, "--markdown": markdown}
    out = tables.console(error=outputs.STANDARD in files.values())
    try:
        verdict_tables.show_outcome(out, outcome)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            for line in render.as_annotations(outcome):
                out.out(line, highlight=False)
    except OSError:  # nobody reads any more (| head): the exit code still says it
        discard_output()
    _write(outcome, files)
    raise typer.Exit(outcome.exit_code)


def _policy(file: Path | None, margin: str | None, alpha: float | None) -> Policy:
    """Return what is asked: of the file, or the default; with what the command line says in its place."""
    from pydantic import ValidationError

    from harness.errors import HarnessError
    from harness.verdicts.policy import Policy, read

    asked = Policy.model_validate({}) if file is None else read(file)
    said = {name: value for name, value in (("margin", margin), ("alpha", alpha)) if value is not None}
    try:
        return Policy.model_validate({name: getattr(asked, name) for name in Policy.model_fields} | said)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        raise HarnessError(f"--{first['loc'][0]} cannot be used: {message}") from error


def _write(outcome: Outcome, files: dict[str, str | None]) -> None:
    """Write the files that were asked for, and GitHub's summary; the first that cannot be written is told at last."""
    from harness.errors import HarnessError
    from harness.verdicts import render

    made: dict[str, Callable[[], str]] = {
        "--json": lambda: render.as_json(outcome),
        "--junit": lambda: render.as_junit(outcome, datetime.now(UTC)),
        "--markdown": lambda: render.as_markdown(outcome),
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
