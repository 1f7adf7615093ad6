"""Samples in a terminal: response, prediction and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.cli.views.samples import show_samples
from harness.reports.checkpoint_info import CheckpointInfo
from harness.reports.report import Manifest, Protocol, Report, Score, TaskInfo
from harness.reports.writer import ReportWriter


def score(metric: str, aggregation: str | None, **changes: Any) -> Score:
    fields: dict[str, Any] = {
        "task": "t",
        "metric": metric,
        "filter": "none",
        "value": 0.5,
        "stderr": None,
        "low": None,
        "high": None,
        "n": 3,
        "higher_is_better": True,
        "fraction": True,
        "aggregation": aggregation,
        "average": None,
        "members": ["t"],
        "primary": False,
        "headline": True,
    }
    return Score(**fields | changes)


def write_report(folder: Path, scores: list[Score], rows: list[dict[str, Any]]) -> Report:
    info = TaskInfo(
        version="1",
        dataset="d",
        split="test",
        num_fewshot=0,
        documents=len(rows),
        documents_in_split=len(rows),
        prompt_hash="",
        truncated=0,
        seconds=0,
        tokens_fed=0,
        tokens_generated=0,
    )
    manifest = Manifest(
        harness="0",
        created="2026-01-01T00:00:00+00:00",
        seconds=0,
        checkpoint=CheckpointInfo(name="m", reference="m", kind="recorded", base="m", fingerprint=""),
        protocol=Protocol(seed=0, recorded="jsonl"),
        tasks={"t": info},
        scores=scores,
        engine=None,
        environment={},
        notes=[],
    )
    shared = {"filter": "none", "doc_hash": "", "prompt_hash": "", "target_hash": "", "prompt": "问", "target": "甲"}
    with ReportWriter(folder) as writer:
        complete = [{"doc_id": number, **shared, **row} for number, row in enumerate(rows)]
        writer.write_samples("t", complete, [score.metric for score in scores])
        return writer.finish(manifest, {})


def test_a_ratio_is_right_or_wrong_and_a_dash_if_its_denominator_is_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"responses": ["(甲,地点)"], "prediction": '[["甲", "地点"]]', "f1": (2.0, 2.0), "precision": (1, 1)},
        {"responses": ["不知道"], "prediction": "[]", "f1": (0.0, 1.0), "precision": (0, 0)},
    ]
    report = write_report(tmp_path / "r", [score("f1", "ratio", primary=True), score("precision", "ratio")], rows)
    show_samples(report, "wrong", "t", 5)
    out = capsys.readouterr().out
    assert "1 of 2 samples are wrong" in out
    assert "answered 不知道" in out
    assert "read as []" in out
    assert "f1 0   precision –" in out


def test_a_pair_that_is_not_a_ratio_has_no_score_per_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """lm-eval's mcc stores (gold, predicted) for each sample."""
    rows = [
        {"responses": ["x"], "prediction": "x", "mcc": (1, 0)},
        {"responses": ["y"], "prediction": "y", "mcc": (0, 1)},
    ]
    report = write_report(tmp_path / "r", [score("mcc", "mcc", primary=True)], rows)
    show_samples(report, "right", "t", 5)
    assert "mcc calls no sample right or wrong" in capsys.readouterr().out


def test_control_characters_are_not_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"responses": ["\x1b[31m红\x1b]0;title\x07"], "prediction": "红", "f1": (0.0, 1.0)}]
    show_samples(write_report(tmp_path / "r", [score("f1", "ratio", primary=True)], rows), "all", "t", 5)
    out = capsys.readouterr().out
    assert "红" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("which", ["all", "wrong"])
def test_every_form_of_a_metrics_value_can_be_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    values: dict[str, tuple[str, Any]] = {
        "acc": ("mean", 0.5),
        "nothing": ("mean", None),
        "micro_f1": ("ratio", [2, 4]),
        "precision": ("ratio", [0, 0]),
        "macro_f1": ("macro_f1", {"人名": [1, 1, 2]}),
        "distinct1_jieba": ("distinct1", "红色 裙子"),
        "chrf": ("chrf", [[3, 2], [3, 2], [1, 0]]),
        "predict_bleu-4_sd": ("sd_over_seeds", [8.0, 4.0]),
    }
    scores = [score(name, aggregation, primary=name == "acc") for name, (aggregation, _) in values.items()]
    row = {"responses": ["答"], "prediction": "答", **{name: value for name, (_, value) in values.items()}}
    show_samples(write_report(tmp_path / "r", scores, [row]), which, "t", 20)
    assert "acc 0.5   micro_f1 0.5   precision –" in capsys.readouterr().out.splitlines()
