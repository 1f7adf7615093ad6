"""Reports with invented answers, written to disk as by a run, for tests of comparisons and gates.

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
from harness.reports.checkpoint_info import CheckpointInfo
from harness.reports.report import Engine, Manifest, Protocol, Report, Score, TaskInfo
from harness.reports.writer import ReportWriter


def digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Answers:
    """One checkpoint's answers to the documents of a task; the i-th document is the same in all reports."""

    scores: Sequence[Any]
    """Values of the metric: numbers, None for a missing value, or [numerator, denominator] for a ratio."""
    metric: str = "acc"
    aggregation: str | None = "mean"
    higher_is_better: bool = True
    fraction: bool = True
    documents: Sequence[Any] | None = None
    """Identities of the documents; their indices by default."""
    prompt: str = ""
    """Text that every prompt contains."""
    clusters: Sequence[str | None] | None = None
    tainted: Sequence[bool | None] | None = None
    predictions: Sequence[str] | None = None
    targets: Sequence[str] | None = None
    responses: Sequence[str | Sequence[str]] | None = None
    """Generated texts: one per document, or several."""
    endings: Sequence[str] | None = None
    """How each document's generated text ended."""
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
    """Write a report; `averages` maps names to what is weighted equally (`task`, `sample`) and the tasks."""
    members = {task for _, those in (averages or {}).values() for task in those}
    scores = [_score(task, answers, headline=task not in members) for task, answers in tasks.items()]
    scores += [_low(task, metric, values) for task, answers in tasks.items() for metric, values in answers.more.items()]
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
        tasks={task: _info(task, answers) for task, answers in tasks.items()},
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
        for task, answers in tasks.items():
            writer.write_samples(task, _rows(task, answers), [answers.metric, *answers.more])
        written = writer.finish(manifest, {"results": {}, "group_subtasks": {}})
    for task, answers in tasks.items():
        _mark(written.folder / "samples" / f"{task}.parquet", answers)
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


def _rows(task: str, answers: Answers) -> list[dict[str, Any]]:
    documents = answers.documents if answers.documents is not None else range(len(answers.scores))
    return [
        {
            "doc_id": at,
            "filter": "none",
            "doc_hash": digest(task, document),
            "prompt_hash": digest(task, document, answers.prompt),
            "target_hash": digest(task, document, "target"),
            "prompt": f"{answers.prompt}Question {document} of {task}?",
            "target": answers.targets[at] if answers.targets is not None else "A",
            "responses": None if answers.responses is None else _listed(answers.responses[at]),
            "endings": None if answers.endings is None else _listed(answers.endings[at]),
            "choices": None if answers.choices is None else answers.choices[at],
            "logprobs": None if answers.logprobs is None else answers.logprobs[at],
            "prediction": answers.predictions[at] if answers.predictions is not None else "AB"[at % 2],
            answers.metric: answers.scores[at],
            **{metric: values[at] for metric, values in answers.more.items()},
        }
        for at, document in enumerate(documents)
    ]


def _listed(response: str | Sequence[str]) -> list[str]:
    return [response] if isinstance(response, str) else list(response)


def _mark(file: Path, answers: Answers) -> None:
    """Add the columns `cluster` and `tainted` to the samples."""
    table = pq.read_table(file)
    for name, values, kind in (("cluster", answers.clusters, pa.string()), ("tainted", answers.tainted, pa.bool_())):
        if values is not None:
            if name in table.column_names:
                table = table.drop_columns(name)
            table = table.append_column(name, pa.array(list(values), kind))
    pq.write_table(table, file)


def _info(task: str, answers: Answers) -> TaskInfo:
    plain: dict[str, Any] = {
        "version": "1",
        "dataset": f"invented/{task}",
        "split": "test",
        "num_fewshot": 0,
        "documents": len(answers.scores),
        "documents_in_split": len(answers.scores),
        "prompt_hash": digest(task, len(answers.scores), answers.prompt),
        "truncated": 0,
        "seconds": 1.0,
        "tokens_fed": 40 * len(answers.scores),
        "tokens_generated": 0,
    }
    return TaskInfo(**plain | dict(answers.info))


def _score(task: str, answers: Answers, *, headline: bool) -> Score:
    values = [value for value in answers.scores if value is not None]
    if answers.aggregation == "ratio":
        estimate = estimates.ratio_estimate(values, fraction=answers.fraction)
    elif all(math.isfinite(value) for value in values):
        estimate = estimates.mean_estimate(values, fraction=answers.fraction)
    else:
        estimate = estimates.Estimate(0.0, None, None, None, len(values))
    return Score(
        task=task,
        metric=answers.metric,
        filter="none",
        **estimate._asdict(),
        higher_is_better=answers.higher_is_better,
        fraction=answers.fraction,
        aggregation=answers.aggregation,
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
