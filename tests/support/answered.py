"""Reports with invented answers, written to disk as a run would: what comparing and gating read.

report(folder, "base", {"law": Answers(scores=[1, 0, 1])})
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.metrics.stats import estimates
from harness.reports.report import CheckpointInfo, Engine, Manifest, Protocol, Report, Score, TaskInfo
from harness.reports.writer import ReportWriter


def digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Answers:
    """What one checkpoint answered to a task's documents, of which the ith is the same in all reports."""

    scores: Sequence[Any]
    """Of the metric: numbers, None where a document has none, [numerator, denominator] for a ratio."""
    metric: str = "acc"
    aggregation: str | None = "mean"
    higher_is_better: bool = True
    fraction: bool = True
    documents: Sequence[Any] | None = None
    """What tells the documents apart; their numbers by default."""
    prompt: str = ""
    """Goes into every prompt."""
    clusters: Sequence[str | None] | None = None
    tainted: Sequence[bool | None] | None = None
    predictions: Sequence[str] | None = None
    targets: Sequence[str] | None = None
    responses: Sequence[str | Sequence[str]] | None = None
    """Texts that were generated, of some documents several."""
    choices: Sequence[Sequence[str]] | None = None
    logprobs: Sequence[Sequence[float]] | None = None
    more: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Other metrics, of which less is better where they are called abstention or the like; means of fractions."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """Changes to `TaskInfo`."""


def report(
    root: Path,
    name: str,
    tasks: Mapping[str, Answers],
    *,
    averages: Mapping[str, tuple[str, Sequence[str]]] | None = None,
    protocol: Mapping[str, Any] | None = None,
    day: int = 1,
) -> Report:
    """Write a report; `averages` says of each what weighs the same in it (`task`, `sample`) and its tasks."""
    members = {task for _, those in (averages or {}).values() for task in those}
    scores = [_score(task, one, headline=task not in members) for task, one in tasks.items()]
    scores += [_low(task, metric, values) for task, one in tasks.items() for metric, values in one.more.items()]
    by_task = {score.task: score for score in reversed(scores)}
    scores = [
        _average(name, weight, [by_task[t] for t in those]) for name, (weight, those) in (averages or {}).items()
    ] + scores
    manifest = Manifest(
        harness="0.1.0",
        created=f"2026-01-{day:02d}T08:30:00+00:00",
        seconds=75.0,
        checkpoint=checkpoint(name),
        protocol=Protocol(seed=1234, **(protocol or {})),
        tasks={task: _info(task, one) for task, one in tasks.items()},
        scores=scores,
        engine=Engine(
            walk="pack",
            scoring_seconds=3.0,
            generation_seconds=1.0,
            requests=400,
            answered_from_journal=0,
            tokens_fed=13_548,
            tokens_generated=0,
            peak_memory_bytes=3 * 2**29,
        ),
        environment={"python": "3.11"},
        notes=[],
    )
    with ReportWriter(root / f"{name}_{day:02d}") as writer:
        for task, one in tasks.items():
            writer.write_samples(task, _rows(task, one), [one.metric, *one.more])
        written = writer.finish(manifest, {"results": {}, "group_subtasks": {}})
    for task, one in tasks.items():
        _mark(written.folder / "samples" / f"{task}.parquet", one)
    return written


def checkpoint(name: str) -> CheckpointInfo:
    return CheckpointInfo(
        name=name,
        reference=f"models/{name}",
        kind="base",
        base=name,
        fingerprint=digest("checkpoint", name),
        architecture="LlamaForCausalLM",
        dtype="float32",
        device="cpu",
        parameters=42_000_000,
        max_length=4096,
    )


def _rows(task: str, one: Answers) -> list[dict[str, Any]]:
    documents = one.documents if one.documents is not None else range(len(one.scores))
    return [
        {
            "doc_id": at,
            "filter": "none",
            "doc_hash": digest(task, document),
            "prompt_hash": digest(task, document, one.prompt),
            "target_hash": digest(task, document, "target"),
            "prompt": f"{one.prompt}Question {document} of {task}?",
            "target": one.targets[at] if one.targets is not None else "A",
            "responses": None if one.responses is None else _listed(one.responses[at]),
            "choices": None if one.choices is None else one.choices[at],
            "logprobs": None if one.logprobs is None else one.logprobs[at],
            "prediction": one.predictions[at] if one.predictions is not None else "AB"[at % 2],
            one.metric: one.scores[at],
            **{metric: values[at] for metric, values in one.more.items()},
        }
        for at, document in enumerate(documents)
    ]


def _listed(said: str | Sequence[str]) -> list[str]:
    return [said] if isinstance(said, str) else list(said)


def _mark(file: Path, one: Answers) -> None:
    """Put clusters and taint into the samples, as columns of their own."""
    table = pq.read_table(file)
    for name, values, kind in (("cluster", one.clusters, pa.string()), ("tainted", one.tainted, pa.bool_())):
        if values is not None:
            if name in table.column_names:
                table = table.drop_columns(name)
            table = table.append_column(name, pa.array(list(values), kind))
    pq.write_table(table, file)


def _info(task: str, one: Answers) -> TaskInfo:
    plain: dict[str, Any] = {
        "version": "1",
        "dataset": f"invented/{task}",
        "split": "test",
        "num_fewshot": 0,
        "documents": len(one.scores),
        "documents_in_split": len(one.scores),
        "prompt_hash": digest(task, len(one.scores), one.prompt),
        "truncated": 0,
        "seconds": 1.0,
        "tokens_fed": 40 * len(one.scores),
        "tokens_generated": 0,
    }
    return TaskInfo(**plain | dict(one.info))


def _score(task: str, one: Answers, *, headline: bool) -> Score:
    values = [value for value in one.scores if value is not None]
    if one.aggregation == "ratio":
        found = estimates.ratio_estimate(values, fraction=one.fraction)
    elif all(math.isfinite(value) for value in values):
        found = estimates.mean_estimate(values, fraction=one.fraction)
    else:
        found = estimates.Estimate(0.0, None, None, None, len(values))
    return Score(
        task=task,
        metric=one.metric,
        filter="none",
        **found._asdict(),
        higher_is_better=one.higher_is_better,
        fraction=one.fraction,
        aggregation=one.aggregation,
        average=None,
        members=[task],
        primary=True,
        headline=headline,
    )


def _low(task: str, metric: str, values: Sequence[Any]) -> Score:
    plain = _score(task, Answers(values, metric, higher_is_better=False), headline=True)
    return plain.model_copy(update={"primary": False})


def _average(name: str, weight: Any, parts: Sequence[Score]) -> Score:
    over = estimates.combine([estimates.Estimate(s.value, s.stderr, s.low, s.high, s.n) for s in parts], weight)
    update = {**over._asdict(), "task": name, "average": weight, "members": [s.task for s in parts], "headline": True}
    return parts[0].model_copy(update=update)
