"""The leaderboard as a table: a row per checkpoint, a column per headline score, and lines of details for each column.

A checkpoint is identified by its fingerprint: several reports of one checkpoint make one row. The scores of a task come
from the report with the most documents of the task. If several reports have equally many, the newest of these counts.
Checkpoints with the same name but different fingerprints stay different rows.

Not here: how anything looks (`harness.leaderboard.site`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from harness.common.limits import Limit
from harness.errors import HarnessError
from harness.leaderboard import comparison
from harness.leaderboard.leaders import Candidate, leaders
from harness.reports import ledger
from harness.reports.checkpoint_info import CheckpointInfo
from harness.reports.ledger import Ledger
from harness.reports.report import Report, Score
from harness.verdicts import comparable, pairs
from harness.verdicts.comparable import Conditions, Difference, Key

SHORT = 8
"""The smallest number of digits shown of a fingerprint."""


class Entry(NamedTuple):
    """A score, and the report that it comes from."""

    score: Score
    report: Report


@dataclass(frozen=True)
class Cell:
    """One checkpoint's score for one key (task, metric, filter, and kind of average)."""

    score: Score
    report: Report
    conditions: Conditions
    """The conditions under which the checkpoint was evaluated."""
    differences: tuple[Difference, ...]
    """Why the score cannot be compared with other checkpoints' scores for the same key. Empty if it can."""
    leading: bool
    """Whether the score is the best of the comparable scores, or not separated from it (`leaders`)."""
    tested: bool
    """Whether a paired test says so; False if only the intervals overlap, or if the score does not lead."""
    chance: float | None
    """The score of guessing, from the report of this score or of a comparable one. None if no report states it."""
    ceiling: float | None
    """The highest possible score, from the report of this score or of a comparable one. None if no report states it."""

    @property
    def labels(self) -> list[str]:
        """The differences in words short enough for a cell, each once."""
        count = f" (n = {self.score.n:,})"
        labels = (d.label + count if d.label == comparable.DOCUMENTS else d.label for d in self.differences)
        return list(dict.fromkeys(labels))

    @property
    def standing(self) -> comparison.Standing:
        """How the score compares with chance. Empty if the whole interval of the score is better than chance."""
        return comparison.standing(self.score, self.chance)

    @property
    def answers(self) -> Ledger:
        """How the answers behind the score ended, and how many were not understood."""
        return ledger.of_score(self.report.manifest, self.score)

    @property
    def limited(self) -> bool:
        """Whether a limit on documents left some out of the score."""
        return self.conditions.cut_short


@dataclass(frozen=True)
class Series:
    """All checkpoints' scores for one key (task, metric, …): a column of the main table or a line of a detail table."""

    key: Key
    cells: tuple[Cell | None, ...]
    """The cells in the order of the table's rows; None for a checkpoint that was not evaluated."""
    reference: Conditions
    """The conditions under which most checkpoints were evaluated."""

    @property
    def first(self) -> Score:
        """The first score of the series; all its scores have the same unit and direction."""
        return next(cell.score for cell in self.cells if cell)

    @property
    def n(self) -> int:
        """The number of samples of the first comparable score; comparable scores have equal numbers."""
        return next(cell.score.n for cell in self.cells if cell and not cell.differences)

    @property
    def chance(self) -> float | None:
        """The score of guessing, for the comparable scores; None if not known."""
        return next(cell.chance for cell in self.cells if cell and not cell.differences)

    @property
    def ceiling(self) -> float | None:
        """The highest possible score, for the comparable scores; None if not known."""
        return next(cell.ceiling for cell in self.cells if cell and not cell.differences)

    @property
    def num_fewshot(self) -> int | None:
        """The number of few-shot examples under the reference conditions; None if the tasks have different numbers."""
        counts = {task.num_fewshot for task in self.reference.tasks.values()}
        return counts.pop() if len(counts) == 1 else None


