"""Trainings of tiny checkpoints, a few steps long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.training import recipe, stages
from harness.training.stages import Trained

ROWS = [{"prompt": f"问：{number}？答：", "completion": f"{number}个苹果和{number + 1}个梨"} for number in range(12)]
HEAD = """
seed: 1
threads: 1
corpora: {talk: talk.jsonl}
defaults: {per_device_train_batch_size: 4, learning_rate: 1.0e-2, max_steps: 2, max_length: 128}
stages:
"""


def written(folder: Path, *stages: str, head: str = HEAD) -> Path:
    """Write a recipe of `stages`, such as `a: {from: base}`, and its corpus in `folder`; return the recipe.

    Stages that name no corpus, merges apart, learn from the corpus `talk`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    (folder / "talk.jsonl").write_text(rows, encoding="utf-8")
    named = (s if "corpora:" in s or "method: merge" in s else f"{s.rstrip()[:-1]}, corpora: [talk]}}" for s in stages)
    (folder / "recipe.yaml").write_text(head + "".join(f"  {stage}\n" for stage in named), encoding="utf-8")
    return folder / "recipe.yaml"


def train(folder: Path, *texts: str, head: str = HEAD, **options: Any) -> dict[str, Trained]:
    """Train the stages `texts` in `folder` into `folder`/out; return them by name."""
    loaded = recipe.load(written(folder, *texts, head=head))
    return {stage.name: stage for stage in stages.train(loaded, folder / "out", **options)}
