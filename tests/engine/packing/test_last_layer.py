"""Which part of a model is skipped where no logits are read, and that it is restored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from harness.checkpoints import loading
from harness.checkpoints.reference import CheckpointReference
from harness.checkpoints.root_cache import EMPTY
from harness.engine import walks
from harness.engine.packing import last_layer, packs, tree
from harness.engine.packing.last_layer import SkippablePart
from harness.engine.walks import Walk
from support import architectures, tiny
from tolerances import FP32_LOGLIKELIHOOD

NAMED = ["llama", "gpt2", "gpt_neox", "glm", "gemma3", "qwen3_moe", "deepseek_v3", "gpt_oss", "qwen3_next"]


@pytest.fixture
def model(tmp_path: Path) -> Any:
    return loading.load(loading.locate(CheckpointReference(str(tiny.llama(tmp_path / "base"))))).model


def record_calls(part: nn.Module, measure: Callable[[Any], int]) -> list[int]:
    """Return a list to which every call of a submodule of `part` appends the `measure` of its input."""
    measures: list[int] = []
    inner = next(module for module in part.modules() if isinstance(module, nn.Linear))
    inner.register_forward_pre_hook(lambda _, inputs: measures.append(measure(inputs[0])))
    return measures


@pytest.mark.parametrize("name", NAMED)
def test_the_part_belongs_to_the_last_layer_only(tmp_path: Path, name: str) -> None:
    folder = architectures.base(tmp_path / name, name)
    model = loading.load(loading.locate(CheckpointReference(str(folder)))).model
    part = last_layer.feed_forward(model)
    names = [path for path, module in model.named_modules() if module is part]
    count = model.config.num_hidden_layers
    assert len(names) == 1
    assert f".{count - 1}." in names[0]
    assert names[0].endswith(".mlp")


def test_the_part_includes_its_adapter(tmp_path: Path) -> None:
    base = architectures.base(tmp_path / "base", "llama")
    adapter = architectures.adapter(tmp_path / "lora", base, "llama", "lora")
    model = loading.load(loading.locate(CheckpointReference(str(base), adapter=str(adapter)))).model
    part = last_layer.feed_forward(model)
    assert part is not None
    assert any("lora_A" in name for name, _ in part.named_modules())


def stack(*parts: nn.Module) -> nn.ModuleList:
    """Return layers with these parts after their attention."""
    layers = nn.ModuleList()
    for part in parts:
        layer = nn.Module()
        layer.mlp = part
        layers.append(layer)
    return layers


def model_with(layers: int, **stacks: nn.ModuleList) -> Any:
    """Return a model of these `stacks` whose configuration states the number of `layers`."""
    model = nn.Module()
    model.config = SimpleNamespace(num_hidden_layers=layers)  # type: ignore[assignment]
    for name, layer_stack in stacks.items():
        setattr(model, name, layer_stack)
    return model


def test_there_is_no_part_if_names_are_not_conclusive() -> None:
    first, last, shared = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
    assert last_layer.feed_forward(model_with(2, text=stack(first, last))) is last
    assert last_layer.feed_forward(model_with(2, text=stack(shared, shared))) is None
    assert last_layer.feed_forward(model_with(2, text=stack(first, last), images=stack(nn.ReLU(), nn.ReLU()))) is None
    assert last_layer.feed_forward(model_with(3, text=stack(first, last))) is None
    assert last_layer.feed_forward(model_with(1, text=nn.ModuleList([nn.Linear(4, 4)]))) is None


@pytest.mark.parametrize("walk", [Walk.PACK, Walk.SNAPSHOT])
def test_the_part_computes_only_tokens_that_are_read(model: Any, walk: Walk) -> None:
    part = last_layer.feed_forward(model)
    assert part is not None
    fed = record_calls(part, lambda x: x.shape[1])
    sequences = [[5, 6, 7, 8, 9], [5, 6, 7, 10, 11, 12], [5, 6, 13]]
    grown = tree.grow(sequences, [1, 2, 1])
    planned = tree.plan(grown, tree.Limits(100, 100), siblings=walk == Walk.PACK)
    steps = walks.walker(walk, model, EMPTY, planned, SkippablePart(part))
    for pack in planned:
        fed.clear()
        places, place_index = packs.distinct_reads(pack)
        logits = steps.run(pack, places)
        assert fed == [max(1, len(places))]
        for request, nth, row in zip(pack.requests, pack.nth, place_index, strict=True):
            ids = sequences[request]
            last = len(ids) - [1, 2, 1][request] + nth
            with torch.inference_mode():
                expected = model(torch.tensor([ids])).logits[0, last]
            assert torch.allclose(logits[row], expected, atol=FP32_LOGLIKELIHOOD)
    fed.clear()
    model(torch.tensor([[5, 6, 7]]))
    assert fed == [3]


@pytest.mark.parametrize("walk", [Walk.PACK, Walk.SNAPSHOT])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_that_mixes_tokens_after_the_part_is_detected_however_weakly(
    tmp_path: Path, walk: Walk, dtype: str
) -> None:
    reference = CheckpointReference(str(tiny.llama(tmp_path / "base")), dtype=dtype)
    model = loading.load(loading.locate(reference)).model
    part = walks.skippable_part(walk, model, EMPTY)
    assert part is not None
    assert part.module is last_layer.feed_forward(model)
    hook = model.model.norm.register_forward_pre_hook(lambda _, inputs: (inputs[0] + 1e-6 * inputs[0].roll(1, 1),))
    assert walks.skippable_part(walk, model, EMPTY) is None
    hook.remove()
    assert walks.skippable_part(walk, model, EMPTY) is not None
    assert walks.skippable_part(Walk.PLAIN, model, EMPTY) is None


@pytest.mark.parametrize("error", [ZeroDivisionError, torch.OutOfMemoryError])
def test_everything_is_computed_if_the_probe_itself_fails(model: Any, error: type[Exception]) -> None:
    def reject_nan(_: Any, inputs: Any) -> None:
        if inputs[0].isnan().any():
            raise error

    model.model.norm.register_forward_pre_hook(reject_nan)
    assert not walks.failure(Walk.PACK, model, EMPTY)
    assert walks.skippable_part(Walk.PACK, model, EMPTY) is None


def test_the_part_is_restored_after_errors_and_hooks(model: Any) -> None:
    part = last_layer.feed_forward(model)
    assert part is not None
    forward, x = part.forward, torch.randn(1, 4, model.config.hidden_size)
    before, rows = part(x), torch.tensor([1, 3])

    def fail() -> None:
        with last_layer.computing_only(SkippablePart(part), rows, 4):
            output = part(x)
            assert torch.allclose(output[:, rows], before[:, rows], atol=FP32_LOGLIKELIHOOD)
            assert not output[:, [0, 2]].any()
            raise RuntimeError("memory is full")

    with pytest.raises(RuntimeError, match="full"):
        fail()
    assert part.forward == forward
    assert "forward" not in part.__dict__

    hooked = lambda x: 2 * forward(x)  # noqa: E731 - accelerate stores its hook there
    part.__dict__["forward"] = hooked
    with last_layer.computing_only(SkippablePart(part), rows, 4):
        assert torch.allclose(part(x)[:, rows], 2 * before[:, rows], atol=FP32_LOGLIKELIHOOD)
    assert part.forward is hooked


def test_unusual_calls_compute_all_positions() -> None:
    class WithResidual(nn.Module):
        def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> Any:
            return x + 1 if residual is None else x + residual

    class WithTwoOutputs(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return x + 1, x.sum()

    x, rows = torch.randn(1, 4, 3), torch.tensor([2])
    with_residual, with_two_outputs = WithResidual(), WithTwoOutputs()
    with (
        last_layer.computing_only(SkippablePart(with_residual), rows, 4),
        last_layer.computing_only(SkippablePart(with_two_outputs), rows, 4),
    ):
        assert torch.equal(with_residual(x, x), 2 * x)
        assert torch.equal(with_residual(x, residual=x), 2 * x)
        assert torch.equal(with_residual(x[0]), x[0] + 1)
        assert torch.equal(with_residual(x[:, :3]), x[:, :3] + 1)
        first, rest = with_two_outputs(x)
        assert torch.equal(first[:, rows], x[:, rows] + 1)
        assert first[:, [0, 1, 3]].abs().sum() == 0
        assert torch.equal(rest, x[:, rows].sum())
        assert with_residual(x)[:, [0, 1, 3]].abs().sum() == 0
