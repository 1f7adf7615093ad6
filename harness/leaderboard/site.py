"""The leaderboard as a static site, readable from `file://`, in which nothing is fetched from elsewhere.

    index.html   the page: every view, drawn by scripts from the data
    table.html   the main table as plain HTML, for print, text browsers and readers without scripts
    *.js, *.css  from the top-level folder `leaderboard/`
    data/        what the page shows (`harness.leaderboard.chunks`)

The same reports give the same files: the time that the site states is that of its newest report.

Paths of this machine are reduced in all that is published (`harness.reports.public_reports`).

Not here: merging and marking scores (`harness.leaderboard.table`), or the documents in data/
(`harness.leaderboard.documents`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness import __version__
from harness.common import atomic_write, places, resources
from harness.common.progress import SILENT, Bar
from harness.errors import HarnessError
from harness.leaderboard import documents
from harness.leaderboard.axis import Axis
from harness.leaderboard.chunks import Chunks
from harness.leaderboard.lineage import Stated
from harness.leaderboard.samples import Samples
from harness.leaderboard.table import Table, tabulate
from harness.leaderboard.texts import Texts, Which
from harness.reports import numbers_in_words, public_reports
from harness.reports.report import Report

PAGE = "index.html"
TABLE = "table.html"
SCRIPTS = (
    *("core.js", "random.js", "stats.js", "compare.js", "compared.js", "columns.js", "cells.js", "copies.js"),
    *("overview.js", "samples.js", "curves.js", "checkpoint.js", "stages.js", "tradeoffs.js", "method.js", "words.js"),
)
"""In the order in which they need one another."""
ASSETS = ("style.css", "table.css", "table.js", *SCRIPTS)
TITLE = "Leaderboard"


@dataclass(frozen=True)
class Options:
    """How a site is built."""

    title: str = TITLE
    stated: Mapping[str, Stated] = field(default_factory=dict)
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
    public = [replace(report, manifest=public_reports.of_manifest(report.manifest)) for report in reports]
    table = tabulate(public, samples.read)
    try:
        with ExitStack() as stack:
            folder = output if output.exists() else stack.enter_context(atomic_write.folder(output, tag="new"))
            chunks = Chunks(folder)
            texts = Texts(chunks, folder, options.samples)
            main = documents.add(table, options.title, options.stated, samples, chunks, texts, bar)
            texts.finish()
            # The page is the last to be moved, because contexts end in reverse order.
            source = resources.folder("leaderboard")
            content = {PAGE: render_page(table, options.title, main), TABLE: render_table(table)}
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


def render_page(table: Table, title: str, main: str) -> str:
    """Return the page as HTML; `main` is the name of its main document."""
    template = _environment().get_template("index.html.jinja")
    return template.render(title=title, scripts=SCRIPTS, board=main, made=table.made, version=__version__)


def render_table(table: Table) -> str:
    """Return the main table as a page of its own."""
    environment = _environment()
    environment.filters |= dict(_filters())
    axes = [Axis.of(column) for column in table.columns]
    template = environment.get_template("table.html.jinja")
    return template.render(table=table, axes=axes, made=f"{table.made} UTC", version=__version__)


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
