"""`harness demo`: the whole of it on a small invented world."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from harness.demo.story import Event
    from harness.reports.report import Report, Score


def demo(
    keep: Annotated[Path, typer.Option(metavar="DIR", help="A folder of its own, which keeps all of it.")] = Path(
        "demo"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="A tenth of the training and few questions: less than a minute.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, metavar="N", help="Of first weights and the order of lessons.")
    ] = 0,
) -> None:
    """Train a small family of checkpoints, evaluate it, and make its page.

    About five minutes on two CPU cores, no downloads. What is trained is kept in the user's cache, so that a second
    call is short.
    """
    from harness.common import progress, slow_imports

    with progress.status("loading libraries"), slow_imports.importing():
        from harness.demo import story
    try:
        for event in story.tell(keep, quick=quick, seed=seed):
            _show(event)
    except KeyboardInterrupt:
        typer.echo(f"\ninterrupted. Finished stages stay in {keep}: the same command goes on from there.", err=True)
        raise typer.Exit(130) from None


def _show(event: Event) -> None:
    from harness.cli.verbs.train import line
    from harness.cli.views import tables
    from harness.demo import story
    from harness.reports.report import Report
    from harness.training.stages import Trained

    out = tables.console()
    plain: Any = {"markup": False, "highlight": False, "soft_wrap": True}
    match event:
        case story.Said(text):
            out.print(text if text.startswith(" ") else f"\n{text}", **plain)
        case story.Command():
            out.print(f"$ {event}", style="bold cyan", **plain)
        case story.Page(file):
            out.print(f"The page, to open in a browser: {file}", **plain)
        case Trained():
            out.print(line(event), **plain)
        case Report():
            out.print(_finished(event), **plain)
        case story.Compared(reports):
            out.print(_family(reports, {member.name: member.parent for member in story.FAMILY}))
            out.print(
                "Each cell: the score in %, over its 95 % interval. ▲ ▼: above or below what the checkpoint\n"
                "was made from, by more than both intervals. Chance: the answer to another question. Ceiling:\n"
                "the right one; for advertising, another copy by the same writer.",
                highlight=False,
            )


def _finished(report: Report) -> str:
    from harness.reports import numbers_in_words

    manifest = report.manifest
    kind = manifest.checkpoint.quantization or manifest.checkpoint.kind
    requests = manifest.engine.requests if manifest.engine else 0
    told = f"{manifest.checkpoint.name:10} {kind:8} {requests:,} requests, "
    return told + f"{numbers_in_words.duration(manifest.seconds)} → {report.folder}"


def _family(reports: Sequence[Report], parents: dict[str, str | None]) -> Table:
    """Return the family side by side: a row per checkpoint between chance and ceiling, a column per task."""
    from rich import box
    from rich.table import Table

    scores = {
        report.manifest.checkpoint.name: [score for score in report.manifest.scores if score.headline and score.primary]
        for report in reports
    }
    first = next(iter(scores.values()))
    table = Table("", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for score in first:
        table.add_column(
            f"{score.task.removeprefix('demo_')}\n[dim]{_SHORT.get(score.metric, score.metric)}[/]", justify="right"
        )
    table.add_row("[dim]chance[/]", *(_bound(score.chance) for score in first), end_section=True)
    for name, row in scores.items():
        before = scores.get(parents[name] or "", row)
        table.add_row(name, *(_cell(score, other) for score, other in zip(row, before, strict=True)))
    table.add_section()
    table.add_row("[dim]ceiling[/]", *(_bound(score.ceiling) for score in first))
    return table


_SHORT = {"exact_match": "exact", "rougeL_jieba": "rouge-L", "citation_f1": "F1", "micro_f1": "F1"}


def _bound(value: float | None) -> str:
    return "" if value is None else f"[dim]{100 * value:.0f}[/]"


def _cell(score: Score, before: Score) -> str:
    """Return a score over its interval, marked where it lies apart from `before`."""
    from harness.leaderboard.comparison import interval

    low, high = interval(score)
    old_low, old_high = interval(before)
    mark, style = ("▲", "green") if low > old_high else ("▼", "red") if high < old_low else ("", "not dim")
    return f"[{style}]{mark}{100 * score.value:.0f}[/]\n[dim]{100 * low:.0f}–{100 * high:.0f}[/]"
