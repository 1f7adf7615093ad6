"""How reports, forecasts and tasks look in a terminal: tables that keep intervals and stay readable in pipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from harness.cli.views import types
from harness.common import console, limits
from harness.common.console import escape
from harness.reports import ledger, numbers_in_words
from harness.reports.report import RATINGS, Manifest, Report, Score

if TYPE_CHECKING:
    from harness.runs.estimate import Forecast
    from harness.tasks.describe import Description, Summary

ROOMY = 100
"""In terminals with fewer columns of characters, tables leave out their less important columns."""


def show_report(report: Report, *, all_tasks: bool = False, error: bool = False) -> None:
    """Print a report: checkpoint, scores, cost and notes; to standard error if `error`.

    Scores of averages and of tasks that were asked for by name are shown; with `all_tasks`, scores of every task.
    """
    out, manifest = console.create(error=error), report.manifest
    out.print(f"[bold]{escape(manifest.checkpoint.name)}[/]  {escape(_origin(manifest))}", highlight=False)
    scores = [score for score in manifest.scores if all_tasks or score.headline or score.average]
    bounds = [name for name in ("chance", "ceiling") if any(getattr(score, name) is not None for score in scores)]
    headings = ["score", "95 % interval", *bounds, "n", "tokens", "time"]
    if out.width < ROOMY:
        headings = headings[:-2]
    table = Table()
    for heading in ("task", "metric"):
        table.add_column(heading, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for score in scores:
        table.add_row(*_cells(score, report, bounds)[: len(table.columns)])
    for name in manifest.failed:
        table.add_row(escape(name), "", "failed", *[""] * (len(table.columns) - 3))
    if table.row_count:
        out.print(table)
    for line in _answers(manifest, scores, all_tasks=all_tasks):
        out.print(escape(line), highlight=False)
    types.show(out, report, everything=all_tasks)
    out.print(_cost(manifest), highlight=False)
    for note in manifest.notes:
        out.print(f"note: {escape(note)}", highlight=False)


def _answers(manifest: Manifest, scores: Sequence[Score], *, all_tasks: bool) -> list[str]:
    """Return the lines about a report's answers; one explains the mark of doubt, if any of `scores` has this mark."""
    lines = [f"answers: {sentence}" for sentence in ledger.sentences(manifest, all_tasks=all_tasks)]
    is_marked = any(ledger.of_score(manifest, score).is_doubtful for score in scores)
    return [*lines, ledger.LEGEND] if is_marked else lines


def _origin(manifest: Manifest) -> str:
    """Return in words where a report's answers come from: a kind of checkpoint, recorded predictions, or ratings."""
    checkpoint, fingerprint = manifest.checkpoint, f"fingerprint {manifest.checkpoint.fingerprint[:12]}"
    if manifest.protocol.recorded == RATINGS:
        return f"ratings, {fingerprint}"
    if checkpoint.parameters is None:
        return f"recorded predictions ({manifest.protocol.recorded}), {fingerprint}"
    kind = f"{checkpoint.kind} on {checkpoint.quantization}" if checkpoint.quantization else checkpoint.kind
    return f"{kind}, {checkpoint.architecture}, {checkpoint.dtype} on {checkpoint.device}, {fingerprint}"


def _cost(manifest: Manifest) -> str:
    """Return requests, tokens, time and memory of a report on one line."""
    engine, duration = manifest.engine, numbers_in_words.duration(manifest.seconds)
    limit = f" · {limits.in_words(manifest.protocol.limit)}" if manifest.protocol.limit else ""
    if engine is None:
        action = "rated" if manifest.protocol.recorded == RATINGS else "predictions scored"
        return f"{sum(task.documents for task in manifest.tasks.values()):,} {action} · {duration}{limit}"
    resumed = f", {engine.answered_from_journal:,} of them from the journal" if engine.answered_from_journal else ""
    return (
        f"{engine.requests:,} requests{resumed} · {engine.tokens_fed:,} tokens fed, {engine.tokens_generated:,} "
        f"generated · {duration} · peak memory {numbers_in_words.memory(engine.peak_memory_bytes)}{limit}"
    )


def show_forecast(forecast: Forecast) -> None:
    """Print the expected cost of running one checkpoint."""
    out, total = console.create(), forecast.total
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
    """Print the list of tasks, one line per task."""
    out = console.create()
    columns = {
        "name": [summary.name for summary in summaries],
        "tasks": [str(summary.members) for summary in summaries],
        "data": [summary.at_hand.partition(":")[0] for summary in summaries],
        "data set": [summary.dataset for summary in summaries],
    }
    if out.width < ROOMY:
        del columns["data set"]
    table = Table(expand=True)
    for heading, cells in columns.items():
        longest = min(max(map(len, (heading, *cells))), 30)
        table.add_column(heading, no_wrap=True, min_width=longest, max_width=longest)
    table.add_column("protocol", no_wrap=True, ratio=1)
    for *cells, protocol in zip(*columns.values(), (summary.protocol for summary in summaries), strict=True):
        table.add_row(*map(escape, cells), escape(protocol))
    out.print(table)
    out.print(
        "'harness tasks NAME' describes one task, shows a prompt, and says how to fetch its data. Other tasks of "
        "lm-eval work by their names, too.",
        highlight=False,
    )


def show_description(description: Description) -> None:
    """Print one task with the prompt of its first document."""
    show_facts(description.name, description.facts)
    out = console.create()
    out.rule("prompt of the first document")
    out.print(description.prompt, markup=False, highlight=False, soft_wrap=True)
    out.rule("generation stops at" if description.generates else "continuations scored")
    out.print("  ".join(map(repr, description.endings)), markup=False, highlight=False)


def show_facts(title: str, facts: Mapping[str, str]) -> None:
    """Print named facts, one per line."""
    table = Table(title=escape(title), title_justify="left", show_header=False)
    for name, value in facts.items():
        table.add_row(escape(name), escape(value))
    console.create().print(table)


def _of_all(score: Score, manifest: Manifest) -> str:
    """Return how many documents there were if some failed: ` of 120`; otherwise an empty text."""
    failed = sum(manifest.failed_documents.get(task, 0) for task in score.members)
    return f" of {score.n + failed:,}" if failed else ""


def _cells(score: Score, report: Report, bounds: Sequence[str]) -> list[str]:
    """Return a score's row, with a cell for each of `bounds` (chance, ceiling)."""
    average = {"task": " (mean over tasks)", "sample": " (mean over documents)", None: ""}[score.average]
    filtered = "" if score.filter == "none" else f" ({score.filter})"
    unit = " %" if score.fraction else ""
    task = report.manifest.tasks.get(score.task)
    tokens = f"{task.tokens_fed + task.tokens_generated:,}" if task and report.manifest.engine else ""
    values = [getattr(score, name) for name in bounds]
    return [
        escape(score.task + average),
        escape(score.metric + filtered) + ("" if score.higher_is_better else " ↓"),
        numbers_in_words.value(score) + unit + ledger.mark(ledger.of_score(report.manifest, score)),
        numbers_in_words.interval(score) or "–",
        *("–" if value is None else numbers_in_words.bound(value, score) for value in values),
        f"{score.n:,}" + _of_all(score, report.manifest),
        tokens,
        numbers_in_words.duration(task.seconds) if task else "",
    ]
