"""How results look in a terminal. Numbers keep their intervals; long tables stay readable in pipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli.views import types
from harness.reports import numbers_in_words
from harness.reports.report import RATINGS, Manifest, Report, Score

if TYPE_CHECKING:
    from harness.runs.estimate import Forecast
    from harness.tasks.describe import Description, Summary

PIPE_WIDTH = 160
ROOMY = 100
"""Where a terminal is narrower, names and protocols get the room of data sets, tokens and times."""


class _Console(Console):
    """Leaves a reader who has gone away to `main`; rich would end the process, and the run with it."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(*, error: bool = False) -> Console:
    """Return standard output, or error, as rich sees it; a pipe gets plain text, wide enough that no number is cut."""
    plain = _Console(stderr=error, emoji=False)  # names and answers are shown as they are: `:smile:` stays
    return plain if plain.is_terminal else _Console(stderr=error, emoji=False, width=PIPE_WIDTH)


def show_report(report: Report, *, all_tasks: bool = False, error: bool = False) -> None:
    """Print a report: its checkpoint, its scores, what it cost, its notes; to standard error if that is wanted."""
    out, manifest = console(error=error), report.manifest
    out.print(f"[bold]{escape(manifest.checkpoint.name)}[/]  {escape(_answerer(manifest))}", highlight=False)
    shown = [score for score in manifest.scores if all_tasks or score.headline or score.average]
    known = [name for name in ("chance", "ceiling") if any(getattr(score, name) is not None for score in shown)]
    headings = ["score", "95 % interval", *known, "n", "tokens", "time"]
    if out.width < ROOMY:
        headings = headings[:-2]
    table = Table()
    for heading in ("task", "metric"):
        table.add_column(heading, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for score in shown:
        table.add_row(*_cells(score, report, known)[: len(table.columns)])
    if table.row_count:
        out.print(table)
    types.show(out, report, everything=all_tasks)
    out.print(_effort(manifest), highlight=False)
    for note in manifest.notes:
        out.print(f"note: {escape(note)}", highlight=False)


def _answerer(manifest: Manifest) -> str:
    checkpoint, fingerprint = manifest.checkpoint, f"fingerprint {manifest.checkpoint.fingerprint[:12]}"
    if manifest.protocol.recorded == RATINGS:
        return f"ratings, {fingerprint}"
    if checkpoint.parameters is None:
        return f"recorded predictions ({manifest.protocol.recorded}), {fingerprint}"
    kind = f"{checkpoint.kind} on {checkpoint.quantization}" if checkpoint.quantization else checkpoint.kind
    return f"{kind}, {checkpoint.architecture}, {checkpoint.dtype} on {checkpoint.device}, {fingerprint}"


def _effort(manifest: Manifest) -> str:
    engine, took = manifest.engine, numbers_in_words.duration(manifest.seconds)
    limit = f" · limit {manifest.protocol.limit:,} a task" if manifest.protocol.limit else ""
    if engine is None:
        what = "rated" if manifest.protocol.recorded == RATINGS else "predictions scored"
        return f"{sum(task.documents for task in manifest.tasks.values()):,} {what} · {took}{limit}"
    resumed = f", {engine.answered_from_journal:,} of them from the journal" if engine.answered_from_journal else ""
    return (
        f"{engine.requests:,} requests{resumed} · {engine.tokens_fed:,} tokens fed, {engine.tokens_generated:,} "
        f"generated · {took} · peak memory {numbers_in_words.memory(engine.peak_memory_bytes)}{limit}"
    )


def show_forecast(forecast: Forecast) -> None:
    """Print what a run would cost."""
    out, total = console(), forecast.total
    table = Table("task")
    for heading in ("requests", "tokens", "to generate, at most"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, cost in forecast.tasks.items():
        table.add_row(escape(name), *(f"{value:,}" for value in cost))
    if len(forecast.tasks) > 1:
        table.add_section()
        table.add_row("all", *(f"{value:,}" for value in total))
    out.print(f"[bold]{escape(forecast.checkpoint)}[/]  {forecast.parameters:,} parameters", highlight=False)
    out.print(table)
    most = "at most " if total.generated_at_most else ""
    memory = f"about {numbers_in_words.memory(forecast.memory_bytes)} of memory for the model and a batch"
    out.print(f"expected: {most}about {numbers_in_words.duration(forecast.seconds)}, {memory}")


def show_summaries(summaries: Sequence[Summary]) -> None:
    """Print the list of tasks, a line each."""
    out = console()
    known = {
        "name": [one.name for one in summaries],
        "tasks": [str(one.members) for one in summaries],
        "data": [one.at_hand.partition(":")[0] for one in summaries],
        "data set": [one.dataset for one in summaries],
    }
    if out.width < ROOMY:
        del known["data set"]
    table = Table(expand=True)
    for heading, cells in known.items():
        longest = min(max(map(len, (heading, *cells))), 30)
        table.add_column(heading, no_wrap=True, min_width=longest, max_width=longest)
    table.add_column("protocol", no_wrap=True, ratio=1)
    for *cells, protocol in zip(*known.values(), (one.protocol for one in summaries), strict=True):
        table.add_row(*map(escape, cells), escape(protocol))
    out.print(table)
    out.print(
        "'harness tasks NAME' says all of one, how to fetch its data, and shows a prompt. Any other name that lm-eval "
        "knows works too.",
        highlight=False,
    )


def show_description(description: Description) -> None:
    """Print one task with its first prompt."""
    show_facts(description.name, description.facts)
    out = console()
    out.rule("the first document's prompt")
    out.print(description.prompt, markup=False, highlight=False, soft_wrap=True)
    out.rule("generated until" if description.generates else "scored after it")
    out.print("  ".join(map(repr, description.asked)), markup=False, highlight=False)


def show_facts(title: str, facts: Mapping[str, str]) -> None:
    """Print named facts, one a line."""
    table = Table(title=escape(title), title_justify="left", show_header=False)
    for name, value in facts.items():
        table.add_row(name, escape(value))
    console().print(table)


def _cells(score: Score, report: Report, known: Sequence[str]) -> list[str]:
    name = {"task": " (mean over tasks)", "sample": " (mean over documents)", None: ""}[score.average]
    kind = "" if score.filter == "none" else f" ({score.filter})"
    unit = " %" if score.fraction else ""
    info = report.manifest.tasks.get(score.task)
    tokens = f"{info.tokens_fed + info.tokens_generated:,}" if info and report.manifest.engine else ""
    bounds = [getattr(score, name) for name in known]
    return [
        escape(score.task + name),
        escape(score.metric + kind) + ("" if score.higher_is_better else " ↓"),
        numbers_in_words.value(score) + unit,
        numbers_in_words.interval(score) or "–",
        *("–" if bound is None else numbers_in_words.bound(bound, score) for bound in bounds),
        f"{score.n:,}",
        tokens,
        numbers_in_words.duration(info.seconds) if info else "",
    ]
