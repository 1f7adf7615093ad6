"""A score type by type, out of a finished report: which names, relations or events a checkpoint finds, and which not.

The samples of a metric called `macro_f1`, or `…_macro_f1`, hold what each document adds to each type: hits, predicted
and expected. Their sums are the types' own scores.

Not here: the metric itself (`harness.metrics.extraction.scores`), or how a table looks (`harness.cli.views.tables`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from harness.metrics.extraction.scores import sum_by_type
from harness.metrics.extraction.tuples import Counts
from harness.reports.report import Report, Score

_METRIC = "macro_f1"


class Breakdown(NamedTuple):
    """One metric of a task by type, the most wanted first."""

    task: str
    metric: str
    types: dict[str, Counts]


def breakdowns(report: Report) -> Iterator[Breakdown]:
    """Yield what the report's tasks have by type, in the order of its scores.

    Raises HarnessError if the samples of such a task are damaged.
    """
    for score in report.manifest.scores:
        if not score.average and (score.metric == _METRIC or score.metric.endswith(f"_{_METRIC}")):
            found = _of(report, score)
            if found:
                yield Breakdown(score.task, score.metric, found)


def _of(report: Report, score: Score) -> dict[str, Counts]:
    rows = report.samples(score.task, ["filter", score.metric])
    values = rows[score.metric][rows["filter"] == score.filter].dropna()
    documents = [json.loads(value) if isinstance(value, str) else value for value in values]
    if not all(isinstance(one, dict) for one in documents):  # another metric of that name: numbers, or pairs
        return {}
    types = sum_by_type(documents)
    return dict(sorted(types.items(), key=lambda one: (-one[1].expected, -one[1].predicted)))
