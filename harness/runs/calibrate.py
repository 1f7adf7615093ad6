"""Calibration of a checkpoint: the same tasks evaluated again, to count how many values change.

Tasks that sample text are evaluated again with other seeds, which change values far more than batches do. All other
tasks are evaluated again with other batches. Prompts stay the same, few-shot examples included. The journal of answers
is neither read nor written, because a remembered answer would always be the same.

Not here: what a calibration means for a verdict (`harness.reports.calibration`, `harness.verdicts`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import harness
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import CheckpointReference
from harness.common import progress
from harness.engine.decoding.settings import parse_settings
from harness.reports.calibration import Calibration, FlipRate, differ
from harness.runs.options import Options, prompt_settings
from harness.runs.run import answerer, begin
from harness.runs.sweep import load_one
from harness.runs.task_results import expected_requests
from harness.tasks.task import Task
from harness.tasks.task_set import TaskSet

SEEDS = 2
"""The number of other seeds with which text is sampled again."""

MetricKey = tuple[str, str, str]
"""A task, a metric and a filter."""
Values = dict[MetricKey, dict[int, Any]]
"""Metric → the value of each document, by the document's place in its split."""


class _Variation(NamedTuple):
    """One way of evaluating the same tasks again."""

    name: str
    batch_scale: float = 1
    """The number of tokens that go through the model at once, divided by the usual number."""
    seed: int | None = None
    """The seed of sampled text; None is the run's own."""


AS_USUAL = _Variation("as usual")
BATCHES = (
    _Variation("a quarter of the batch", batch_scale=0.25),
    _Variation("four times the batch", batch_scale=4),
)


def calibrate(reference: CheckpointReference, options: Options) -> Calibration:
    """Evaluate one checkpoint on the tasks of `options` as usual, then again with other batches or seeds.

    Raises HarnessError for every mistake that the user can correct.
    """
    created = datetime.now(UTC)
    checkpoint, tasks = load_one(reference, options)
    variations = _variations(tasks, options.seed)
    first = _values(checkpoint, tasks, options, AS_USUAL, list(tasks.tasks))
    repeats: Counter[MetricKey] = Counter()
    changed: Counter[MetricKey] = Counter()
    for variation, names in variations:
        for key, values in _values(checkpoint, tasks, options, variation, names).items():
            repeats[key] += 1
            changed[key] += _count_changed(first.get(key, {}), values)
    return Calibration(
        harness=harness.__version__,
        created=created.isoformat(timespec="seconds"),
        checkpoint=checkpoint.name,
        fingerprint=checkpoint.fingerprint,
        device=str(checkpoint.located.device),
        dtype=str(checkpoint.located.dtype).removeprefix("torch."),
        limit=options.limit,
        seed=options.seed,
        again=[variation.name for variation, _ in variations],
        rates=[
            FlipRate(
                task=task,
                metric=metric,
                filter=filter,
                documents=len(first.get((task, metric, filter), {})),
                repeats=count,
                changed=changed[task, metric, filter],
            )
            for (task, metric, filter), count in repeats.items()
        ],
    )


def _variations(tasks: TaskSet, seed: int) -> list[tuple[_Variation, list[str]]]:
    """Return each variation with the names of its tasks: seeds for tasks that sample, batches for all others."""
    sampled = [name for name, task in tasks.tasks.items() if _samples_text(task)]
    greedy = [name for name in tasks.tasks if name not in sampled]
    seeds = [_Variation(f"seed {seed + k}", seed=seed + k) for k in range(1, SEEDS + 1)]
    return [
        *((variation, greedy) for variation in BATCHES if greedy),
        *((variation, sampled) for variation in seeds if sampled),
    ]


def _samples_text(task: Task) -> bool:
    """Return whether the answers to `task` depend on a seed."""
    if task.output_type != "generate_until":
        return False
    return bool(parse_settings(task.generation_settings, None).temperature)


def _values(
    checkpoint: Checkpoint, tasks: TaskSet, options: Options, variation: _Variation, names: Collection[str]
) -> Values:
    """Return the value of every document of the tasks `names` under every metric, evaluated with `variation`."""
    lm = answerer(checkpoint, tasks, None, options, variation.seed)
    lm.engine.scale(variation.batch_scale)
    values: Values = {}
    requests = sum(expected_requests(tasks.tasks[name], options.limit) for name in names)
    with progress.bar(f"{checkpoint.name} · {variation.name}", requests) as bar:
        lm.advance = bar.advance
        for name in names:
            task = tasks.tasks[name]
            begin(task, lm, options)
            outcome = task.evaluate(lm, limit=options.limit, **prompt_settings(options))
            for sample in outcome["samples"][name]:
                _add_sample(values, name, sample)
            task.release_requests()
    return values


def _add_sample(values: Values, task: str, sample: Mapping[str, Any]) -> None:
    for metric in sample["metrics"]:
        values.setdefault((task, metric, sample["filter"]), {})[sample["doc_id"]] = sample[metric]


def _count_changed(first: Mapping[int, Any], again: Mapping[int, Any]) -> int:
    """Return the number of documents whose value in `first` differs from that in `again`, or is missing there."""
    return sum(place not in again or differ(value, again[place]) for place, value in first.items())
