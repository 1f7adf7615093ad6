"""How flips look in a terminal: the documents on which two checkpoints' scores differ, with both answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from harness.cli.views import samples as sample_view
from harness.cli.views.samples import Sample
from harness.common.console import Console, escape
from harness.reports.report import Report, Score
from harness.verdicts.compare import Comparator
from harness.verdicts.pairs import IncomparableError


class Flip(NamedTuple):
    """A document on which two checkpoints' scores differ."""

    lost: bool
    """Whether the candidate's score is worse than the baseline's."""
    baseline: Sample
    candidate: Sample


def show_flips(out: Console, comparator: Comparator, task: str | None, limit: int) -> None:
    """Print the documents that the candidate lost, then the ones that it gained, by each task's primary metric.

    At most `limit` documents are printed per task. `task` may be an average, which stands for all tasks that it
    averages; None means all tasks of the report.
    """
    scores = comparator.baseline.manifest.scores
    tasks = {member for score in scores if task in (None, score.task) for member in score.members}
    for score in scores:
        if not score.primary or score.average is not None or score.task not in tasks:
            continue
        try:
            items = list(flips(comparator, score))
        except IncomparableError as error:
            out.print(escape(f"{score.task}: not comparable: {error}"), highlight=False, soft_wrap=True)
            continue
        lost = sum(flip.lost for flip in items)
        out.rule(escape(f"{score.task}, {score.metric}: {lost:,} lost, {len(items) - lost:,} gained"))
        for flip in items[:limit]:
            _show(out, comparator, score, flip)
        if len(items) > limit:
            out.print(f"… {len(items) - limit:,} more: raise --show to see them", highlight=False)


def flips(comparator: Comparator, score: Score) -> Iterator[Flip]:
    """Yield a task's documents with different scores: first those lost, then those gained, in the task's order.

    Raises IncomparableError if the two checkpoints did not answer the same questions.
    """
    joined = comparator.pairs(score.task, score.filter)
    before, after = (
        pd.Series(side[score.metric].to_pylist()).map(sample_view.value) for side in (joined.baseline, joined.candidate)
    )
    gain = (after - before) if score.higher_is_better else (before - after)
    reports = (comparator.baseline, comparator.candidate)
    sides = (joined.baseline, joined.candidate)
    for lost, rows in ((True, gain.index[gain < 0]), (False, gain.index[gain > 0])):
        if len(rows):
            samples = [
                _samples(report, score, [side["doc_id"][int(row)].as_py() for row in rows])
                for report, side in zip(reports, sides, strict=True)
            ]
            yield from (Flip(lost, *pair) for pair in zip(*samples, strict=True))


def _samples(report: Report, score: Score, documents: list[int]) -> list[Sample]:
    rows = report.samples(score.task)
    rows = rows[rows["filter"] == score.filter].set_index("doc_id", drop=False)
    return list(rows.loc[documents].to_dict("records"))


def _show(out: Console, comparator: Comparator, score: Score, flip: Flip) -> None:
    sample_view.show_question(out, flip.baseline, ": [red]lost[/]" if flip.lost else ": [green]gained[/]")
    for report, sample in ((comparator.baseline, flip.baseline), (comparator.candidate, flip.candidate)):
        name, number = report.manifest.checkpoint.name, sample_view.value(sample[score.metric])
        sample_view.show_answer(out, f"{name} ({number:.4g})", sample)
    out.print()
