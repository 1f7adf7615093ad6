"""The demo made small: corpora of a tenth of the rows, a model of one layer, stages of two steps of four examples.

Not here: what the stages of the demo learn (`tests/demo/test_family.py`, and `make oracle` for the whole recipe).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.demo import corpora, folder, model, story

ROWS = {"COPYBOOK": 400, "CHRONICLE": 1_200, "STATUTES": 400, "LESSONS": 1_000}


def shrink_corpora(patch: pytest.MonkeyPatch, part: int = 1) -> None:
    """Let every corpus of the demo have the rows of `ROWS`, divided by `part`."""
    for name, rows in ROWS.items():
        patch.setattr(corpora, name, rows // part)


def shorten_recipe(patch: pytest.MonkeyPatch, file: Path) -> None:
    """Let every stage of the demo's recipe take two steps of four examples on one thread, in a quick demo too.

    `file` gets the recipe.
    """
    text = folder.RECIPE.read_text(encoding="utf-8")
    for name, value in (("per_device_train_batch_size", 4), ("max_steps", 2), ("warmup_steps", 1)):
        text = re.sub(rf"{name}: \d+", f"{name}: {value}", text)
    file.write_text(re.sub(r"threads: \d+", "threads: 1", text), encoding="utf-8")
    patch.setattr(folder, "RECIPE", file)
    patch.setattr(folder, "QUICK_STEPS", 1)


def shorten_evaluation(patch: pytest.MonkeyPatch) -> None:
    """Let most tasks have 24 documents, and a quick demo evaluate four of each.

    `corpora.build_world` remembers its worlds: clear its cache when the patch ends.
    """
    corpora.build_world.cache_clear()
    patch.setattr(corpora, "TESTS", 24)
    patch.setattr(story, "QUICK_LIMIT", 4)


def shrink_model(patch: pytest.MonkeyPatch) -> None:
    """Let the family descend from a LLaMA of one narrow layer."""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4}
    patch.setattr(model, "SIZES", sizes)
