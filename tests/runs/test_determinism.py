"""The same question gets the same answer, however the run around it is arranged.

One checkpoint and its LoRA answer by log-likelihoods, by greedy and by sampled generation. Whatever the order, the
company and the interruptions, files are equal byte by byte in float32 on one thread; other packs and threads, which add
in another order, leave every decision as it is. What may differ between two runs is `VARYING`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.backends import local
from harness.backends.journal import Journal
from harness.checkpoints.reference import parse
from harness.engine.engine import Engine
from harness.reports.report import Report
from harness.runs.sweep import run
from support import every_kind, tiny
from support.every_kind import World
from tolerances import FP32_LOGLIKELIHOOD

MODELS = ("base", "lora")
TASKS = ("pick", "adgen_chatglm", "say")
"""Choices, greedy texts, and two samples of a text for each prompt."""
VARYING = ("created", "seconds", "scoring_seconds", "generation_seconds", "peak_memory_bytes")
"""Fields of a manifest that two runs of one command need not share: times and memory."""
WORK = ("requests", "answered_from_journal", "tokens_fed", "tokens_generated")
"""Fields that count what was computed in this run, and not before it."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = every_kind.build(tmp_path_factory.mktemp("world"))
    tiny.lora(world.folder / "lora", world.base)
    return world


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    return answered(world, tmp_path_factory.mktemp("whole"))


def answered(
    world: World, output: Path, models: Sequence[str] = MODELS, tasks: Sequence[str] = TASKS
) -> dict[str, Report]:
    """Return the reports of a run by the name of the checkpoint."""
    references = [parse(f"{world.folder / name},dtype=float32") for name in models]
    reports = run(references, world.options(output, *tasks, max_gen_toks=8))
    return {report.manifest.checkpoint.name: report for report in reports}


def samples(report: Report) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (report.folder / "samples").iterdir()}


def scores(report: Report) -> list[str]:
    return sorted(score.model_dump_json() for score in report.manifest.scores)


def without(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {key: without(item, names) for key, item in value.items() if key not in names}
    return [without(item, names) for item in value] if isinstance(value, list) else value


def decisions(report: Report) -> dict[str, Any]:
    """Return what each sample says, except numbers of log-likelihoods."""
    tables = {task: report.samples(task) for task in report.manifest.tasks}
    return {task: table.drop(columns=["logprobs"]).to_json() for task, table in tables.items()}


def require_same_bytes(reports: dict[str, Report], whole: dict[str, Report]) -> None:
    for name, report in reports.items():
        assert samples(report) == samples(whole[name])
        assert scores(report) == scores(whole[name])


def require_same_decisions(reports: dict[str, Report], whole: dict[str, Report]) -> None:
    for name, report in reports.items():
        assert decisions(report) == decisions(whole[name])
        for task in ("pick_red", "pick_blue"):
            values, expected = (np.concatenate(r.samples(task)["logprobs"].tolist()) for r in (report, whole[name]))
            assert np.abs(values - expected).max() < FP32_LOGLIKELIHOOD


def test_the_same_command_twice_leaves_the_same_report(world: World, whole: dict[str, Report], tmp_path: Path) -> None:
    again = answered(world, tmp_path)
    require_same_bytes(again, whole)
    for name, report in again.items():
        assert (report.folder / "results.json").read_bytes() == (whole[name].folder / "results.json").read_bytes()
        manifest, expected = (json.loads((r.folder / "manifest.json").read_text()) for r in (report, whole[name]))
        assert without(manifest, VARYING) == without(expected, VARYING)


def test_results_hold_no_address_in_memory(whole: dict[str, Report]) -> None:
    text = (whole["base"].folder / "results.json").read_text()
    assert "<function documents>" in text
    assert " at 0x" not in text


@pytest.mark.parametrize(
    ("models", "tasks"),
    [
        (MODELS[::-1], TASKS[::-1]),
        (("lora",), TASKS[1:] + TASKS[:1]),
    ],
)
def test_order_and_company_change_no_byte(
    world: World, whole: dict[str, Report], tmp_path: Path, models: Sequence[str], tasks: Sequence[str]
) -> None:
    reports = answered(world, tmp_path, models, tasks)
    for name, report in reports.items():
        expected = samples(whole[name])
        assert samples(report) == {file: expected[file] for file in samples(report)}
        assert set(scores(report)) <= set(scores(whole[name]))


@pytest.mark.parametrize("last", [2, 6])
def test_a_resumed_run_changes_no_byte(
    world: World, whole: dict[str, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    real, calls = Journal.put, 0

    def interrupted(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > last:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            answered(world, tmp_path)
    resumed = answered(world, tmp_path)
    require_same_bytes(resumed, whole)
    assert sum(report.manifest.engine.answered_from_journal for report in resumed.values()) > 0
    for name, report in resumed.items():
        manifest, expected = (json.loads((r.folder / "manifest.json").read_text()) for r in (report, whole[name]))
        assert without(manifest, (*VARYING, *WORK)) == without(expected, (*VARYING, *WORK))


def test_other_packs_change_no_decision(
    world: World, whole: dict[str, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def engine(*arguments: Any, **settings: Any) -> Engine:
        return Engine(*arguments, **settings | {"batch_tokens": 40})

    monkeypatch.setattr(local, "Engine", engine)
    require_same_decisions(answered(world, tmp_path), whole)


@pytest.fixture
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")
def test_threads_change_no_decision(world: World, whole: dict[str, Report], tmp_path: Path) -> None:
    require_same_decisions(answered(world, tmp_path), whole)
