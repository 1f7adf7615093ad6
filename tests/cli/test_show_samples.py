"""Samples in a terminal, whatever a metric keeps of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness.cli.samples import show_samples

from harness.runs import ratings
from harness.runs.report import Report
from harness.runs.report_writer import ReportWriter
from harness.runs.samples import digest

KEPT: dict[str, Any] = {
    "acc": 0.5,
    "nothing": None,
    "micro_f1": [2, 4],
    "precision": [0, 0],
    "macro_f1": {"人名": [1, 1, 2]},
    "distinct1_jieba": "红色 裙子",
    "chrf": [[3, 2], [3, 2], [1, 0]],
}
"""Metrics, and what a sample's row has of them."""


def report(folder: Path) -> Report:
    """Return a report of one sample."""
    file = folder / "rated.jsonl"
    file.write_text('{"id": 0, "criterion": "acc", "rating": 1, "rater": "A"}', encoding="utf-8")
    [rated] = ratings.score(file, folder / "rated", task="asked", name=None, keep_going=False)
    row = {
        **{name: digest("") for name in ("doc_hash", "prompt_hash", "target_hash")},
        "doc_id": 0,
        "filter": "none",
        "prompt": "问",
        "target": "答",
        "responses": ["答"],
        "prediction": "答",
    }
    with ReportWriter(folder / "report") as writer:
        writer.write_samples("asked", [row | KEPT], list(KEPT))
        return writer.finish(rated.manifest, {})


@pytest.mark.parametrize("which", ["all", "wrong"])
def test_a_sample_tells_what_each_metric_makes_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    show_samples(report(tmp_path), which, "asked", 20)
    lines = capsys.readouterr().out.splitlines()
    assert "acc 0.5   micro_f1 0.5   precision –" in lines
