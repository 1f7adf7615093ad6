"""One value per document and metric of every checkpoint, so that the page can compare any two of them.

A *unit* is a task under one answer filter. Checkpoints that answered the same documents with the same prompts, in the
same order, are in one *class* of the unit: row i of one is row i of the other. For two classes, the documents in common
are listed, or the reason is given why the two cannot be compared. Both are what `harness compare` finds
(`harness.verdicts.pairs`), and the values are those that it uses (`harness.verdicts.stats.forms`).

A list of values is written as its distinct values and, for each document, the place of its value among them, in one to
three printable characters (`packed`).

Not here: the tests themselves (leaderboard/stats.js), or texts of samples (`harness.leaderboard.texts`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import HarnessError
from harness.leaderboard.table import Table
from harness.reports.report import Report, Score
from harness.verdicts import pairs
from harness.verdicts.pairs import KEY, IncomparableError
from harness.verdicts.stats import forms

SYMBOLS = "".join(chr(code) for code in range(32, 127) if chr(code) not in '"\\')
"""The characters that stand for places: all of ASCII that JSON does not escape."""


class Side(NamedTuple):
    """A checkpoint's answers to one unit."""

    row: int
    """The number of the checkpoint's row."""
    report: Report
    table: pa.Table
    """Its samples under the unit's filter, as `pairs.read_samples` returns them."""


@dataclass
class Unit:
    """A task under one filter, as all checkpoints answered it."""

    task: str
    filter: str
    sides: list[Side]
    classes: list[list[Side]] = field(default_factory=list)
    """The sides with the same documents and prompts in the same order."""

    @property
    def name(self) -> str:
        """The unit's name in the site's data."""
        return name(self.task, self.filter)

    def class_of(self, side: Side) -> int:
        """Return the number of the class of `side`."""
        return next(number for number, members in enumerate(self.classes) if side in members)


def name(task: str, filter: str) -> str:
    """Return the name of a unit in the site's data."""
    return f"{task}\t{filter}"


def units(table: Table, task: str, read: pairs.Read) -> Iterator[Unit]:
    """Yield the units of `task`, each with the checkpoints of `table` whose samples can be read."""
    by_filter: dict[str, list[Side]] = {}
    for number, row in enumerate(table.rows):
        report = row.report_by_task.get(task)
        try:
            samples = None if report is None else read(report, task)
        except HarnessError:
            continue
        if report is None or samples is None:
            continue
        for filter in pc.unique(samples["filter"]).to_pylist():
            selected = samples.filter(pc.equal(samples["filter"], filter))
            by_filter.setdefault(filter, []).append(Side(number, report, selected))
    for filter, sides in by_filter.items():
        unit = Unit(task, filter, sides)
        classes: dict[str, list[Side]] = {}
        for side in sides:
            classes.setdefault(_signature(side, task), []).append(side)
        unit.classes = list(classes.values())
        yield unit


def _signature(side: Side, task: str) -> str:
    """Return a digest of all that two sides must have in common, so that row i of both is the same document."""
    info = side.report.manifest.tasks[task]
    digest = hashlib.sha256(repr((info.version, info.dataset, info.split, info.prompt_hash)).encode())
    for column in (*KEY, "cluster"):
        digest.update("\n".join(str(value) for value in side.table[column].to_pylist()).encode("utf-8", "replace"))
    return digest.hexdigest()


# --- what the page reads


def described(unit: Unit, metrics: Mapping[str, Values], clusters: dict[str, int]) -> dict[str, Any]:
    """Return the classes of `unit` and how they go together, as JSON. `clusters` numbers the names of clusters."""
    representatives = [members[0] for members in unit.classes]
    return {
        "classes": [_class(side.table, clusters) for side in representatives],
        "pairs": {
            f"{first},{second}": _common(unit, representatives[first], representatives[second])
            for first in range(len(representatives))
            for second in range(first + 1, len(representatives))
        },
        "metrics": {metric: kind for metric, (kind, _) in metrics.items()},
    }


