"""The leaderboard as a static site: one page, its style sheet and its script, readable from `file://`.

The page asks the network for nothing, and needs its script for sorting only. Templates, style sheet and script are in
the top-level folder `leaderboard/`; this module only fills them in.

Not here: what is merged, compared or marked. `harness.leaderboard.table` decides that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness import __version__, resources
from harness.errors import HarnessError
from harness.leaderboard.comparison import interval
from harness.leaderboard.table import Series, Table, tabulate
from harness.runs.report import Report, Score

PAGE = "index.html"
ASSETS = ("style.css", "site.js")


class Axis(NamedTuple):
    """The scale on which a column draws its intervals, in the metric's own unit."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, column: Series) -> Axis:
        """Return 0 to 100 % for fractions; for others a round scale from 0 that holds every interval of `column`."""
        if column.first.fraction:
            return cls(0.0, 0.5, 1.0)
        ends = [end for cell in column.cells if cell for end in interval(cell.score)]
        low, high = 0.0 - _round_up(-min(ends)), _round_up(max(ends))
        return cls(low, (low + high) / 2, high) if high > low else cls(0.0, 0.5, 1.0)

    def place(self, value: float) -> str:
        """Return where `value` lies, from 0% to 100%; an interval that leaves the scale ends at its edge."""
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def build(reports: Sequence[Report], output: Path) -> Path:
    """Write the leaderboard of `reports` into the folder `output` and return the path of its index.html.

    The page comes last and by a rename, so that a site that was there before is whole until the new one is. Raises
    HarnessError if there are no reports, none has a headline score, or `output` is a file or cannot be written.
    """
    if output.exists() and not output.is_dir():
        raise HarnessError(f"{output} is a file: name a folder for the site with --output")
    page = render(tabulate(reports), datetime.now(UTC))
    source = resources.folder("leaderboard")
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name in ASSETS:
            _replace(output / name, (source / name).read_text(encoding="utf-8"))
        return _replace(output / PAGE, page)
    except OSError as error:
        raise HarnessError(f"cannot write the site to {output} ({error.strerror}): choose another --output") from error


def render(table: Table, made: datetime) -> str:
    """Return the page of `table` as HTML; `made` is the time it states."""
    environment = Environment(
        loader=FileSystemLoader(resources.folder("leaderboard")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "value": value,
        "interval": interval_text,
        "parameters": parameters,
        "duration": duration,
        "memory": memory,
    }
    axes = [Axis.of(column) for column in table.columns]
    return environment.get_template("index.html.jinja").render(
        table=table, axes=axes, made=made.strftime("%Y-%m-%d %H:%M UTC"), version=__version__
    )


def value(score: Score) -> str:
    """Return a score for people: 45.3 for a fraction of 0.453; others to four significant digits."""
    return _written(score.value, score)


def interval_text(score: Score) -> str:
    """Return the 95 % interval to the digits of its value, `43.1–47.5`; nothing where there is none."""
    if score.low is None or score.high is None:
        return ""
    between = " to " if score.low < 0 else "–"
    return f"{_written(score.low, score)}{between}{_written(score.high, score)}"


def parameters(count: int) -> str:
    """Return a number of parameters for people: 7.6 B."""
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}\N{NO-BREAK SPACE}{unit}"
    return str(count)


def duration(seconds: float) -> str:
    """Return a time for people, its two largest units: 1 h 12 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def memory(count: int) -> str:
    """Return bytes for people: 14.2 GiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _written(number: float, score: Score) -> str:
    # The digits are those of the value, so that both ends of its interval line up with it.
    if score.fraction:
        text = f"{100 * number:.1f}"
    else:
        size = math.floor(math.log10(abs(score.value))) if score.value else 0
        text = f"{number:,.{min(max(3 - size, 0), 4)}f}"
    return text.replace("-", "−")


def _round_up(number: float) -> float:
    """The next 1, 2 or 5 times a power of ten; 0 stays 0."""
    if number <= 0:
        return 0.0
    power = float(10.0 ** math.floor(math.log10(number)))
    return next(step * power for step in (1, 2, 5, 10) if number <= step * power * (1 + 1e-9))


def _replace(file: Path, content: str) -> Path:
    hidden = file.with_name(f".{file.name}.new")
    hidden.write_text(content, encoding="utf-8")
    return hidden.replace(file)
