"""A checkpoint evaluated in blocks gives the same answers as in a run over all documents in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from harness.gating import blocks
from harness.gating.blocks import BlockEvaluation
from harness.recorded.score import Scoring, score
from harness.reports.report import Report
from harness.runs.options import Options
from harness.runs.sweep import run
from support import architectures, caravans, invented, mirrors, tiny
from tolerances import FP32_LOGLIKELIHOOD

SEVERAL = ("pick_red", "pick_blue", "say", "judge")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror of data sets, tasks of every kind, and a checkpoint."""
    folder = tmp_path_factory.mktemp("world")
    invented.mirror(folder / "data", questions=1)
    for config, count, first in (("red", 14, 0), ("blue", 9, 12), ("both", 11, 200), ("many", 24, 300)):
        rows = [caravans.question(first + k, caravan=3, hard=5) for k in range(count)]
        shots = [caravans.question(k, caravan=3, hard=5) for k in range(500, 508)]
        mirrors.write(folder / "data", caravans.DATASET, config, test=rows, train=shots)
    exam = caravans.definition("exam", "many", num_fewshot=6, fewshot_config={"sampler": "first_n"})
    caravans.write_tasks(folder / "tasks", {"exam": exam})
    tiny.llama(folder / "base", context=2048)
    return folder


def options(world: Path, output: Path, *tasks: str, **changes: Any) -> Options:
    return Options(tasks=tasks, output=output, data=world / "data", include=(world / "tasks",), **changes)


def remaining_blocks(
    evaluation: BlockEvaluation, size: int, headlines: Sequence[str] | None = None
) -> Iterator[blocks.Block]:
    """Yield all remaining blocks."""
    while (block := evaluation.evaluate(headlines or list(evaluation.headlines), size)).rows:
        yield block


