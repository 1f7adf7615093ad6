"""`results.json`: lm-eval's outcomes, task by task → one document in lm-eval's result schema.

Standard errors and averages are those of the report; lm-eval's own groups are not used
(`harness.metrics.stats.estimates`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.sources import DataSource
from harness.metrics.stats.estimates import Estimate
from harness.reports.report import Score
from harness.tasks.task_metrics import Metric

NOT_AVAILABLE = "N/A"
"""lm-eval's own text for a missing number."""


def result_key(metric: Metric) -> str:
    """Return the key under which lm-eval reports a task's number for `metric`."""
    return f"{metric.name},{metric.filter}"


class LmEvalResults:
    """lm-eval's outcomes of several tasks, merged."""

    def __init__(self) -> None:
        self._merged: dict[str, Any] = {}

    def add(
        self,
        name: str,
        outcome: dict[str, Any],
        estimates: Mapping[Metric, Estimate | None],
        source: DataSource | None,
    ) -> None:
        """Add the `outcome` of task `name`, in which standard errors are set and local paths are removed (in place)."""
        _set_standard_errors(outcome["results"][name], estimates)
        _remove_local_paths(outcome["configs"][name], source)
        for key, value in outcome.items():
            if isinstance(value, dict):
                self._merged.setdefault(key, {}).update(value)

    def remove(self, name: str) -> None:
        """Forget the task `name`."""
        for by_task in self._merged.values():
            by_task.pop(name, None)

    def merged(self, scores: Sequence[Score], subtasks: Mapping[str, list[str]]) -> dict[str, Any]:
        """Return all outcomes as one document, with the averages among `scores` in place of lm-eval's groups."""
        merged = {**self._merged, "group_subtasks": subtasks}
        groups: dict[str, Any] = {}
        for score in scores:
            if score.average:
                entry = groups.setdefault(score.task, {"name": score.task, "alias": score.task, "sample_len": score.n})
                entry[f"{score.metric},{score.filter}"] = score.value
                entry[f"{score.metric}_stderr,{score.filter}"] = _standard_error(score.stderr)
        if groups:
            merged["groups"] = groups
            merged["results"] = {**merged.get("results", {}), **groups}
        return merged


def _set_standard_errors(results: dict[str, Any], estimates: Mapping[Metric, Estimate | None]) -> None:
    for metric, estimate in estimates.items():
        if estimate is None:
            results[result_key(metric)] = NOT_AVAILABLE
        else:
            results[f"{metric.name}_stderr,{metric.filter}"] = _standard_error(estimate.stderr)


def _standard_error(stderr: float | None) -> float | str:
    return NOT_AVAILABLE if stderr is None else stderr


def _remove_local_paths(config: dict[str, Any], source: DataSource | None) -> None:
    """Replace the folders of this machine in a task's configuration by the data set's name on the hub."""
    if source is not None:
        config["dataset_path"] = source.dataset
        (config.get("dataset_kwargs") or {}).pop("cache_dir", None)
    config.get("metadata", {}).pop("config_source", None)
