"""Scores of a model that is in memory, such as one that is being trained; nothing is written.

Prompts, requests and scores are those of a run with the same options.

Not here: reports of checkpoints that are files (`harness.runs.run`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from harness.checkpoints.checkpoint import Checkpoint
from harness.common.progress import Advance
from harness.reports.report import Score
from harness.runs.options import Options, prompt_settings
from harness.runs.run import answerer, begin, since
from harness.runs.sweep import load_tasks
from harness.runs.task_results import TaskResults
from harness.tasks.catalogue import Catalogue
from harness.tasks.task_set import TaskSet


class MetricKey(NamedTuple):
    """What a score is of; without a metric, the task's or group's first one."""

    task: str
    metric: str | None = None

    def __str__(self) -> str:
        return self.task if self.metric is None else f"{self.task}/{self.metric}"


def load(options: Options) -> TaskSet:
    """Return the tasks of `options`. Raises HarnessError if one does not exist or cannot be read."""
    catalogue = Catalogue(options.include, options.comparisons)
    catalogue.sources(catalogue.expand(options.tasks), options.data)
    return load_tasks(catalogue, options)


def metrics(tasks: TaskSet) -> Mapping[MetricKey, bool]:
    """Return what `scores` will return of `tasks`, each with whether more of it is better."""
    result: dict[MetricKey, bool] = {}
    for name, task in tasks.tasks.items():
        for metric in task.metrics:
            result.setdefault(MetricKey(name), metric.higher_is_better)
            result.setdefault(MetricKey(name, metric.name), metric.higher_is_better)
    for declared in tasks.averages:
        for member in declared.average.tasks:
            for metric in tasks.tasks[member].metrics:
                if not declared.metrics or metric.name in declared.metrics:
                    result.setdefault(MetricKey(declared.average.name), metric.higher_is_better)
                    result.setdefault(MetricKey(declared.average.name, metric.name), metric.higher_is_better)
    return result


def scores(checkpoint: Checkpoint, tasks: TaskSet, options: Options, advance: Advance) -> Mapping[MetricKey, float]:
    """Return the scores of `checkpoint` on `tasks`; of a metric with several filters, that of the first.

    `advance` is called with the number of new answers. Raises HarnessError if the checkpoint cannot answer a
    task; `checks.require_room` must have passed.
    """
    results = TaskResults(tasks)
    lm = answerer(checkpoint, tasks, None, options)
    lm.advance = advance
    for name, task in tasks.tasks.items():
        begin(task, lm, options)
        before = replace(lm.work)
        outcome = task.evaluate(lm, limit=options.limit, **prompt_settings(options))
        results.add(name, outcome, since(before, lm.work), 0.0)
        task.release_requests()
    return _by_key(results.scores())


def _by_key(found: list[Score]) -> dict[MetricKey, float]:
    result: dict[MetricKey, float] = {}
    for score in found:
        if score.primary:
            result.setdefault(MetricKey(score.task), score.value)
        result.setdefault(MetricKey(score.task, score.metric), score.value)
    return result
