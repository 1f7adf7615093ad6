"""Scores by type, from a finished report: which kinds of names, relations or events a checkpoint extracts.

The samples of a metric called `macro_f1`, or `…_macro_f1`, hold each document's counts for each type: hits, predicted
and expected items. The sums of the counts over documents give the score of each type.

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
    """One metric of an extraction task, by type of name, relation or event."""

    task: str
    metric: str
    types: dict[str, Counts]
    """The counts of each type over all documents, the most frequently expected type first."""


def breakdowns(report: Report) -> Iterator[Breakdown]:
    """Yield the breakdown by type of every score that has one, in the order of the report's scores.

    Raises HarnessError if the samples of a task with such a score are damaged.
    """
    for score in report.manifest.scores:
        if not score.average and (score.metric == _METRIC or score.metric.endswith(f"_{_METRIC}")):
            types = _types(report, score)
            if types:
                yield Breakdown(score.task, score.metric, types)


def _types(report: Report, score: Score) -> dict[str, Counts]:
    """Return the counts of each type; none if the metric is called `…macro_f1` but its values are not counts."""
    rows = report.samples(score.task, ["filter", score.metric])
    values = rows[score.metric][rows["filter"] == score.filter].dropna()
    documents = [json.loads(value) if isinstance(value, str) else value for value in values]
    if not all(isinstance(counts, dict) for counts in documents):  # another metric of that name: numbers, or pairs
        return {}
    types = sum_by_type(documents)
    return dict(sorted(types.items(), key=lambda item: (-item[1].expected, -item[1].predicted)))
