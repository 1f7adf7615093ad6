"""A family side by side in a terminal, and the line on a trained stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.views import family
from harness.cli.views.stages import stage_line
from harness.reports.report import Score
from harness.training.lineage import Lineage
from harness.training.recipe import Stage
from harness.training.stages import Trained


def score(value: float, low: float | None, high: float | None) -> Score:
    return Score(
        task="demo_nli",
        metric="acc",
        filter="none",
        value=value,
        stderr=None,
        low=low,
        high=high,
        n=96,
        higher_is_better=True,
        fraction=True,
        average=None,
        members=["demo_nli"],
        primary=True,
        headline=True,
    )


@pytest.mark.parametrize(
    ("after", "before", "expected"),
    [
        (score(0.8, 0.7, 0.9), score(0.5, 0.4, 0.6), "▲80"),
        (score(0.3, 0.2, 0.4), score(0.6, 0.5, 0.7), "▼30"),
        (score(0.6, 0.5, 0.7), score(0.5, 0.4, 0.6), "]60"),
        (score(0.6, 0.5, 0.7), score(0.4, 0.3, 0.5), "]60"),  # they overlap in one point
        (score(0.6, None, None), score(0.5, None, None), "▲60"),
    ],
)
def test_a_mark_means_that_intervals_do_not_overlap(after, before, expected):
    assert expected in family.cell(after, before)


def test_a_stage_takes_one_line():
    stage = Stage.model_validate({"from": "out/sft", "method": "lora", "corpora": {"talk": 1}})
    origin = {
        "key": "k",
        "name": "lora",
        "recipe": "r",
        "settings": {},
        "seed": 0,
        "parent": "sft",
        "parent_key": "p",
        "parent_fingerprint": "f",
    }
    numbers = {"steps": 1500, "tokens": 2_000, "parameters": 175_104, "loss": 0.333, "seconds": 61.0}
    record = Lineage(**origin, base="../sft", base_fingerprint="b", **numbers)
    trained = Trained("lora", Path("out/lora"), stage, record, reused=False)
    assert stage_line(trained) == (
        "lora       from sft        LoRA, 1,500 steps, 2,000 tokens, 175,104 parameters, loss 0.33, 1 min 1 s"
    )
    assert stage_line(trained._replace(reused=True)).endswith("loss 0.33, kept")
