"""A bar counts the weights of a checkpoint while they are put into the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.checkpoints import loading
from harness.checkpoints.reference import CheckpointReference
from harness.common.progress import Bar
from support import chatglm, tiny


@pytest.mark.parametrize("make", [tiny.llama, chatglm.save], ids=["llama", "chatglm2"])
def test_a_bar_counts_every_weight(tmp_path: Path, make) -> None:
    total, counts = [], []
    bar = Bar(counts.append, lambda _: None, total.append)
    located = loading.locate(CheckpointReference(str(make(tmp_path / "model"))))
    checkpoint = loading.Loader().load(located, bar=bar)
    names = {name for name, _ in checkpoint.model.named_parameters(remove_duplicate=False)}
    assert total == [sum(counts)]
    assert sum(counts) >= len(names) - 1  # tied weights are one