@dataclass(frozen=True)
class Row:
    """One checkpoint and all its scores: a row of the leaderboard."""

    checkpoint: CheckpointInfo
    short: str
    """The first digits of the fingerprint, enough to be unique in the table."""
    namesake: bool
    """Whether another row has the same name, so that only the fingerprints distinguish the two."""
    other_names: tuple[str, ...]
    """Other names that the checkpoint has in its older reports."""
    reports: tuple[Report, ...]
    """The checkpoint's reports, oldest first."""
    entries: dict[Key, Entry]
    """The checkpoint's scores by key."""

    @property
    def created(self) -> str:
        """When the checkpoint was first evaluated, UTC, ISO 8601."""
        return self.reports[0].manifest.created

    @property
    def limits(self) -> list[Limit]:
        """The limits on documents with which the row's scores were computed, ascending; empty without limits."""
        limits = {entry.report.manifest.protocol.limit for entry in self.entries.values()}
        return sorted(limit for limit in limits if limit is not None)

    @cached_property
    def report_by_task(self) -> dict[str, Report]:
        """The report of each task's answers: that of the headline score which covers the task, if one does."""
        entries = sorted(self.entries.values(), key=lambda entry: entry.score.headline)
        return {task: entry.report for entry in entries for task in entry.score.members}

    def tasks(self, report: Report) -> list[str]:
        """Return the headline tasks whose scores come from `report`; none if other reports replace all its scores."""
        return sorted(
            {key.task for key, entry in self.entries.items() if entry.report is report and entry.score.headline}
        )


@dataclass(frozen=True)
class Block:
    """The lines of a detail table under one heading."""

    title: str
    lines: tuple[Series, ...]

    @property
    def uniform(self) -> bool:
        """Whether all lines have the same metric and no filter, so that the heading can state the metric once."""
        return {(line.key.metric, line.key.filter) for line in self.lines} == {(self.lines[0].key.metric, "none")}


@dataclass(frozen=True)
class Section:
    """The detail tables of one headline task (a task or average that was requested by name)."""

    title: str
    blocks: tuple[Block, ...]


class AnswerNote(NamedTuple):
    """How many of a checkpoint's answers were empty, cut, unfinished or not understood."""

    row: Row
    sentence: str
    is_doubtful: bool
    """Whether the answers to most documents were empty, cut, unfinished or not understood."""


@dataclass(frozen=True)
class Table:
    """The whole leaderboard."""

    rows: tuple[Row, ...]
    """The rows, sorted by the date of each checkpoint's first report."""
    columns: tuple[Series, ...]
    """The columns, one per headline score (of a task or average that was requested by name)."""
    sections: tuple[Section, ...]
    reports: int
    """Number of reports in the table."""

    @property
    def made(self) -> str:
        """When the newest report was made, UTC, to the minute."""
        return max(report.manifest.created for row in self.rows for report in row.reports)[:16].replace("T", " ")

    @property
    def apart(self) -> bool:
        """Whether any score in the main table is not comparable with the other scores in its column."""
        return any(cell and cell.differences for column in self.columns for cell in column.cells)

    @property
    def answers(self) -> list[AnswerNote]:
        """What a reader should know of the answers behind the scores of the main table, row by row."""
        notes = (
            AnswerNote(row, cell.answers.sentence(column.key.task), cell.answers.is_doubtful)
            for number, row in enumerate(self.rows)
            for column in self.columns
            if (cell := column.cells[number]) is not None
        )
        return [note for note in notes if note.sentence]

    @property
    def marks_chance(self) -> bool:
        """Whether chance is drawn anywhere in the main table."""
        return any(cell and cell.chance is not None for column in self.columns for cell in column.cells)

    @property
    def marks_ceiling(self) -> bool:
        """Whether a ceiling is drawn anywhere in the main table."""
        return any(cell and cell.ceiling is not None for column in self.columns for cell in column.cells)


def tabulate(reports: Sequence[Report], read: pairs.Read = pairs.read_samples) -> Table:
    """Return the table of `reports`; `read` reads their samples, for the tests of which scores are the best.

    Raises HarnessError if there are no reports, or if no report has a headline score.
    """
    if not reports:
        raise HarnessError("a leaderboard needs at least one report: give the folders that 'harness run' printed")
    rows = _rows(sorted(reports, key=lambda report: (report.manifest.created, report.folder)))
    headline = _keys(rows, lambda score: score.headline and score.primary)
    if not headline:
        raise HarnessError(f"none of the {len(reports)} reports has a headline score: run the evaluations again")
    return Table(
        rows=rows,
        columns=tuple(_series(rows, key, read) for key in headline),
        sections=tuple(_sections(rows, headline, read)),
        reports=len(reports),
    )


