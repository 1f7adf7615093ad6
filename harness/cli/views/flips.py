"""How the documents look on which two checkpoints' scores differ: what was asked, and what each answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd
from rich.console import Console
from rich.markup import escape

from harness.cli.views import samples as sample_view
from harness.cli.views.samples import Sample
from harness.cli.views.verdicts import plain
from harness.reports.report import Report, Score
from harness.verdicts.compare import Comparator
from harness.verdicts.pairs import IncomparableError


class Flip(NamedTuple):
    """A document on which two checkpoints' scores differ."""

    lost: bool
    """The candidate's is worse."""
    baseline: Sample
    candidate: Sample


def show_flips(out: Console, comparator: Comparator, task: str | None, limit: int) -> None:
    """Print the documents that the candidate lost, then those it gained, by each task's first metric.

    Of all tasks, or of `task`, or where that is an average of those it is over.
    """
    scores = comparator.baseline.manifest.scores
    named = {member for one in scores if task in (None, one.task) for member in one.members}
    for score in [one for one in scores if one.primary and one.average is None and one.task in named]:
        try:
            found = list(flips(comparator, score))
        except IncomparableError as error:
            out.print(escape(plain(f"{score.task}: not comparable: {error}")), highlight=False, soft_wrap=True)
            continue
        lost = sum(one.lost for one in found)
        out.rule(escape(plain(f"{score.task}, {score.metric}: {lost:,} lost, {len(found) - lost:,} gained")))
        for one in found[:limit]:
            _show(out, comparator, score, one)
        if len(found) > limit:
            out.print(f"… {len(found) - limit:,} more: --show says how many", highlight=False)


def flips(comparator: Comparator, score: Score) -> Iterator[Flip]:
    """Yield the documents of a task on which both scores differ, lost ones first, else in the task's order.

    Raises IncomparableError if they were asked something else.
    """
    joined = comparator.pairs(score.task, score.filter)
    was, now = (
        pd.Series(side[score.metric].to_pylist()).map(sample_view.value) for side in (joined.baseline, joined.candidate)
    )
    change = (now - was) if score.higher_is_better else (was - now)
    reports = (comparator.baseline, comparator.candidate)
    sides = (joined.baseline, joined.candidate)
    for lost, rows in ((True, change.index[change < 0]), (False, change.index[change > 0])):
        if len(rows):
            samples = [
                _samples(report, score, [side["doc_id"][int(row)].as_py() for row in rows])
                for report, side in zip(reports, sides, strict=True)
            ]
            yield from (Flip(lost, *pair) for pair in zip(*samples, strict=True))


def _samples(report: Report, score: Score, documents: list[int]) -> list[Sample]:
    found = report.samples(score.task)
    found = found[found["filter"] == score.filter].set_index("doc_id", drop=False)
    return list(found.loc[documents].to_dict("records"))


def _show(out: Console, comparator: Comparator, score: Score, flip: Flip) -> None:
    sample_view.show_question(out, flip.baseline, ": [red]lost[/]" if flip.lost else ": [green]gained[/]")
    names = [plain(one.manifest.checkpoint.name) for one in (comparator.baseline, comparator.candidate)]
    for name, sample in zip(names, (flip.baseline, flip.candidate), strict=True):
        number = sample_view.value(sample[score.metric])
        sample_view.show_answer(out, f"{name} ({number:.4g})", sample)
    out.print()
