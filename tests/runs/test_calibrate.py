"""Calibration: in float32 on a CPU no value changes, except those of sampled text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.checkpoints.reference import parse
from harness.engine.engine import Engine
from harness.runs import calibrate
from harness.runs.options import Options
from harness.runs.sweep import JOURNAL, run
from harness.tasks.task import Task
from support import mirrors, tiny

GOODS = ("tea", "rice", "silk", "salt")
PICK = {
    "task": "pick",
    "dataset_path": "me/bales",
    "dataset_name": "all",
    "test_split": "test",
    "training_split": "train",
    "fewshot_split": "train",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}} Answer:",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
    "num_fewshot": 2,
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 1},
}
SAY = {
    **PICK,
    "task": "say",
    "output_type": "generate_until",
    "doc_to_target": "{{choices[answer]}}",
    "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 4},
    "metric_list": [{"metric": "bleu", "aggregation": "bleu", "higher_is_better": True}],
}
DRAW = {
    **SAY,
    "task": "draw",
    "generation_kwargs": {"until": ["\n"], "do_sample": True, "temperature": 1.0, "max_gen_toks": 4},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    rows = [{"question": f"What is in bale {k}?", "choices": list(GOODS), "answer": k % 4} for k in range(12)]
    mirrors.write(folder / "data", "me/bales", "all", test=rows, train=rows[:6])
    (folder / "tasks").mkdir()
    for task in (PICK, SAY, DRAW):
        definition: dict[str, Any] = dict(task)
        if definition["output_type"] == "generate_until":
            del definition["doc_to_choice"]
        (folder / "tasks" / f"{definition['task']}.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    tiny.llama(folder / "base")
    return folder


def options(world: Path, output: Path, *tasks: str, **changes: Any) -> Options:
    return Options(tasks=tasks, output=output, data=world / "data", include=(world / "tasks",), **changes)


def test_greedy_answers_are_the_same_again_and_sampled_ones_are_not(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int, int]] = []
    real = Engine.scale

    def scale(engine: Engine, times: float) -> None:
        real(engine, times)
        sizes.append((engine.pack_tokens, engine.batch_tokens, engine.rows))

    monkeypatch.setattr(Engine, "scale", scale)
    result = calibrate.calibrate(parse(str(world / "base")), options(world, tmp_path, "pick", "say", "draw", seed=5))
    assert result.again == ["a quarter of the batch", "four times the batch", "seed 6", "seed 7"]
    by_task = {rate.task: rate for rate in result.rates}
    assert [(rate.documents, rate.repeats) for rate in by_task.values()] == [(12, 2)] * 3
    assert by_task["pick"].rate == by_task["say"].rate == 0
    assert by_task["draw"].rate > 0.9  # of four random tokens
    usual, quarter, fourfold = sizes[:3]
    assert all(4 * small == size == large / 4 for small, size, large in zip(quarter, usual, fourfold, strict=True))


def test_it_names_its_checkpoint_and_does_not_use_the_journal(world: Path, tmp_path: Path) -> None:
    limited = options(world, tmp_path, "pick", limit=3)
    report = next(run([parse(str(world / "base"))], limited))
    (tmp_path / JOURNAL).unlink()
    result = calibrate.calibrate(parse(str(world / "base")), limited)
    checkpoint = report.manifest.checkpoint
    assert (result.checkpoint, result.fingerprint) == (checkpoint.name, checkpoint.fingerprint)
    assert (result.device, result.dtype, result.limit, result.seed) == ("cpu", "float32", 3, limited.seed)
    assert result.again == ["a quarter of the batch", "four times the batch"]
    assert [rate.documents for rate in result.rates] == [3]
    assert not (tmp_path / JOURNAL).exists()


def test_a_changed_value_is_counted(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Task.evaluate

    def evaluate(task: Task, lm: Any, **settings: Any) -> dict[str, Any]:
        outcome = real(task, lm, **settings)
        if lm.engine.rows < 20:  # of the smaller batch
            for sample in outcome["samples"][task.name][:2]:
                sample["acc"] = 1 - sample["acc"]
        return outcome

    monkeypatch.setattr(Task, "evaluate", evaluate)
    (rate,) = calibrate.calibrate(parse(str(world / "base")), options(world, tmp_path, "pick")).rates
    assert (rate.changed, rate.n) == (2, 24)
