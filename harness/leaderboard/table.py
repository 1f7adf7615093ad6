"""Reports → one table: a row per checkpoint, a column per headline score, and the lines behind each column.

A checkpoint is its fingerprint: several reports of one checkpoint make one row, in which the newest report that has a
task speaks for it. Equal names with different fingerprints stay different rows.

Not here: how anything looks. `harness.leaderboard.site` turns the table into a page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.errors import HarnessError
from harness.leaderboard import comparison
from harness.reports.report import CheckpointInfo, Report, Score
from harness.verdicts import comparable
from harness.verdicts.comparable import Conditions, Difference, Key

SHORT = 8


class Entry(NamedTuple):
    """A score and the report that it is from."""

    score: Score
    report: Report


@dataclass(frozen=True)
class Cell:
    """One checkpoint's score under one key."""

    score: Score
    report: Report
    asked: Conditions
    differences: tuple[Difference, ...]
    """Why the score must not be compared with the others of its series; empty where it may."""
    leading: bool
    """Best of those that may be compared, or within noise of it."""
    chance: float | None
    """The score's own, or that of those it may be compared with: a report may be older than the number."""
    ceiling: float | None
    """Likewise."""

    @property
    def labels(self) -> list[str]:
        """The differences in words that fit into a cell, each once."""
        count = f" (n = {self.score.n:,})"
        labels = (d.label + count if d.label == comparable.DOCUMENTS else d.label for d in self.differences)
        return list(dict.fromkeys(labels))

    @property
    def standing(self) -> comparison.Standing:
        """How the score stands to chance where its interval does not tell it from that."""
        return comparison.standing(self.score, self.chance)

    @property
    def limited(self) -> bool:
        """Whether a limit left documents out."""
        return self.asked.cut_short


@dataclass(frozen=True)
class Series:
    """All checkpoints' scores under one key: a column of the main table, or a line of a detail table."""

    key: Key
    cells: tuple[Cell | None, ...]
    """In the order of the table's rows; None where a checkpoint was not evaluated."""
    reference: Conditions
    """What most checkpoints were asked."""

    @property
    def first(self) -> Score:
        """Any score of the series; all share unit and direction."""
        return next(cell.score for cell in self.cells if cell)

    @property
    def n(self) -> int:
        """Samples behind a score that may be compared."""
        return next(cell.score.n for cell in self.cells if cell and not cell.differences)

    @property
    def chance(self) -> float | None:
        """What knowing nothing scores, for scores that may be compared; None where it is not known."""
        return next(cell.chance for cell in self.cells if cell and not cell.differences)

    @property
    def ceiling(self) -> float | None:
        """The most that can be scored, likewise."""
        return next(cell.ceiling for cell in self.cells if cell and not cell.differences)

    @property
    def num_fewshot(self) -> int | None:
        """Examples in the reference's prompts; None where its tasks differ in it."""
        counts = {task.num_fewshot for task in self.reference.tasks.values()}
        return counts.pop() if len(counts) == 1 else None


@dataclass(frozen=True)
class Row:
    """One checkpoint and everything that was measured of it."""

    checkpoint: CheckpointInfo
    short: str
    """Start of the fingerprint, as long as it takes to tell the table's checkpoints apart."""
    namesake: bool
    """Another row has the same name, so that a person needs the fingerprint to tell them apart."""
    other_names: tuple[str, ...]
    reports: tuple[Report, ...]
    """Oldest first."""
    entries: dict[Key, Entry]

    @property
    def created(self) -> str:
        """When the checkpoint was first evaluated, UTC, ISO 8601."""
        return self.reports[0].manifest.created

    @property
    def limits(self) -> list[int]:
        """Limits of the reports that speak for the checkpoint, where there are any."""
        found = {entry.report.manifest.protocol.limit for entry in self.entries.values()}
        return sorted(limit for limit in found if limit is not None)

    def tasks(self, report: Report) -> list[str]:
        """Return the names of headline tasks for which `report` speaks; empty if newer reports replace it."""
        return sorted(
            {key.task for key, entry in self.entries.items() if entry.report is report and entry.score.headline}
        )


@dataclass(frozen=True)
class Block:
    """Lines of a detail table under one heading."""

    title: str
    lines: tuple[Series, ...]

    @property
    def uniform(self) -> bool:
        """All lines are in the same metric without a filter, so that the heading can say it once."""
        return {(line.key.metric, line.key.filter) for line in self.lines} == {(self.lines[0].key.metric, "none")}


@dataclass(frozen=True)
class Section:
    """What stands behind the headline score of one task."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Table:
    """The whole leaderboard."""

    rows: tuple[Row, ...]
    """By the date of the checkpoint's first report."""
    columns: tuple[Series, ...]
    sections: tuple[Section, ...]
    reports: int

    @property
    def apart(self) -> bool:
        """Whether any number of the main table must not be compared."""
        return any(cell and cell.differences for column in self.columns for cell in column.cells)

    @property
    def marks_chance(self) -> bool:
        """Whether chance is drawn anywhere in the main table."""
        return any(cell and cell.chance is not None for column in self.columns for cell in column.cells)

    @property
    def marks_ceiling(self) -> bool:
        """Whether a ceiling is."""
        return any(cell and cell.ceiling is not None for column in self.columns for cell in column.cells)


