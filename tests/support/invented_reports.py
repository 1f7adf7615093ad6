"""Small reports with invented scores, written to disk like those of a run.

`checkpoint`, `task_info` and `score` return the parts of a report; `one_task` and `ceval` write whole reports with the
`report` fixture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.metrics.stats.estimates import Estimate, combine
from harness.reports.checkpoint_info import CheckpointInfo
from harness.reports.report import Engine, Manifest, Protocol, Report, Score, TaskInfo
from harness.reports.writer import ReportWriter

MakeReport = Callable[..., Report]
SUBJECTS = ("ceval_law", "ceval_logic", "ceval_physics")


def digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def checkpoint(name: str = "tiny-base", fingerprint: str | None = None, **changes: Any) -> CheckpointInfo:
    defaults: dict[str, Any] = {
        "name": name,
        "reference": f"models/{name}",
        "kind": "base",
        "base": name,
        "adapter": None,
        "fingerprint": fingerprint or digest("checkpoint", name),
        "architecture": "LlamaForCausalLM",
        "dtype": "float32",
        "device": "cpu",
        "parameters": 42_000_000,
        "trainable_share": None,
        "max_length": 4096,
        "adapter_effect": None,
    }
    return CheckpointInfo(**defaults | changes)


def task_info(name: str, documents: int, fewshot: int = 0, wording: str = "", **changes: Any) -> TaskInfo:
    defaults: dict[str, Any] = {
        "version": "1",
        "dataset": f"invented/{name}",
        "split": "test",
        "num_fewshot": fewshot,
        "documents": documents,
        "documents_in_split": documents,
        "prompt_hash": digest(name, changes.get("documents", documents), fewshot, wording),
        "truncated": 0,
        "seconds": 1.0,
        "tokens_fed": documents * 40,
        "tokens_generated": 0,
    }
    return TaskInfo(**defaults | changes)


def score(task: str, value: float, half: float | None = 0.02, n: int = 100, **changes: Any) -> Score:
    defaults: dict[str, Any] = {
        "task": task,
        "metric": "acc",
        "filter": "none",
        "value": value,
        "stderr": None if half is None else half / 2,
        "low": None if half is None else value - half,
        "high": None if half is None else value + half,
        "n": n,
        "higher_is_better": True,
        "fraction": True,
        "average": None,
        "members": [task],
        "primary": True,
        "headline": True,
    }
    return Score(**defaults | changes)


def average(name: str, parts: Sequence[Score], headline: bool = False) -> Score:
    mean = combine([Estimate(s.value, s.stderr, s.low, s.high, s.n) for s in parts], "task")
    return Score(
        **parts[0].model_dump()
        | mean._asdict()
        | {"task": name, "average": "task", "headline": headline, "primary": True}
        | {"members": [part.task for part in parts]}
    )


def write_report(
    root: Path,
    model: CheckpointInfo,
    tasks: dict[str, TaskInfo],
    scores: Sequence[Score],
    day: int = 1,
    groups: dict[str, list[str]] | None = None,
    protocol: dict[str, Any] | None = None,
    notes: Sequence[str] = (),
    engine: dict[str, Any] | None = None,
) -> Report:
    defaults: dict[str, Any] = {
        "limit": None,
        "seed": 1234,
        "num_fewshot": None,
        "chat_template": None,
        "fewshot_as_multiturn": False,
        "system_instruction": None,
    }
    work: dict[str, Any] = {
        "walk": "pack",
        "scoring_seconds": 3.0,
        "generation_seconds": 1.0,
        "requests": 400,
        "answered_from_journal": 0,
        "tokens_fed": 13548,
        "tokens_generated": 0,
        "peak_memory_bytes": 3 * 2**29,
    }
    manifest = Manifest(
        harness="0.1.0",
        created=f"2026-01-{day:02d}T08:30:00+00:00",
        seconds=75.0,
        checkpoint=model,
        protocol=Protocol(**defaults | (protocol or {})),
        tasks=tasks,
        scores=list(scores),
        engine=None if (protocol or {}).get("recorded") else Engine(**work | (engine or {})),
        environment={"python": "3.11"},
        notes=list(notes),
    )
    folder = root / f"{len(list(root.glob('*'))) if root.is_dir() else 0:03d}"
    with ReportWriter(folder) as writer:
        return writer.finish(manifest, {"results": {}, "group_subtasks": groups or {}})


def one_task(report: MakeReport, name: str, value: float, task: str = "copa", **changes: Any) -> Any:
    info = changes.pop("info", task_info(task, 100))
    half = changes.pop("half", 0.02)
    return report(checkpoint(name), {task: info}, [score(task, value, half, info.documents)], **changes)


def ceval(report: MakeReport, model: Any, level: float, documents: int = 20, wording: str = "", **changes: Any) -> Any:
    tasks = {name: task_info(name, documents, 5, wording, documents_in_split=20) for name in SUBJECTS}
    parts = [score(name, level, 0.1, documents, headline=False) for name in SUBJECTS]
    scores = [average("ceval", parts, headline=True), *parts, average("ceval/STEM", parts[1:])]
    return report(model, tasks, scores, groups={"ceval": ["ceval_all"], "ceval_all": list(SUBJECTS)}, **changes)
