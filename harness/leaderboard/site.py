"""The leaderboard as a static site: one page, its style sheet and its script, readable from `file://`.

The page makes no network requests, and needs its script only for sorting. Templates, style sheet and script are in the
top-level folder `leaderboard/`; this module fills them in.

Not here: merging, comparing and marking scores (`harness.leaderboard.table`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness import __version__
from harness.common import atomic_write, places, resources
from harness.errors import HarnessError
from harness.leaderboard.comparison import interval
from harness.leaderboard.table import Series, Table, tabulate
from harness.reports import numbers_in_words
from harness.reports.report import Report

PAGE = "index.html"
ASSETS = ("style.css", "site.js")


class Axis(NamedTuple):
    """The scale on which a column's intervals are drawn, in the metric's own unit."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, column: Series) -> Axis:
        """Return the axis of `column`.

        For fractions it is 0 to 1. Otherwise it ends at round numbers, and contains 0 and all that is drawn.
        """
        if column.first.fraction:
            return cls(0.0, 0.5, 1.0)
        cells = [cell for cell in column.cells if cell]
        ends = [end for cell in cells for end in interval(cell.score)]
        ends += [bound for cell in cells for bound in (cell.chance, cell.ceiling) if bound is not None]
        low, high = 0.0 - _round_up(-min(ends)), _round_up(max(ends))
        return cls(low, (low + high) / 2, high) if high > low else cls(0.0, 0.5, 1.0)

    def place(self, value: float) -> str:
        """Return the place of `value` as a CSS percentage; values outside the scale are placed at the nearer end."""
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def build(reports: Sequence[Report], output: Path) -> Path:
    """Write the leaderboard of `reports` into the folder `output`, and return the path of its index.html.

    A new folder appears with all its files. In a folder that exists, no file is replaced before all are written, and
    the page is the last. Raises HarnessError if there are no reports, if none has a headline score, or if `output` is a
    file or cannot be written.
    """
    if output.exists() and not output.is_dir():
        raise HarnessError(f"{output} is a file: name a folder for the site with --output")
    page = render(tabulate(reports), datetime.now(UTC))
    source = resources.folder("leaderboard")
    # The page is the last to be moved, because contexts end in reverse order.
    content = {PAGE: page, **{name: (source / name).read_text(encoding="utf-8") for name in ASSETS}}
    try:
        with ExitStack() as stack:
            folder = output if output.exists() else stack.enter_context(atomic_write.folder(output, tag="new"))
            for name, text in content.items():
                hidden = stack.enter_context(atomic_write.file(folder / name, tag="new"))
                hidden.write_text(text, encoding="utf-8")
    except OSError as error:
        advice = places.advice(error, "choose another --output")
        raise HarnessError(f"cannot write the site to {output} ({error.strerror}): {advice}") from error
    return output / PAGE


def render(table: Table, created: datetime) -> str:
    """Return the page of `table` as HTML. `created` is the time that the page states."""
    environment = Environment(
        loader=FileSystemLoader(resources.folder("leaderboard")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "value": numbers_in_words.value,
        "interval": numbers_in_words.interval,
        "bound": numbers_in_words.short_bound,
        "parameters": numbers_in_words.parameters,
        "duration": numbers_in_words.duration,
        "memory": numbers_in_words.memory,
    }
    axes = [Axis.of(column) for column in table.columns]
    return environment.get_template("index.html.jinja").render(
        table=table, axes=axes, made=created.strftime("%Y-%m-%d %H:%M UTC"), version=__version__
    )


def _round_up(number: float) -> float:
    """Round `number` up to 1, 2 or 5 times a power of ten; return 0 if it is 0 or less."""
    if number <= 0:
        return 0.0
    power = float(10.0 ** math.floor(math.log10(number)))
    return next(step * power for step in (1, 2, 5, 10) if number <= step * power * (1 + 1e-9))