@pytest.fixture(scope="module")
def whole(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    settings = options(world, tmp_path_factory.mktemp("whole"), *SEVERAL[2:], "pick", "gsm8k")
    return next(run([parse(str(world / "base"))], settings))


@pytest.fixture(scope="module")
def parts(
    world: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[blocks.Block], Report, blocks.TokenCounts]:
    """The same tasks, evaluated in blocks."""
    settings = options(world, tmp_path_factory.mktemp("parts"), *SEVERAL[2:], "pick", "gsm8k")
    with blocks.open_blocks(parse(str(world / "base")), settings) as evaluation:
        evaluated_blocks = list(remaining_blocks(evaluation, 4))
        return evaluated_blocks, evaluation.write_report(), evaluation.token_counts()


def assert_same(first: pd.DataFrame, second: pd.DataFrame) -> None:
    """Assert that two reports' samples are the same but for the last digits of likelihoods."""
    pd.testing.assert_frame_equal(first.drop(columns="logprobs"), second.drop(columns="logprobs"))
    for left, right in zip(first["logprobs"], second["logprobs"], strict=True):
        if left is not None or right is not None:
            assert np.abs(np.asarray(left) - np.asarray(right)).max() < FP32_LOGLIKELIHOOD


def test_blocks_together_equal_the_run(
    whole: Report, parts: tuple[list[blocks.Block], Report, blocks.TokenCounts]
) -> None:
    _, report, _ = parts
    assert list(report.manifest.tasks) == list(whole.manifest.tasks)
    for task in whole.manifest.tasks:
        assert_same(report.samples(task), whole.samples(task))
    assert report.manifest.scores == whole.manifest.scores
    for task, info in whole.manifest.tasks.items():
        task_info = report.manifest.tasks[task]
        assert task_info.prompt_hash == info.prompt_hash
        assert (task_info.documents, task_info.documents_in_split) == (info.documents, info.documents_in_split)
    for name in ("results", "n-samples", "n-shot", "versions", "higher_is_better"):
        assert report.results[name] == whole.results[name]


def test_the_rows_of_blocks_equal_the_reports_samples(
    parts: tuple[list[blocks.Block], Report, blocks.TokenCounts],
) -> None:
    evaluated_blocks, report, _ = parts
    for task in report.manifest.tasks:
        rows = [row for block in evaluated_blocks for row in block.rows.get(task, [])]
        filters = 2 if task in ("say", "gsm8k") else 1
        assert Counter(row["doc_id"] for row in rows) == Counter(dict.fromkeys(report.samples(task)["doc_id"], filters))
        for block in evaluated_blocks:
            doc_ids = [row["doc_id"] for row in block.rows.get(task, [])]
            assert doc_ids == sorted(doc_ids)
        for row in rows:
            samples = report.samples(task)
            sample = samples[(samples["doc_id"] == row["doc_id"]) & (samples["filter"] == row["filter"])].iloc[0]
            assert sample["prompt_hash"] == row["prompt_hash"]
            assert sample["prediction"] == row["prediction"]
            assert (None if pd.isna(sample["cluster"]) else sample["cluster"]) == row["cluster"]


def test_clusters_are_evaluated_as_a_whole(parts: tuple[list[blocks.Block], Report, blocks.TokenCounts]) -> None:
    evaluated_blocks, _, _ = parts
    homes: dict[str, set[int]] = {}
    for number, block in enumerate(evaluated_blocks):
        for task in ("pick_red", "pick_blue"):
            for row in block.rows.get(task, []):
                homes.setdefault(row["cluster"], set()).add(number)
    assert len(homes) == 7
    assert all(len(where) == 1 for where in homes.values())


def test_a_block_has_about_the_requested_number_of_documents(
    parts: tuple[list[blocks.Block], Report, blocks.TokenCounts],
) -> None:
    evaluated_blocks, _, _ = parts
    for block in evaluated_blocks[:-1]:
        pick = sum(len(block.rows.get(task, [])) for task in ("pick_red", "pick_blue"))
        assert pick == 0 or 4 <= pick <= 6 or block is evaluated_blocks[5]  # clusters have up to three
    assert evaluated_blocks[0].documents == sum(
        len({row["doc_id"] for row in rows}) for rows in evaluated_blocks[0].rows.values()
    )


def test_token_counts_of_complete_blocks_are_those_of_all_documents(
    parts: tuple[list[blocks.Block], Report, blocks.TokenCounts],
) -> None:
    _, _, tokens = parts
    assert tokens.evaluated == tokens.all_documents
    assert tokens.fed >= tokens.all_documents
    assert 0 < tokens.generated <= tokens.generated_at_most


def test_every_cluster_of_a_pool_is_equally_likely_to_come_first() -> None:
    pool = [[blocks.Document("red", k)] for k in range(5)] + [[blocks.Document("blue", k)] for k in range(3)]
    firsts = Counter(blocks._Pool(pool, str(seed)).order[0][0] for seed in range(4000))
    assert len(firsts) == 8
    # 500 each; 4.5 standard deviations of a binomial are 94
    assert all(406 < count < 594 for count in firsts.values())


def test_a_stopped_task_reports_the_documents_that_were_read(world: Path, tmp_path: Path) -> None:
    settings = options(world, tmp_path, "pick", "say")
    with blocks.open_blocks(parse(str(world / "base")), settings) as evaluation:
        assert {name: evaluation.remaining(name) for name in evaluation.headlines} == {"pick": 23, "say": 11}
        evaluation.evaluate(["pick", "say"], 4)
        left = evaluation.remaining("pick")
        for block in remaining_blocks(evaluation, 4, ["say"]):
            assert list(block.rows) == ["say"]
        assert (evaluation.remaining("pick"), evaluation.remaining("say")) == (left, 0)
        report, tokens = evaluation.write_report(), evaluation.token_counts()
    manifest = report.manifest
    read = sum(manifest.tasks[name].documents for name in manifest.tasks if name != "say")
    assert read == 23 - left
    assert manifest.tasks["say"].documents == 11
    assert manifest.protocol.shuffled == settings.seed
    assert any(f"{read + 11} of 34 documents" in note for note in manifest.notes)
    assert 0 < tokens.evaluated < tokens.all_documents
    for item in manifest.scores:
        if item.metric == "acc" and item.average is None:
            assert item.value == pytest.approx(report.samples(item.task)["acc"].mean())


def test_a_stopped_task_cannot_be_scored_again(world: Path, tmp_path: Path) -> None:
    settings = options(world, tmp_path, "say")
    with blocks.open_blocks(parse(str(world / "base")), settings) as evaluation:
        evaluation.evaluate(["say"], 4)
        stopped = evaluation.write_report()
        list(remaining_blocks(evaluation, 4))
        ended = evaluation.write_report()
    again = {"output": tmp_path / "again", "data": world / "data", "include": (world / "tasks",)}
    with pytest.raises(HarnessError, match="say was evaluated on 4 of 11 documents"):
        list(score(Scoring(stopped.folder, **again)))
    (report,) = score(Scoring(ended.folder, **again))
    assert report.manifest.scores == ended.manifest.scores


def test_after_an_interruption_the_same_blocks_come_from_the_journal(world: Path, tmp_path: Path) -> None:
    settings = options(world, tmp_path, "pick", "say")

    def first(count: int) -> list[blocks.Block]:
        with blocks.open_blocks(parse(str(world / "base")), settings) as evaluation:
            return [evaluation.evaluate(["pick", "say"], 3) for _ in range(count)]

    shorter = first(2)
    two = first(3)
    assert [block.rows for block in two[:2]] == [block.rows for block in shorter]
    for block in two[:2]:
        assert block.work.answered_from_journal == block.work.requests > 0
        assert block.work.tokens_fed == 0
    assert two[2].work.tokens_fed > 0


def test_another_seed_draws_another_order(world: Path, tmp_path: Path) -> None:
    orders = []
    for seed in (1, 1, 2):
        with blocks.open_blocks(parse(str(world / "base")), options(world, tmp_path, "pick"), seed=seed) as evaluation:
            orders.append(evaluation._pools[0].order)
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


def test_averages_that_share_tasks_share_a_pool(world: Path, tmp_path: Path) -> None:
    settings = options(world, tmp_path, "ceval", "ceval_law", "pick_red")
    with blocks.open_blocks(parse(str(world / "base")), settings) as evaluation:
        assert sorted(len(pool.order) for pool in evaluation._pools) == [5, 52]
        block = evaluation.evaluate(["ceval_law"], 4)
        assert {task: len(rows) for task, rows in block.rows.items()} == {"ceval_law": 1}


def test_common_few_shot_examples_are_read_once(world: Path, tmp_path: Path) -> None:
    with blocks.open_blocks(parse(str(world / "base")), options(world, tmp_path, "exam")) as evaluation:
        works = [block.work for block in remaining_blocks(evaluation, 3)]
        tokens = evaluation.token_counts()
    assert len(works) == 8
    assert (
        tokens.all_documents <= tokens.fed <= 1.1 * tokens.all_documents
    )  # documents of different blocks share some tokens as well
    assert works[0].tokens_fed > 2 * max(work.tokens_fed for work in works[1:])


@pytest.mark.parametrize("name", ["mamba", "qwen3_next"])
def test_token_counts_follow_the_walk(world: Path, tmp_path: Path, name: str) -> None:
    base = architectures.base(tmp_path / name, name)
    settings = options(world, tmp_path / "out", "exam", "say", limit=6)
    with blocks.open_blocks(parse(str(base)), settings) as evaluation:
        list(remaining_blocks(evaluation, 30))
        report, tokens = evaluation.write_report(), evaluation.token_counts()
    whole = next(run([parse(str(base))], replace(settings, output=tmp_path / "run")))
    engine = whole.manifest.engine
    assert engine is not None
    assert engine.walk == report.manifest.engine.walk == {"mamba": "plain", "qwen3_next": "snapshot"}[name]  # type: ignore[union-attr]
    assert tokens.fed == tokens.evaluated == tokens.all_documents == engine.tokens_fed


@pytest.mark.parametrize("counted", [1, 30])
def test_token_counts_of_many_documents_are_extrapolated(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: int
) -> None:
    with blocks.open_blocks(parse(str(world / "base")), options(world, tmp_path, "exam", "pick", "say")) as evaluation:
        evaluation.evaluate(["exam", "pick"], 4)
        exact = evaluation.token_counts()
        monkeypatch.setattr(blocks, "COUNTED", counted)
        estimate = evaluation.token_counts()
    assert estimate.all_documents == pytest.approx(exact.all_documents, rel=0.1)
    assert estimate.evaluated == exact.evaluated  # of few documents all are counted
    assert estimate.generated_at_most == exact.generated_at_most


def test_texts_in_windows_are_noted_as_in_a_run(world: Path, tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text("\n".join(f'{{"text": "{"Salt and silk. " * (3 + k)}"}}' for k in range(6)), encoding="utf-8")
    settings = options(world, tmp_path / "out", f"ppl:{file}", stride=8)
    reference = parse(f"{world / 'base'},max_length=32")
    with blocks.open_blocks(reference, settings) as evaluation:
        list(remaining_blocks(evaluation, 2))
        report = evaluation.write_report()
    whole = next(run([reference], options(world, tmp_path / "run", f"ppl:{file}", stride=8)))
    (task,) = whole.manifest.tasks
    assert report.manifest.tasks[task].prompt_hash == whole.manifest.tasks[task].prompt_hash
    assert [item.value for item in report.manifest.scores] == pytest.approx(
        [item.value for item in whole.manifest.scores]
    )


def test_only_one_checkpoint_can_be_evaluated(world: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(HarnessError, match="no folder"),
        blocks.open_blocks(parse("./nowhere"), options(world, tmp_path, "say")),
    ):
        pass


def test_an_empty_selection_is_not_all_documents(world: Path, tmp_path: Path) -> None:
    with blocks.open_blocks(parse(str(world / "base")), options(world, tmp_path, "say")) as evaluation:
        with pytest.raises(AssertionError):
            evaluation._parts["say"].evaluate([])
        assert evaluation.evaluate([], 8).rows == {}
