"""Products by prepacked weights against torch's, and what is left of them afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from harness.checkpoints import loading
from harness.checkpoints.reference import parse
from harness.engine.engine import Engine
from harness.engine.packing import packs, prepacked
from support import tiny
from tolerances import BF16_LOGLIKELIHOOD

needs_support = pytest.mark.skipif(not prepacked._is_supported(), reason="this CPU does not multiply bfloat16")


def model(dtype: torch.dtype = torch.bfloat16) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(32, 48), nn.SiLU(), nn.Linear(48, 16, bias=False)).to(dtype).requires_grad_(False)


def by_torch(layers: nn.Module, states: torch.Tensor) -> torch.Tensor:
    first, _, second = layers.children()
    return functional.linear(functional.silu(functional.linear(states, first.weight, first.bias)), second.weight)


@needs_support
@pytest.mark.parametrize("rows", [1, 7, 600])
def test_products_are_torchs_while_the_copy_is_used(rows: int) -> None:
    layers = model()
    prepacked.prepare(layers)
    states = torch.randn(1, rows, 32).bfloat16()
    expected = by_torch(layers, states).float()
    with torch.inference_mode(), prepacked.used(layers):
        assert all("forward" in layer.__dict__ for layer in (layers[0], layers[2]))
        result = layers(states).float()
    assert (result - expected).abs().max() <= BF16_LOGLIKELIHOOD * expected.abs().max()
    assert not any("forward" in layer.__dict__ for layer in layers)


@needs_support
def test_weights_that_have_changed_are_copied_again() -> None:
    layers = model()
    prepacked.prepare(layers)
    layers[0].weight.data = torch.zeros_like(layers[0].weight)
    layers[0].bias.data = torch.ones_like(layers[0].bias)
    prepacked.prepare(layers)
    with torch.inference_mode(), prepacked.used(layers):
        assert torch.equal(layers[0](torch.randn(1, 2, 32).bfloat16()), torch.ones(1, 2, 48).bfloat16())


@pytest.mark.parametrize("reason", ["float32", "no room", "other products", "switched off"])
def test_no_copy_is_used_if_it_does_not_pay(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = model(torch.float32 if reason == "float32" else torch.bfloat16)
    if reason == "no room":
        monkeypatch.setattr(prepacked, "free_bytes", lambda device: 100)
    if reason == "other products":
        monkeypatch.setattr(prepacked.Product, "__call__", lambda self, states: torch.zeros(1, 3, 48))
    if reason == "switched off":
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    prepacked.prepare(layers)
    with prepacked.used(layers):
        assert not any("forward" in layer.__dict__ for layer in layers)


@needs_support
def test_an_engine_in_bfloat16_multiplies_by_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = loading.load(loading.locate(parse(f"{tiny.llama(tmp_path / 'base')},dtype=bfloat16")))
    calls: list[int] = []
    original = packs.prepacked.used

    def used(model: nn.Module):
        calls.append(sum(type(module) is nn.Linear for module in prepacked._FORWARDS.get(model, {})))
        return original(model)

    monkeypatch.setattr(prepacked, "used", used)
    assert Engine(checkpoint).walk_choice.walk == "pack"
    linear = [module for module in checkpoint.model.modules() if type(module) is nn.Linear]
    assert set(calls) == {len(linear)}
