"""The verbs as one command line."""

from __future__ import annotations

from typing import Annotated

import typer

import harness
from harness.cli.verbs.baseline import baseline
from harness.cli.verbs.calibrate import calibrate
from harness.cli.verbs.compare import compare
from harness.cli.verbs.demo import demo
from harness.cli.verbs.export import export
from harness.cli.verbs.gate import gate
from harness.cli.verbs.inspect import inspect
from harness.cli.verbs.journal import journal
from harness.cli.verbs.leaderboard import leaderboard
from harness.cli.verbs.merge import merge
from harness.cli.verbs.retrieve import retrieve
from harness.cli.verbs.run import run
from harness.cli.verbs.score import score
from harness.cli.verbs.show import show
from harness.cli.verbs.tasks import tasks
from harness.cli.verbs.train import train
from harness.cli.verbs.verify import verify
from harness.common.terminal import echo

WRONG_USAGE: type[Exception] = typer.BadParameter.__mro__[2]
"""The base of typer's errors about arguments: click's `ClickException`, or its copy in later versions of typer."""

app = typer.Typer(
    help="Evaluate, compare and gate families of language-model checkpoints.",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich cuts option names to fit its boxes
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (run, score, show, verify, compare, gate):
    app.command()(verb)
app.add_typer(baseline, name="baseline")
for verb in (calibrate, leaderboard, export, tasks, retrieve, inspect, merge, train, demo):
    app.command()(verb)
app.add_typer(journal, name="journal")


def _print_version(context: typer.Context, is_set: bool) -> None:
    if not is_set:
        return
    echo(f"harness {harness.__version__}")
    if context.params.get("verbose"):
        from harness.cli.environment import environment

        for name, value in environment().items():
            echo(f"{name}: {value}")
    raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[  # eager, so that it is known when --version prints, in whatever order they are typed
        bool, typer.Option("--verbose", is_eager=True, help="With --version: add what a bug report needs.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, help="Print the version and stop.")
    ] = False,
) -> None:
    """Evaluate, compare and gate families of language-model checkpoints."""
    if verbose:
        raise typer.BadParameter("--verbose goes with --version")