def _class(table: pa.Table, clusters: dict[str, int]) -> dict[str, Any]:
    documents = table["doc_id"].to_pylist()
    names = table["cluster"].to_pylist()
    numbers = [None if item is None else clusters.setdefault(item, len(clusters)) for item in names]
    return {
        "n": table.num_rows,
        "documents": None if documents == list(range(len(documents))) else packed(documents),
        "clusters": None if not any(item is not None for item in names) else packed(numbers),
    }


def _common(unit: Unit, first: Side, second: Side) -> dict[str, Any]:
    """Return the rows of the documents that two classes have in common, or the reason why there is no comparison."""

    def numbered(report: Report, _: str) -> pa.Table:
        table = (first if report is first.report else second).table
        return table.append_column("row", pa.array(np.arange(table.num_rows)))

    try:
        joined = pairs.join(first.report, second.report, unit.task, numbered)[unit.filter]
    except IncomparableError as error:
        return {"reason": str(error)}
    rows = (side["row"].to_pylist() for side in (joined.baseline, joined.candidate))
    return {"rows": [packed(side) for side in rows], "left_out": joined.left_out}


class Values(NamedTuple):
    """A metric's values of all sides of a unit."""

    kind: str | None
    """`mean`, or the name of the function of `harness.verdicts.stats.sums`; None if no pair can be tested."""
    sides: list[list[Any] | None]
    """For each side, a value or a row of statistics per document, None without one; None if the side has none."""


def values(unit: Unit, scores: Mapping[str, Score]) -> dict[str, Values]:
    """Return the values of each metric in `scores` (a score of the unit by metric)."""
    return {metric: _values(unit, score) for metric, score in scores.items()}


def _values(unit: Unit, score: Score) -> Values:
    having = [side for side in unit.sides if score.metric in side.table.column_names]
    columns = [side.table[score.metric].to_pandas().to_numpy() for side in having]
    nothing = Values(None, [None] * len(unit.sides))
    try:
        statistics = forms.by_document(score.aggregation or "mean", columns)
    except ValueError:
        return nothing
    if statistics is None:
        return nothing
    kind = "mean" if statistics.metric is None else statistics.metric.__name__
    rows = iter(statistics.sides)
    filled = {
        side.row: _spread(mask.tolist(), next(rows).tolist()) if mask.any() else None
        for side, mask in zip(having, statistics.has_value, strict=True)
    }
    return Values(kind, [filled.get(side.row) for side in unit.sides])


def _spread(has_value: Sequence[bool], kept: Sequence[Any]) -> list[Any]:
    """Return the values `kept` at the places of the documents that have one, and None at the others."""
    remaining = iter(kept)
    return [next(remaining) if has else None for has in has_value]


def answered(unit: Unit, metrics: Mapping[str, Values]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row of the table with its answers to `unit`, as JSON: its class, and what is known by document."""
    for place, side in enumerate(unit.sides):
        table = side.table
        entry: dict[str, Any] = {"class": unit.class_of(side), "metrics": {}}
        for metric, (kind, sides) in metrics.items():
            if (column := sides[place]) is not None:
                entry["metrics"][metric] = packed(column) if kind == "mean" else packed_rows(column)
        for name in ("tainted", "not_understood", "cut_at_limit", "length"):
            column = table[name].to_pylist()
            if any(column):
                entry[name] = packed(column)
        yield side.row, entry


# --- compact lists


def packed(values: Iterable[Any]) -> dict[str, Any]:
    """Return a list as its distinct values and a text with the place of each."""
    listed = list(values)
    distinct = list(dict.fromkeys(listed))
    place = {value: number for number, value in enumerate(distinct)}
    width = next(width for width in (1, 2, 3, 4) if len(SYMBOLS) ** width >= len(distinct))
    symbols = [_symbols(number, width) for number in range(len(distinct))]
    return {"values": distinct, "width": width, "places": "".join(symbols[place[value]] for value in listed)}


def packed_rows(rows: Sequence[Sequence[float] | None]) -> list[dict[str, Any]]:
    """Return rows of statistics, column by column."""
    width = next(len(row) for row in rows if row is not None)
    return [packed(None if row is None else row[column] for row in rows) for column in range(width)]


def _symbols(number: int, width: int) -> str:
    text = ""
    for _ in range(width):
        number, rest = divmod(number, len(SYMBOLS))
        text += SYMBOLS[rest]
    return text
