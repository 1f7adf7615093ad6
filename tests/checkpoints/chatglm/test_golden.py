"""ChatGLM2 and its prefixes answer as the published code does (golden files of the data folder)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.checkpoints import loading, weights
from harness.checkpoints.adapters import attach, prompt_learning
from harness.checkpoints.reference import CheckpointReference
from harness.checkpoints.root_cache import EMPTY, RootCache
from harness.checkpoints.types import Model
from tolerances import GOLDEN_LOGITS

KINDS = ("base", "ptuning", "ptuning-projection")


@pytest.fixture(scope="module")
def folder(data: Path) -> Path:
    return data / "chatglm-golden"


@pytest.fixture(scope="module")
def golden(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "chatglm2-tiny.golden.json").read_text())


def load(folder: Path, kind: str) -> tuple[Model, RootCache]:
    adapter = None if kind == "base" else str(folder / f"chatglm2-tiny-{kind}" / "checkpoint-3000")
    located = loading.locate(CheckpointReference(str(folder / "chatglm2-tiny"), adapter=adapter))
    model = weights.load(located).model
    if located.adapter_config is None:
        return model, EMPTY
    tensors = attach.read(located.adapter_config)
    prompt_learning.check_fit(located.adapter_config, tensors, model.config)
    return model, prompt_learning.root_cache(located.adapter_config, tensors, model, located.dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_the_published_codes(folder: Path, golden: dict[str, Any], kind: str) -> None:
    model, root = load(folder, kind)
    for row in golden[kind]:
        ids = torch.tensor([row["input_ids"]])
        with torch.inference_mode():
            logits = root.forward(model, ids).logits[0]
        assert float((logits[-1] - torch.tensor(row["logits_last"])).abs().max()) <= GOLDEN_LOGITS
        assert logits.argmax(-1).tolist() == row["argmax"]
        assert float((logits.logsumexp(-1) - torch.tensor(row["logsumexp"])).abs().max()) <= GOLDEN_LOGITS
        next_logprob = logits.log_softmax(-1)[:-1].gather(-1, ids[0, 1:, None])[:, 0]
        expected = torch.tensor(row["next_logprob"])[: len(next_logprob)]
        assert float((next_logprob - expected).abs().max()) <= GOLDEN_LOGITS
