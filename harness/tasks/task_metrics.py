"""The metrics that a task reports; the first one represents the task where only one metric is shown.

Not here: computing them (`harness.metrics`), or what their values mean (`harness.tasks.bounds`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from harness.tasks.metadata import TaskMetadata

# lm-eval's metrics that lie in [0, 1] by definition. A unit is never guessed from values: 0.4 of 100 is not 40 %.
_FRACTIONS = (
    *("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "acc_all", "exact_match", "em", "f1"),
    *("prompt_level_strict_acc", "prompt_level_loose_acc", "inst_level_strict_acc", "inst_level_loose_acc"),
)


class Metric(NamedTuple):
    """A metric that a task reports, under one of the task's filters."""

    name: str
    filter: str
    higher_is_better: bool
    fraction: bool
    """Whether a sample's value lies in [0, 1] by definition, so that the score can be shown as a percentage."""
    aggregation: str = ""
    """The name of the function that aggregates the samples' values into the task's score: `mean`, `ratio`, …"""


def metrics_of(lm_eval: Any, metadata: TaskMetadata) -> list[Metric]:
    """Return the metrics that the lm-eval task object reports under each of its filters.

    `metadata.primary` (`exact_match,flexible-extract`) moves a metric to the front; `metadata.fractions` lists metrics
    of the task's own whose values lie in [0, 1].
    """
    better = lm_eval.higher_is_better()
    filters = [ensemble.name for ensemble in getattr(lm_eval, "_filters", [])] or ["none"]
    fractions = {*_FRACTIONS, *metadata.fractions}
    metrics = [
        Metric(name, kind, bool(better.get(name, True)), name in fractions, getattr(function, "__name__", ""))
        for name, function in lm_eval.aggregation().items()
        for kind in filters
    ]
    return sorted(metrics, key=lambda metric: f"{metric.name},{metric.filter}" != metadata.primary)
