"""The leaderboard as a static site, readable from `file://`, in which nothing is fetched from elsewhere.

    index.html   the page: every view, drawn by scripts from the data
    table.html   the main table as plain HTML, for print, text browsers and readers without scripts
    *.js, *.css  from the top-level folder `leaderboard/`
    data/        what the page shows (`harness.leaderboard.chunks`)

The same reports give the same files: the time that the site states is that of its newest report.

Not here: merging and marking scores (`harness.leaderboard.table`), or the documents themselves
(`harness.leaderboard.board`, `vectors`, `texts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness import __version__
from harness.common import atomic_write, places, resources
from harness.common.progress import SILENT, Bar
from harness.errors import HarnessError
from harness.leaderboard import board, lineage, sentences, vectors
from harness.leaderboard.axis import Axis
from harness.leaderboard.changes import Collector
from harness.leaderboard.chunks import Chunks
from harness.leaderboard.lineage import Stated
from harness.leaderboard.samples import Samples
from harness.leaderboard.table import Row, Table, tabulate
from harness.leaderboard.texts import Texts, Which
from harness.reports import numbers_in_words
from harness.reports.report import Report, Score
from harness.verdicts.compare import Comparator
from harness.verdicts.pairs import IncomparableError

PAGE = "index.html"
TABLE = "table.html"
SCRIPTS = ("core.js", "stats.js", "compare.js", "overview.js", "samples.js", "details.js", "words.js")
ASSETS = ("style.css", "table.css", "table.js", *SCRIPTS)
TITLE = "Leaderboard"


@dataclass(frozen=True)
class Options:
    """How a site is built."""

    title: str = TITLE
    stated: Mapping[str, Stated] | None = None
    """What is said about where checkpoints come from (`harness.leaderboard.lineage`)."""
    samples: Which = "all"
    """Whose texts are in the site: `none`, those on which scores differ (`flips`), or `all`."""


@dataclass(frozen=True)
class Site:
    """A site that was built."""

    page: Path
    """Its index.html."""
    size: int
    """Bytes of all its files."""


def build(reports: Sequence[Report], output: Path, options: Options | None = None, bar: Bar = SILENT) -> Site:
    """Write the leaderboard of `reports` into the folder `output`.

    A new folder appears with all its files. In a folder that exists, no file is replaced before all are written, and
    the page is the last. Raises HarnessError if there are no reports, if none has a headline score, if the lineage
    does not fit, or if `output` is a file or cannot be written.
    """
    if output.exists() and not output.is_dir():
        raise HarnessError(f"{output} is a file: name a folder for the site with --output")
    options = options or Options()
    samples = Samples()
    table = tabulate(reports, samples.read)
    try:
        with ExitStack() as stack:
            folder = output if output.exists() else stack.enter_context(atomic_write.folder(output, tag="new"))
            chunks = Chunks(folder)
            texts = Texts(chunks, folder, options.samples)
            data = _add_data(table, options, chunks, texts, samples, bar)
            texts.finish()
            # The page is the last to be moved, because contexts end in reverse order.
            source = resources.folder("leaderboard")
            content = {PAGE: render_page(options.title, data), TABLE: render_table(table)}
            content |= {name: (source / name).read_text(encoding="utf-8") for name in ASSETS}
            for name, text in content.items():
                hidden = stack.enter_context(atomic_write.file(folder / name, tag="new"))
                hidden.write_text(text, encoding="utf-8")
        if folder == output:
            chunks.remove_others()
    except OSError as error:
        advice = places.advice(error, "choose another --output")
        raise HarnessError(f"cannot write the site to {output} ({error.strerror}): {advice}") from error
    return Site(output / PAGE, chunks.size + sum(len(text.encode()) for text in content.values()))


def _add_data(
    table: Table, options: Options, chunks: Chunks, texts: Texts, samples: Samples, bar: Bar
) -> dict[str, Any]:
    """Add all documents, and return the names of those that the page reads first."""
    lines = board.series(table)
    tasks = sorted({task for row in table.rows for task in row.report_by_task})
    bar.expect(len(table.columns) + len(tasks))
    steps = Collector(table, lineage.edges(table.rows, options.stated), samples.read)
    for number in range(len(table.columns)):
        steps.add(number)
        bar.advance(1)
    units: dict[str, Any] = {}
    answers: list[dict[str, Any]] = [{} for _ in table.rows]
    clusters: dict[str, int] = {}
    for task in tasks:
        for unit in vectors.units(table, task, samples.read):
            scores = _scores(table.rows, task, unit.filter)
            primary = next((metric for metric, score in scores.items() if score.primary), None)
            values = vectors.values(unit, scores)
            units[unit.name] = vectors.described(unit, values, clusters)
            units[unit.name]["questions"] = texts.questions(unit, values, primary)
            where = texts.answers(unit, values, primary)
            for row, entry in vectors.answered(unit, values):
                answers[row][unit.name] = entry | {"texts": where[row]}
        bar.advance(1)
    all_steps = steps.steps()
    refused = {
        (row, column): reason
        for row, line_of in enumerate(table.rows)
        for column, line in enumerate(lines)
        if (reason := _refusal(line_of, line.key, samples)) is not None
    }
    stated = dict(options.stated or {})
    document = board.document(table, all_steps, sentences.of(table, all_steps), stated, refused, options.title)
    names = {
        "units": chunks.add(units),
        "answers": [chunks.add(entry) for entry in answers],
    }
    return {"board": chunks.add(document | names | {"samples": options.samples}), "made": document["made"]}


def _scores(rows: Sequence[Row], task: str, filter: str) -> dict[str, Score]:
    """Return the scores of a task under one filter by metric, from any checkpoint that has them."""
    return {
        key.metric: entry.score
        for row in rows
        for key, entry in row.entries.items()
        if key.task == task and key.filter == filter and key.average is None
    }


def _refusal(row: Row, key: Any, samples: Samples) -> str | None:
    """Return why the score `key` of a checkpoint cannot be compared with any other; None if it can or is missing."""
    entry = row.entries.get(key)
    if entry is None:
        return None
    if any(row.report_by_task.get(task) is not entry.report for task in entry.score.members):
        return "its tasks were evaluated again in another report"
    try:
        Comparator(entry.report, entry.report, samples.read).compare(entry.score)
    except IncomparableError as error:
        return str(error)
    except HarnessError:
        return "the samples of its report cannot be read"
    return None


# --- pages


def render_page(title: str, data: Mapping[str, Any]) -> str:
    """Return the page as HTML. `data` has the name of the main document."""
    return (
        _environment()
        .get_template("index.html.jinja")
        .render(title=title, scripts=SCRIPTS, board=data["board"], made=data["made"], version=__version__)
    )


def render_table(table: Table) -> str:
    """Return the main table as a page of its own."""
    environment = _environment()
    environment.filters |= dict(_filters())
    axes = [Axis.of(column) for column in table.columns]
    made = max(report.manifest.created for row in table.rows for report in row.reports)
    return environment.get_template("table.html.jinja").render(
        table=table, axes=axes, made=f"{made[:16].replace('T', ' ')} UTC", version=__version__
    )


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(resources.folder("leaderboard")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _filters() -> Iterator[tuple[str, Any]]:
    for name in ("value", "interval", "parameters", "duration", "memory"):
        yield name, getattr(numbers_in_words, name)
    yield "bound", numbers_in_words.short_bound