def _rows(reports: Sequence[Report]) -> tuple[Row, ...]:
    merged: dict[str, list[Report]] = {}
    for report in reports:
        merged.setdefault(report.manifest.checkpoint.fingerprint, []).append(report)
    names = Counter(reports[-1].manifest.checkpoint.name for reports in merged.values())
    length = _distinct_length(list(merged))
    return tuple(_row(fingerprint[:length], reports, names) for fingerprint, reports in merged.items())


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
    """Return the scores of a checkpoint: for each task, the scores in the report with the most documents.

    If several reports have equally many, the newest is chosen. Reports are chosen by task, not by score, so that two
    metrics of one task are never from different runs.
    """
    chosen: dict[str, Report] = {}
    for report in reports:
        for name in {score.task for score in report.manifest.scores}:
            before = chosen.get(name)
            if before is None or _documents(report, name) >= _documents(before, name):
                chosen[name] = report
    return {
        Key.of(score): Entry(score, report)
        for report in reports
        for score in report.manifest.scores
        if chosen[score.task] is report
    }


def _documents(report: Report, name: str) -> int:
    return comparable.conditions(report, name).documents


def _distinct_length(fingerprints: Sequence[str]) -> int:
    """Return how many leading digits, at least `SHORT`, distinguish all `fingerprints`."""
    longest = max(len(fingerprint) for fingerprint in fingerprints)
    lengths = range(SHORT, longest)
    return next((n for n in lengths if len({f[:n] for f in fingerprints}) == len(fingerprints)), longest)


def _keys(rows: Iterable[Row], matches: Callable[[Score], bool]) -> list[Key]:
    """Return the keys of all scores for which `matches` is true, in the order of `Key.order`."""
    keys = {key for row in rows for key, entry in row.entries.items() if matches(entry.score)}
    return sorted(keys, key=lambda key: key.order)


def _series(rows: Sequence[Row], key: Key, read: pairs.Read) -> Series:
    """Return the scores of all rows for `key`, each with how it compares with the other scores."""
    entries = [row.entries.get(key) for row in rows]
    conditions = [comparable.conditions(entry.report, key.task) if entry else None for entry in entries]
    reference = comparison.reference([condition for condition in conditions if condition])
    differences = [comparable.differences(condition, reference) if condition else () for condition in conditions]
    candidates = [Candidate(*entry) for entry, apart in zip(entries, differences, strict=True) if entry and not apart]
    alike = [candidate.score for candidate in candidates]
    best = [(alike[leader.place], leader.is_tested) for leader in leaders(candidates, read)]

    def cell(entry: Entry, under: Conditions, apart: tuple[Difference, ...]) -> Cell:
        leading = any(entry.score is score for score, _ in best)
        tested = any(entry.score is score and is_tested for score, is_tested in best)
        bounds = comparison.bounds([entry.score] if apart else [entry.score, *alike])
        return Cell(entry.score, entry.report, under, apart, leading, tested, *bounds)

    cells = (
        cell(entry, under, apart) if entry and under else None
        for entry, under, apart in zip(entries, conditions, differences, strict=True)
    )
    return Series(key, tuple(cells), reference)


def _sections(rows: Sequence[Row], headline: Sequence[Key], read: pairs.Read) -> Iterator[Section]:
    """Yield the detail tables of each headline task, then one of all other scores."""
    listed = set(headline)
    for task in dict.fromkeys(key.task for key in headline):
        inside = {name for row in rows for name in _inside(row, task)}
        blocks = _blocks(rows, task, inside, headline, read)
        listed.update(line.key for block in blocks for line in block.lines)
        if blocks:
            yield Section(task, blocks)
    rest = _keys(rows, lambda score: score.primary and Key.of(score) not in listed)
    if rest:
        yield Section("Other", (_block(rows, "Scores", rest, read),))


def _inside(row: Row, task: str) -> set[str]:
    """Return the names of the tasks and averages inside the headline `task` for which `row` has scores."""
    reports = {entry.report.folder: entry.report for key, entry in row.entries.items() if key.task == task}
    below: set[str] = set()
    for report in reports.values():
        below |= comparison.descendants(report, task).union(comparable.members(report, task))
    return {key.task for key in row.entries if key.task in below or key.task.startswith(f"{task}/")} - {task}


def _blocks(
    rows: Sequence[Row], task: str, inside: set[str], headline: Sequence[Key], read: pairs.Read
) -> tuple[Block, ...]:
    def below(score: Score) -> bool:
        return score.primary and score.task in inside

    keys_by_title = (
        ("Other metrics", _keys(rows, lambda score: score.task == task and Key.of(score) not in headline)),
        ("Named averages", _keys(rows, lambda score: below(score) and score.average is not None)),
        ("Tasks", _keys(rows, lambda score: below(score) and score.average is None)),
    )
    return tuple(_block(rows, title, keys, read) for title, keys in keys_by_title if keys)


def _block(rows: Sequence[Row], title: str, keys: Sequence[Key], read: pairs.Read) -> Block:
    return Block(title, tuple(_series(rows, key, read) for key in keys))
