"""Contexts: keys come in multiples of a number, and what is behind them is never seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.checkpoints import loading
from harness.checkpoints.reference import parse
from harness.engine import walks
from harness.engine.packing import attention, packs, tree
from support import architectures
from tolerances import FP32_LOGLIKELIHOOD


@given(st.integers(0, 10_000))
def test_keys_are_rounded_up(tokens: int) -> None:
    assert packs.aligned(tokens) % packs.ALIGNED == 0
    assert 0 <= packs.aligned(tokens) - tokens < packs.ALIGNED


@pytest.mark.parametrize("name", ["llama", "mistral", "deepseek_v3"])
@pytest.mark.parametrize("length", [30, 64, 100])
def test_what_is_behind_the_keys_is_not_seen(
    name: str, length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = loading.load(loading.locate(parse(str(architectures.base(tmp_path / name, name)))))
    sequence = [3 + 7 * k % 300 for k in range(length)]
    planned = tree.plan(tree.grow([sequence], [length]), tree.Limits(48, 100))
    context = walks.context(checkpoint.model, checkpoint.root, planned)
    keys: list[int] = []
    attend = attention.attend

    def logged(module: Any, query: torch.Tensor, key: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        keys.append(key.shape[2])
        return attend(module, query, key, *args, **kwargs)

    monkeypatch.setattr(attention, "attend", logged)
    logits = []
    for pack in planned:
        with torch.inference_mode():
            for layer in packs.filled_layers(context.cache):
                layer.keys[:, :, layer.length :] = 1e4
                layer.values[:, :, layer.length :] = 1e4
        logits.append(context.run(pack, packs.distinct_reads(pack)[0]))
    assert keys
    assert all(count % packs.ALIGNED == 0 for count in keys)
    with torch.inference_mode():
        expected = checkpoint.model(input_ids=torch.tensor([sequence])).logits[0]
    assert (torch.cat(logits) - expected).abs().max() <= FP32_LOGLIKELIHOOD
