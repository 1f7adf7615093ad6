"""Sequential gates: the verdicts of gates on complete reports, with fewer documents, stopped or interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from harness.gating.blocks import BlockEvaluation
from harness.gating.sequential import GateResult, gate_in_blocks
from harness.reports import calibration
from harness.reports.report import Report
from harness.runs import calibrate
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.verdicts.gate import Judgement, gate
from harness.verdicts.policy import Policy, Rule
from support import mirrors, tiny

SIZES = {"red": 900, "blue": 300, "green": 120}
RATIO = """
def counted(doc, results):
    best = max(range(len(results)), key=lambda at: results[at][0])
    return {"share": [float(best == doc["answer"]), 1.0 + doc["answer"]]}
def ratio(pairs):
    return sum(a for a, _ in pairs) / sum(b for _, b in pairs)
"""


def rows(config: str) -> list[dict[str, Any]]:
    return [
        {"bale": f"{config} {number // 2} {'ab'[number % 2]}", "load": f"{config} {number // 2}", "answer": number % 2}
        for number in range(SIZES[config])
    ]


def definition(config: str, **changes: Any) -> dict[str, Any]:
    return {
        "task": f"bales_{config}",
        "dataset_path": "me/bales",
        "dataset_name": config,
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "Bale {{bale}}:",
        "doc_to_choice": [" silk", " salt"],
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1},
        **changes,
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks whose right answers equal one checkpoint's for 9 of 10 documents, and another checkpoint."""
    folder = tmp_path_factory.mktemp("bales")
    for name, seed in (("base", 0), ("other", 1)):
        tiny.llama(folder / name, seed=seed)
    (folder / "tasks").mkdir()
    (folder / "tasks" / "counting.py").write_text(RATIO)
    definitions: dict[str, Mapping[str, Any]] = {
        **{config: definition(config) for config in SIZES},
        "loads": definition("red", task="loads", metadata={"version": 1, "cluster": "{{load}}"}),
        "bales": {
            "group": "bales",
            "task": ["bales_red", "bales_blue"],
            "aggregate_metric_list": [{"metric": "acc", "weight_by_size": False}],
        },
    }
    for name, content in definitions.items():
        (folder / "tasks" / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    text = yaml.safe_dump(definition("green", task="share", process_results=0, metric_list=0))
    text = text.replace("process_results: 0", "process_results: !function counting.counted").replace(
        "metric_list: 0",
        "metric_list:\n- {metric: share, aggregation: !function counting.ratio, higher_is_better: true}",
    )
    (folder / "tasks" / "share.yaml").write_text(text)
    for config in SIZES:
        mirrors.write(folder / "data", "me/bales", config, test=rows(config))
    settings = Options(
        ("bales_red", "bales_blue", "bales_green"), folder / "first", folder / "data", include=(folder / "tasks",)
    )
    [first] = run([parse(str(folder / "base"))], settings)
    for config in SIZES:
        predictions = [0 if text == "silk" else 1 for text in first.samples(f"bales_{config}")["prediction"]]
        answers = [item if number % 10 else 1 - item for number, item in enumerate(predictions)]
        answered = [row | {"answer": item} for row, item in zip(rows(config), answers, strict=True)]
        mirrors.write(folder / "data", "me/bales", config, test=answered)
    return folder


def options(world: Path, output: Path, *tasks: str, **changes: Any) -> Options:
    return Options(tasks, output, world / "data", include=(world / "tasks",), **changes)


@pytest.fixture(scope="module")
def baseline(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    everything = options(world, tmp_path_factory.mktemp("baseline"), "bales", "bales_green", "loads", "share")
    [result] = run([parse(str(world / "base"))], everything)
    return result


def gated(
    world: Path, baseline: Report, output: Path, name: str, *tasks: str, policy: Any = None, **arguments: Any
) -> GateResult:
    settings = options(world, output, *tasks, **arguments)
    return gate_in_blocks(parse(str(world / name)), baseline, settings, policy or Policy(margin=5))


def facts(item: Judgement) -> tuple[Any, ...]:
    comparison = item.comparison
    return (
        item.verdict,
        item.reason,
        item.tests,
        item.p_loss_corrected,
        item.margin,
        comparison.interval,
        comparison.difference,
    )


@pytest.fixture(scope="module")
def gate_of_base(world: Path, baseline: Report, tmp_path_factory: pytest.TempPathFactory) -> GateResult:
    """The gate of the base against its own report on `loads`, stopped after some of the documents."""
    return gated(world, baseline, tmp_path_factory.mktemp("gate"), "base", "loads")


def test_a_checkpoint_passes_against_itself_with_fewer_documents(gate_of_base: GateResult) -> None:
    result = gate_of_base
    [judged] = result.outcome.judgements
    assert (result.outcome.verdict, judged.verdict, judged.score.task) == ("passed", "passed", "loads")
    reading = result.outcome.reading
    assert reading is not None
    assert reading.of_documents == 900
    assert 64 <= reading.documents < 600
    assert reading.tokens < 0.8 * reading.of_tokens
    assert result.report.manifest.tasks["loads"].documents == reading.documents
    assert judged.comparison.early_stop is not None
    assert judged.comparison.documents == reading.documents
    assert judged.comparison.interval is not None
    assert -0.05 < judged.comparison.interval.low < 0 < judged.comparison.interval.high


def test_a_different_checkpoint_regresses_early(world: Path, baseline: Report, tmp_path: Path) -> None:
    result = gated(world, baseline, tmp_path, "other", "bales", "bales_green")
    assert (result.outcome.verdict, result.outcome.exit_code) == ("regressed", 1)
    average, green = result.outcome.judgements[:2]
    assert (average.score.task, average.verdict, green.verdict) == ("bales", "regressed", "regressed")
    assert result.outcome.reading is not None
    assert result.outcome.reading.documents <= 256
    interval = average.comparison.interval
    assert interval is not None
    whole = next(iter(run([parse(str(world / "other"))], options(world, tmp_path / "whole", "bales", "bales_green"))))
    fixed = gate(baseline, whole, Policy(margin=5), ["bales", "bales_green"])
    assert fixed.verdict == "regressed"
    assert interval.low < fixed.judgements[0].comparison.difference < interval.high < 0


def test_a_score_that_is_not_a_mean_is_judged_as_in_a_complete_report(
    world: Path, baseline: Report, tmp_path: Path
) -> None:
    result = gated(world, baseline, tmp_path, "other", "share")
    [judged] = result.outcome.judgements
    fixed = gate(baseline, result.report, Policy(margin=5), ["share"])
    assert result.outcome.reading is not None
    assert (result.outcome.reading.documents, judged.comparison.early_stop) == (120, None)
    assert facts(judged) == facts(fixed.judgements[0])


def test_a_score_with_a_floor_is_read_to_the_end(world: Path, baseline: Report, tmp_path: Path) -> None:
    for floor, verdict in ((80, "passed"), (95, "regressed")):
        policy = Policy(margin=15, tasks=(Rule(match="bales_green", floor=floor),))
        result = gated(world, baseline, tmp_path / str(floor), "base", "bales_green", policy=policy)
        assert (result.outcome.verdict, result.report.manifest.tasks["bales_green"].documents) == (verdict, 120)


def test_an_average_over_a_task_with_a_floor_is_read_to_the_end(world: Path, baseline: Report, tmp_path: Path) -> None:
    policy = Policy(margin=15, tasks=(Rule(match="bales_blue", floor=70),))
    passed = gated(world, baseline, tmp_path / "base", "base", "bales", policy=policy)
    assert passed.outcome.verdict == "passed"
    assert passed.report.manifest.tasks["bales_blue"].documents == 300
    regressed = gated(world, baseline, tmp_path / "other", "other", "bales", policy=policy)
    reasons = {item.score.task: item.reason for item in regressed.outcome.judgements if item.verdict == "regressed"}
    assert reasons["bales"] == "a real loss"
    assert set(reasons.values()) == {"a real loss"}  # floors are not checked on the few documents that were read


def test_few_documents_stay_inconclusive(world: Path, baseline: Report, tmp_path: Path) -> None:
    result = gated(world, baseline, tmp_path, "base", "bales_green", policy=Policy(margin=1))
    assert (result.outcome.verdict, result.outcome.exit_code) == ("inconclusive", 3)
    assert result.outcome.judgements[0].comparison.early_stop is None
    assert result.report.manifest.tasks["bales_green"].documents == 120


def test_an_interrupted_gate_continues_to_the_same_verdict(
    world: Path, baseline: Report, gate_of_base: GateResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = gate_of_base
    evaluate, calls = BlockEvaluation.evaluate, []

    def interrupted(self: BlockEvaluation, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(BlockEvaluation, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gated(world, baseline, tmp_path / "twice", "base", "loads")
    result = gated(world, baseline, tmp_path / "twice", "base", "loads")
    assert list(map(facts, result.outcome.judgements)) == list(map(facts, expected.outcome.judgements))
    engine = result.report.manifest.engine
    assert engine is not None
    assert engine.answered_from_journal == 2 * 2 * 64  # two blocks, two choices a document
    once, twice = expected.outcome.reading, result.outcome.reading
    assert once is not None
    assert twice is not None
    assert 0.95 * once.tokens < twice.tokens <= once.tokens


def test_seeds_draw_different_orders(world: Path, baseline: Report, gate_of_base: GateResult, tmp_path: Path) -> None:
    settings = options(world, tmp_path, "loads")
    result = gate_in_blocks(parse(str(world / "base")), baseline, settings, Policy(margin=5), seed=2)
    places = [set(report.samples("loads")["doc_id"]) for report in (gate_of_base.report, result.report)]
    assert places[0] != places[1]


def test_clusters_are_read_as_a_whole(gate_of_base: GateResult) -> None:
    samples = gate_of_base.report.samples("loads")
    assert samples.groupby("cluster").size().eq(2).all()


def test_a_baseline_that_lacks_a_task_or_documents_is_an_early_error(
    world: Path, baseline: Report, tmp_path: Path
) -> None:
    [less] = run([parse(str(world / "base"))], options(world, tmp_path / "less", "bales_green", limit=100))
    with pytest.raises(HarnessError, match=r"bales_green: the baseline lacks .* of the documents"):
        gated(world, less, tmp_path / "a", "base", "bales_green")
    with pytest.raises(HarnessError, match="has no score of loads"):
        gated(world, less, tmp_path / "b", "base", "loads")
    with pytest.raises(
        HarnessError, match=r"bales_green: different prompts .* evaluate the candidate as the baseline was"
    ):
        gated(world, baseline, tmp_path / "c", "base", "bales_green", num_fewshot=1)


@pytest.mark.parametrize("attribute", ["version", "dataset", "split"])
def test_a_different_task_of_the_baseline_is_an_error_before_any_evaluation(
    world: Path, baseline: Report, tmp_path: Path, attribute: str
) -> None:
    changed = baseline.manifest.tasks["loads"].model_copy(update={attribute: "another"})
    manifest = baseline.manifest.model_copy(update={"tasks": {**baseline.manifest.tasks, "loads": changed}})
    with pytest.raises(HarnessError, match=rf"loads: different {attribute}: .* instead of the baseline's another"):
        gated(world, Report(baseline.folder, manifest), tmp_path, "base", "loads")


def test_a_metric_that_the_candidate_does_not_compute_is_an_early_error(world: Path, tmp_path: Path) -> None:
    file = tmp_path / "sums.jsonl"
    file.write_text("".join(f'{{"question": "{k}+1=", "answer": "{k + 1}"}}\n' for k in range(4)))
    arguments = {"include": (world / "tasks",), "max_gen_toks": 2}
    [first] = run(
        [parse(str(world / "base"))], Options((str(file),), tmp_path / "a", comparisons=("number",), **arguments)
    )
    other = Options((str(file),), tmp_path / "b", comparisons=("contains",), **arguments)
    with pytest.raises(HarnessError, match=r"sums.jsonl does not compute number \("):
        gate_in_blocks(parse(str(world / "base")), first, other, Policy())


def test_the_report_of_a_stopped_gate_cannot_be_judged(baseline: Report, gate_of_base: GateResult) -> None:
    stopped = gate_of_base.report
    for item, other in ((baseline, stopped), (stopped, baseline)):
        with pytest.raises(HarnessError, match=r"base's loads was evaluated on \d+ of 900 documents, until its"):
            gate(item, other, Policy(margin=5), ["loads"])


def test_the_candidates_calibration_is_found_beside_its_reports(world: Path, baseline: Report, tmp_path: Path) -> None:
    settings = options(world, tmp_path, "bales_green")
    known = calibrate.calibrate(parse(str(world / "other")), settings)
    known.write(calibration.file_in(tmp_path, known.fingerprint))
    [judged] = gated(world, baseline, tmp_path, "other", "bales_green").outcome.judgements
    assert judged.noise == 0
    [judged] = gated(world, baseline, tmp_path / "elsewhere", "other", "bales_green").outcome.judgements
    assert judged.noise is None
