"""All documents that the page reads: computed task by task, so that the samples of one task are in memory at a time.

| document | content |
|---|---|
| the main one | checkpoints, scores, steps (`harness.leaderboard.board`), and the names of the others |
| units | which documents of each task checkpoints have in common, and where the texts of questions are |
| answers, one for each checkpoint | a value for each document and metric, and where the texts of answers are |
| parts | texts of questions and answers (`harness.leaderboard.texts`) |

Not here: how a document becomes a file (`harness.leaderboard.chunks`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.common.progress import Bar
from harness.errors import HarnessError
from harness.leaderboard import board, lineage, sentences, vectors
from harness.leaderboard.changes import Collector, Step
from harness.leaderboard.chunks import Chunks
from harness.leaderboard.lineage import Stated
from harness.leaderboard.samples import Samples, refusal
from harness.leaderboard.table import Row, Table
from harness.leaderboard.texts import Texts
from harness.reports.report import Score
from harness.verdicts.comparable import Key
from harness.verdicts.compare import Comparator


def add(
    table: Table, title: str, stated: Mapping[str, Stated], samples: Samples, chunks: Chunks, texts: Texts, bar: Bar
) -> str:
    """Add all documents of `table` to `chunks`, and return the name of the main one.

    Raises HarnessError if what is `stated` about the family does not fit, and OSError if a file cannot be written.
    """
    tasks = sorted({task for row in table.rows for task in row.report_by_task})
    bar.expect(len(table.columns) + len(tasks))
    steps = _steps(table, stated, samples, bar)
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
            parts = texts.answers(unit, values, primary)
            for row, entry in vectors.answered(unit, values):
                answers[row][unit.name] = entry | {"texts": parts[row]}
        bar.advance(1)
    refused = _refused(table, samples)
    main = board.document(table, steps, sentences.of(table, steps), stated, refused, title)
    names = {"units": chunks.add(units), "answers": [chunks.add(entry) for entry in answers]}
    return chunks.add(main | names)


def _steps(table: Table, stated: Mapping[str, Stated], samples: Samples, bar: Bar) -> list[Step]:
    steps = Collector(table, lineage.edges(table.rows, stated), samples.read)
    for number in range(len(table.columns)):
        steps.add(number)
        bar.advance(1)
    return steps.steps()


def _scores(rows: Sequence[Row], task: str, filter: str) -> dict[str, Score]:
    """Return the scores of a task under one filter by metric, from any checkpoint that has them."""
    return {
        key.metric: entry.score
        for row in rows
        for key, entry in row.entries.items()
        if key.task == task and key.filter == filter and key.average is None
    }


def _refused(table: Table, samples: Samples) -> dict[tuple[int, int], str]:
    """Return, by the numbers of row and series, why a score cannot be compared with any other checkpoint's."""
    refused = {}
    for number, row in enumerate(table.rows):
        for column, line in enumerate(board.series(table)):
            if (reason := _refusal(row, line.key, samples)) is not None:
                refused[number, column] = reason
    return refused


def _refusal(row: Row, key: Key, samples: Samples) -> str | None:
    """Return why the score `key` of a checkpoint cannot be compared with any other; None if it can or is missing."""
    entry = row.entries.get(key)
    if entry is None:
        return None
    if any(row.report_by_task.get(task) is not entry.report for task in entry.score.members):
        return "its tasks were evaluated again in another report"
    try:
        Comparator(entry.report, entry.report, samples.read).compare(entry.score)
    except HarnessError as error:
        return refusal(error)
    return None
