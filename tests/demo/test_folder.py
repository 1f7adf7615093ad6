"""The demo's folder: a quick demo trains the stages of the whole recipe, with fewer steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.demo.folder import DemoFolder
from harness.training import recipe
from harness.training.recipe import Recipe
from support.small_world import shrink_corpora


def prepared(place: Path, quick: bool, seed: int) -> Recipe:
    """Prepare a demo in `place`, and return its recipe."""
    demo = DemoFolder(place, quick, seed)
    demo.prepare()
    return recipe.load(demo.recipe)


def test_a_quick_demo_trains_a_tenth_of_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_corpora(monkeypatch, 10)
    whole, quick = prepared(tmp_path / "whole", quick=False, seed=0), prepared(tmp_path / "quick", quick=True, seed=3)
    assert (whole.seed, quick.seed) == (0, 3)
    assert list(whole.stages) == list(quick.stages) != []
    for name, stage in whole.stages.items():
        steps, warmup = stage.arguments["max_steps"] // 10, max(1, stage.arguments["warmup_steps"] // 10)
        arguments = {**stage.arguments, "max_steps": steps, "warmup_steps": warmup}
        assert quick.stages[name] == stage.model_copy(
            update={"arguments": arguments, "start": quick.stages[name].start}
        )
        assert steps > warmup
