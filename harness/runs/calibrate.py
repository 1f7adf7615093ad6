"""A checkpoint asked the same again, in other batches and by other seeds: how far its scores are its own.

Tasks that sample are asked again by other seeds, which move their scores far more than batches do, and all others in
other batches. Prompts stay what they are, few-shot examples among them. Nothing comes from a journal, and nothing goes
to one: an answer that is remembered is always the same.

Not here: what is made of it (`harness.reports.calibration`).
"""

from __future__ import annotations

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
"""Other seeds that sampled text is drawn by."""

Number = tuple[str, str, str]
"""A task, a metric and a filter."""
Values = dict[Number, dict[int, Any]]
"""What each document was worth."""


class _Way(NamedTuple):
    """One way of asking the same."""

    told: str
    batch: float = 1
    """How much goes through the model at once, against what is usual."""
    seed: int | None = None


BATCHES = (_Way("a quarter of the batch", batch=0.25), _Way("four times the batch", batch=4))


def calibrate(reference: CheckpointReference, options: Options) -> Calibration:
    """Ask one checkpoint the tasks of `options` as usual, and again in other batches or by other seeds.

    Raises HarnessError on whatever the user can mend.
    """
    created = datetime.now(UTC)
    checkpoint, tasks = load_one(reference, options)
    sampled = [name for name, task in tasks.tasks.items() if samples_text(task)]
    greedy = [name for name in tasks.tasks if name not in sampled]
    seeds = [_Way(f"seed {options.seed + k}", seed=options.seed + k) for k in range(1, SEEDS + 1)]
    ways = [*((way, greedy) for way in BATCHES if greedy), *((way, sampled) for way in seeds if sampled)]
    first = _asked(checkpoint, tasks, options, _Way("as usual"), list(tasks.tasks))
    counts: dict[Number, tuple[int, int]] = {}
    for way, names in ways:
        for number, values in _asked(checkpoint, tasks, options, way, names).items():
            repeats, changed = counts.get(number, (0, 0))
            counts[number] = repeats + 1, changed + _changed(first.get(number, {}), values)
    return Calibration(
        harness=harness.__version__,
        created=created.isoformat(timespec="seconds"),
        checkpoint=checkpoint.name,
        fingerprint=checkpoint.fingerprint,
        device=str(checkpoint.located.device),
        dtype=str(checkpoint.located.dtype).removeprefix("torch."),
        limit=options.limit,
        seed=options.seed,
        again=[way.told for way, _ in ways],
        rates=[
            FlipRate(
                task=number[0],
                metric=number[1],
                filter=number[2],
                documents=len(first.get(number, {})),
                repeats=repeats,
                changed=changed,
            )
            for number, (repeats, changed) in counts.items()
        ],
    )


def samples_text(task: Task) -> bool:
    """Tell whether answers to `task` depend on a seed."""
    if task.output_type != "generate_until":
        return False
    return bool(parse_settings(task.generation_settings, None).temperature)


def _asked(checkpoint: Checkpoint, tasks: TaskSet, options: Options, way: _Way, names: Collection[str]) -> Values:
    """Return what the documents of the tasks `names` are worth, asked that `way`."""
    lm = answerer(checkpoint, tasks, None, options, way.seed)
    lm.engine.scale(way.batch)
    found: Values = {}
    requests = sum(expected_requests(tasks.tasks[name], options.limit) for name in names)
    with progress.bar(f"{checkpoint.name} · {way.told}", requests) as bar:
        lm.advance = bar.advance
        for name in names:
            task = tasks.tasks[name]
            begin(task, lm, options)
            outcome = task.evaluate(lm, limit=options.limit, **prompt_settings(options))
            for sample in outcome["samples"][name]:
                _note(found, name, sample)
            task.release_requests()
    return found


def _note(found: Values, task: str, sample: Mapping[str, Any]) -> None:
    for metric in sample["metrics"]:
        found.setdefault((task, metric, sample["filter"]), {})[sample["doc_id"]] = sample[metric]


def _changed(first: Mapping[int, Any], again: Mapping[int, Any]) -> int:
    """Return how many documents are worth something else, or nothing where they were worth something."""
    return sum(place not in again or differ(value, again[place]) for place, value in first.items())
