"""How stages of a training look in a terminal: what they learn from, and what they have learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Column, Table
from rich.text import Text

from harness.common import console, terminal
from harness.reports import numbers_in_words, public_paths
from harness.training.corpora import CorpusReport, DataReport
from harness.training.settings import ADAPTERS
from harness.training.stages import Planned, Trained
from harness.training.store import Counts

SHOWN = 600
"""Largest number of characters of an example that are shown."""


def stage_line(trained: Trained) -> str:
    """Return one line on a stage: its name, origin, method, size, loss, and time, or "kept" if not trained now."""
    stage, record = trained.stage, trained.lineage
    line = f"{trained.name:10} from {stage.parent or Path(stage.start).name:10} "
    if stage.method == "merge":
        line += "merged into plain weights"
    else:
        title = f"{ADAPTERS[stage.method][1]}, " if stage.method in ADAPTERS else ""
        line += f"{title}{record.steps:,} steps, {record.tokens:,} tokens, {record.parameters:,} parameters"
        line += "" if record.loss is None else f", loss {record.loss:.2f}"
        if record.best is not None:
            line += f", kept step {record.best['step']:,} with {record.best['metric']} {record.best['value']:.4g}"
    line += f", by {record.processes:,} processes" if record.processes > 1 else ""
    if trained.reused:
        return f"{line}, kept"
    resumed = f", continued after step {record.resumed_at:,}" if record.resumed_at else ""
    return f"{line}, {numbers_in_words.duration(record.seconds)}{resumed}"


def stage_lines(trained: Trained) -> list[str]:
    """Return the line on a stage, and one on finished stages that started from an older training of it."""
    if not trained.stale:
        return [stage_line(trained)]
    names = ", ".join(trained.stale)
    return [
        stage_line(trained),
        f"note: trained on an older {trained.name}: {names}; --replace trains them anew",
    ]


def print_plan(planned: Planned) -> None:
    """Print what a stage would learn from."""
    out = console.create()
    state = "finished" if planned.is_finished else "to be trained"
    if planned.resumes_at:
        state = f"to be continued after step {planned.resumes_at:,}"
    start = public_paths.reduced(planned.stage.start)
    if planned.report is None:
        out.print(Text(f"{planned.name}: a merge of {start}, {state}"))
        _print_conflict(out, planned)
        return
    report = planned.report
    out.print(Text(f"{planned.name}: {planned.stage.method}, from {start}, {state}", style="bold"))
    _print_conflict(out, planned)
    out.print(Text(f"  {_summary(report)}"), soft_wrap=True)
    out.print(_table(report))
    for text in _notes(report):
        out.print(Text(f"  note: {text}"), soft_wrap=True)
    out.print(Text("  The first row; what is learned is green, or between ⟦ and ⟧:"))
    out.print(_example(report, is_coloured=out.is_terminal), soft_wrap=True)
    out.print()


def _print_conflict(out: console.Console, planned: Planned) -> None:
    """Print why a training would be refused, if it would be."""
    if planned.conflict:
        out.print(Text(f"  note: {planned.conflict}"), soft_wrap=True)


def print_data(name: str, report: DataReport) -> None:
    """Print, before a stage is trained, what is not as a user may expect of its corpora."""
    terminal.echo(f"{name}: {_summary(report)}", *(f"{name}: note: {text}" for text in _notes(report)), error=True)


def print_line(text: str) -> None:
    """Print a line on a loss, unless a progress bar is shown."""
    if not console.create(error=True).is_terminal:
        terminal.echo(text, error=True)


def _summary(report: DataReport) -> str:
    return (
        f"{report.steps:,} steps of {report.batch:,} rows, {report.tokens:,} tokens, {report.padding:.0%} padding, at "
        f"most {report.max_length:,} tokens an example"
    )


def _table(report: DataReport) -> Table:
    table = Table("corpus", *(Column(title, justify="right") for title in _COLUMNS))
    for corpus in report.corpora:
        table.add_row(*_cells(corpus, f"{corpus.learned / report.learned:.1%}"))
    for corpus in report.validation:
        table.add_row(*_cells(corpus, "validation"))
    return table


_COLUMNS = ("rows", "examples", "tokens", "learned", "read", "epochs", "of learned", "dropped", "cut")


def _cells(corpus: CorpusReport, share: str) -> Sequence[Text]:
    counts = corpus.counts
    cells = [
        f"{counts.rows:,}",
        f"{counts.kept:,}",
        f"{counts.tokens:,}",
        f"{counts.learned / max(counts.tokens, 1):.0%}",
        f"{corpus.examples:,}",
        f"{corpus.epochs:.2f}",
        share,
        f"{counts.duplicates + counts.unlearnable + counts.invalid:,}",
        f"{counts.cut + counts.shortened + counts.split:,}",
    ]
    return [Text(corpus.name), *map(Text, cells)]


def _notes(report: DataReport) -> list[str]:
    return [f"{corpus.name}: {text}" for corpus in (*report.corpora, *report.validation) for text in _of(corpus.counts)]


def _of(counts: Counts) -> list[str]:
    """Return what was dropped, cut or decided about a corpus, as sentences without full stops."""
    rows = f"of {counts.rows:,} rows"
    texts = [
        (counts.duplicates, f"{counts.duplicates:,} {rows} repeat an earlier one and are left out"),
        (counts.unlearnable, f"{counts.unlearnable:,} {rows} have nothing to learn within the length and are left out"),
        (counts.invalid, f"{counts.invalid:,} {rows} are invalid and are left out"),
        (counts.split, f"{counts.split:,} documents are longer than an example and were split"),
        (
            counts.shortened,
            f"{counts.shortened:,} conversations are too long and lost their {counts.exchanges:,} oldest exchanges",
        ),
        (counts.cut, f"{counts.cut:,} examples are too long and lost the end of their answer"),
        (
            counts.joined,
            f"{counts.joined:,} inputs follow their instructions: the template has no place for them",
        ),
        (
            counts.merged,
            f"in {counts.merged:,} examples a token holds the end of the prompt and the beginning of the answer; it is "
            "learned",
        ),
        (
            counts.merged_first,
            f"in {counts.merged_first:,} examples the first token holds the prompt and the beginning of the answer; it "
            "is not learned, because nothing precedes it",
        ),
        (
            counts.unended,
            f"{counts.unended:,} answers end with a token that ends no answer at evaluation; the end-of-text token "
            "follows it",
        ),
    ]
    return [*(text for count, text in texts if count), *counts.notes]


def _example(report: DataReport, *, is_coloured: bool) -> Text:
    text = Text("    ")
    left = SHOWN
    for piece in report.example:
        beginning = piece.text[:left].replace("\n", "⏎")
        if is_coloured:
            text.append(beginning, style="green" if piece.is_learned else "dim")
        else:
            text.append(f"⟦{beginning}⟧" if piece.is_learned else beginning)
        left -= len(beginning)
        if left <= 0:
            text.append("…")
            break
    return text