def tabulate(reports: Sequence[Report]) -> Table:
    """Return the table of `reports`.

    Raises HarnessError if there are no reports, or none has a headline score.
    """
    if not reports:
        raise HarnessError("a leaderboard needs at least one report: give the folders that 'harness run' printed")
    rows = _rows(sorted(reports, key=lambda report: (report.manifest.created, report.folder)))
    headline = _keys(rows, lambda score: score.headline and score.primary)
    if not headline:
        raise HarnessError(f"none of the {len(reports)} reports has a headline score: run the evaluations again")
    return Table(
        rows=rows,
        columns=tuple(_series(rows, key) for key in headline),
        sections=tuple(_sections(rows, headline)),
        reports=len(reports),
    )


def _rows(reports: Sequence[Report]) -> tuple[Row, ...]:
    merged: dict[str, list[Report]] = {}
    for report in reports:
        merged.setdefault(report.manifest.checkpoint.fingerprint, []).append(report)
    names = Counter(of[-1].manifest.checkpoint.name for of in merged.values())
    length = _distinct_length(list(merged))
    return tuple(_row(fingerprint[:length], of, names) for fingerprint, of in merged.items())


def _row(short: str, reports: Sequence[Report], names: Counter[str]) -> Row:
    newest = reports[-1].manifest.checkpoint
    others = dict.fromkeys(report.manifest.checkpoint.name for report in reports)
    return Row(
        checkpoint=newest,
        short=short,
        namesake=names[newest.name] > 1,
        other_names=tuple(name for name in others if name != newest.name),
        reports=tuple(reports),
        entries=_fullest(reports),
    )


def _fullest(reports: Sequence[Report]) -> dict[Key, Entry]:
    # By task, not by score: two metrics of one task must not come from two different runs. A run over more documents
    # is not replaced by a later look at a few; of equals the newest speaks.
    speaks: dict[str, Report] = {}
    for report in reports:
        for name in {score.task for score in report.manifest.scores}:
            before = speaks.get(name)
            if before is None or _documents(report, name) >= _documents(before, name):
                speaks[name] = report
    return {
        Key.of(score): Entry(score, report)
        for report in reports
        for score in report.manifest.scores
        if speaks[score.task] is report
    }


def _documents(report: Report, name: str) -> int:
    return comparable.conditions(report, name).documents


def _distinct_length(fingerprints: Sequence[str]) -> int:
    longest = max(len(fingerprint) for fingerprint in fingerprints)
    lengths = range(SHORT, longest)
    return next((n for n in lengths if len({f[:n] for f in fingerprints}) == len(fingerprints)), longest)


def _keys(rows: Iterable[Row], wanted: Callable[[Score], bool]) -> list[Key]:
    found = {key for row in rows for key, entry in row.entries.items() if wanted(entry.score)}
    return sorted(found, key=lambda key: key.order)


def _series(rows: Sequence[Row], key: Key) -> Series:
    entries = [row.entries.get(key) for row in rows]
    questions = [comparable.conditions(entry.report, key.task) if entry else None for entry in entries]
    reference = comparison.reference([asked for asked in questions if asked])
    apart = [comparable.differences(asked, reference) if asked else () for asked in questions]
    alike = [entry.score for entry, why in zip(entries, apart, strict=True) if entry and not why]
    leading = comparison.leaders(alike)

    def cell(entry: Entry, asked: Conditions, why: tuple[Difference, ...]) -> Cell:
        best = any(entry.score is score for score in leading)
        bounds = comparison.bounds([entry.score] if why else [entry.score, *alike])
        return Cell(entry.score, entry.report, asked, why, best, *bounds)

    cells = (
        cell(entry, asked, why) if entry and asked else None
        for entry, asked, why in zip(entries, questions, apart, strict=True)
    )
    return Series(key, tuple(cells), reference)


def _sections(rows: Sequence[Row], headline: Sequence[Key]) -> Iterator[Section]:
    shown = set(headline)
    for task in dict.fromkeys(key.task for key in headline):
        inside = {name for row in rows for name in _inside(row, task)}
        blocks = _blocks(rows, task, inside, headline)
        shown.update(line.key for block in blocks for line in block.lines)
        if blocks:
            yield Section(task, blocks)
    rest = _keys(rows, lambda score: score.primary and Key.of(score) not in shown)
    if rest:
        yield Section("Other", (_block(rows, "Scores", rest),))


def _inside(row: Row, task: str) -> set[str]:
    """Names of everything that `row` has measured below the headline `task`."""
    reports = {entry.report.folder: entry.report for key, entry in row.entries.items() if key.task == task}
    below: set[str] = set()
    for report in reports.values():
        below |= comparison.descendants(report, task).union(comparable.members(report, task))
    return {key.task for key in row.entries if key.task in below or key.task.startswith(f"{task}/")} - {task}


def _blocks(rows: Sequence[Row], task: str, inside: set[str], headline: Sequence[Key]) -> tuple[Block, ...]:
    def below(score: Score) -> bool:
        return score.primary and score.task in inside

    found = (
        ("Other metrics", _keys(rows, lambda score: score.task == task and Key.of(score) not in headline)),
        ("Named averages", _keys(rows, lambda score: below(score) and score.average is not None)),
        ("Tasks", _keys(rows, lambda score: below(score) and score.average is None)),
    )
    return tuple(_block(rows, title, keys) for title, keys in found if keys)


def _block(rows: Sequence[Row], title: str, keys: Sequence[Key]) -> Block:
    return Block(title, tuple(_series(rows, key) for key in keys))
