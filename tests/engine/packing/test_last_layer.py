"""Which part of a model is left out where nothing is read, and that it comes back."""

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


def counted(part: nn.Module, place: Callable[[Any], int]) -> list[int]:
    """Return a list that grows by what `place` says of the input whenever a submodule of `part` is called."""
    seen: list[int] = []
    inner = next(one for one in part.modules() if isinstance(one, nn.Linear))
    inner.register_forward_pre_hook(lambda _, given: seen.append(place(given[0])))
    return seen


@pytest.mark.parametrize("name", NAMED)
def test_it_is_the_last_of_the_layers_and_of_no_other(tmp_path: Path, name: str) -> None:
    folder = architectures.base(tmp_path / name, name)
    model = loading.load(loading.locate(CheckpointReference(str(folder)))).model
    found = last_layer.feed_forward(model)
    names = [path for path, one in model.named_modules() if one is found]
    count = model.config.num_hidden_layers
    assert len(names) == 1
    assert f".{count - 1}." in names[0]
    assert names[0].endswith(".mlp")


def test_an_adapter_on_it_stays_a_part_of_it(tmp_path: Path) -> None:
    base = architectures.base(tmp_path / "base", "llama")
    adapter = architectures.adapter(tmp_path / "lora", base, "llama", "lora")
    model = loading.load(loading.locate(CheckpointReference(str(base), adapter=str(adapter)))).model
    found = last_layer.feed_forward(model)
    assert found is not None
    assert any("lora_A" in name for name, _ in found.named_modules())


def stack(*parts: nn.Module) -> nn.ModuleList:
    """Return layers with these parts behind their attention."""
    layers = nn.ModuleList()
    for part in parts:
        layer = nn.Module()
        layer.mlp = part
        layers.append(layer)
    return layers


def holding(layers: int, **stacks: nn.ModuleList) -> Any:
    """Return a model whose configuration counts `layers`."""
    made = nn.Module()
    made.config = SimpleNamespace(num_hidden_layers=layers)  # type: ignore[assignment]
    for name, one in stacks.items():
        setattr(made, name, one)
    return made


def test_none_is_found_where_it_is_not_certain_which() -> None:
    one, other, shared = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
    assert last_layer.feed_forward(holding(2, text=stack(one, other))) is other
    assert last_layer.feed_forward(holding(2, text=stack(shared, shared))) is None
    assert last_layer.feed_forward(holding(2, text=stack(one, other), images=stack(nn.ReLU(), nn.ReLU()))) is None
    assert last_layer.feed_forward(holding(3, text=stack(one, other))) is None
    assert last_layer.feed_forward(holding(1, text=nn.ModuleList([nn.Linear(4, 4)]))) is None


@pytest.mark.parametrize("walk", [Walk.PACK, Walk.SNAPSHOT])
def test_only_tokens_that_are_read_pass_it(model: Any, walk: Walk) -> None:
    part = last_layer.feed_forward(model)
    assert part is not None
    seen = counted(part, lambda x: x.shape[1])
    sequences = [[5, 6, 7, 8, 9], [5, 6, 7, 10, 11, 12], [5, 6, 13]]
    grown = tree.grow(sequences, [1, 2, 1])
    planned = tree.plan(grown, tree.Limits(100, 100), siblings=walk == Walk.PACK)
    steps = walks.walker(walk, model, EMPTY, planned, SkippablePart(part))
    for pack in planned:
        seen.clear()
        places, which = packs.distinct_reads(pack)
        logits = steps.run(pack, places)
        assert seen == [max(1, len(places))]
        for request, nth, row in zip(pack.requests, pack.nth, which, strict=True):
            ids = sequences[request]
            last = len(ids) - [1, 2, 1][request] + nth
            with torch.inference_mode():
                right = model(torch.tensor([ids])).logits[0, last]
            assert torch.allclose(logits[row], right, atol=FP32_LOGLIKELIHOOD)
    seen.clear()
    model(torch.tensor([[5, 6, 7]]))
    assert seen == [3]


@pytest.mark.parametrize("walk", [Walk.PACK, Walk.SNAPSHOT])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_still_looks_at_other_tokens_behind_it_is_found_out_however_little_it_takes(
    tmp_path: Path, walk: Walk, dtype: str
) -> None:
    reference = CheckpointReference(str(tiny.llama(tmp_path / "base")), dtype=dtype)
    model = loading.load(loading.locate(reference)).model
    found = walks.skippable_part(walk, model, EMPTY)
    assert found is not None
    assert found.module is last_layer.feed_forward(model)
    hook = model.model.norm.register_forward_pre_hook(lambda _, given: (given[0] + 1e-6 * given[0].roll(1, 1),))
    assert walks.skippable_part(walk, model, EMPTY) is None
    hook.remove()
    assert walks.skippable_part(walk, model, EMPTY) is not None
    assert walks.skippable_part(Walk.PLAIN, model, EMPTY) is None


@pytest.mark.parametrize("error", [ZeroDivisionError, torch.OutOfMemoryError])
def test_where_the_proof_itself_fails_all_is_computed(model: Any, error: type[Exception]) -> None:
    def refuse(_: Any, given: Any) -> None:
        if given[0].isnan().any():
            raise error

    model.model.norm.register_forward_pre_hook(refuse)
    assert not walks.failure(Walk.PACK, model, EMPTY)
    assert walks.skippable_part(Walk.PACK, model, EMPTY) is None


def test_it_comes_back_whatever_happens(model: Any) -> None:
    part = last_layer.feed_forward(model)
    assert part is not None
    own, x = part.forward, torch.randn(1, 4, model.config.hidden_size)
    before, rows = part(x), torch.tensor([1, 3])

    def fail() -> None:
        with last_layer.computing_only(SkippablePart(part), rows, 4):
            chosen = part(x)
            assert torch.allclose(chosen[:, rows], before[:, rows], atol=FP32_LOGLIKELIHOOD)
            assert not chosen[:, [0, 2]].any()
            raise RuntimeError("memory is full")

    with pytest.raises(RuntimeError, match="full"):
        fail()
    assert part.forward == own
    assert "forward" not in part.__dict__

    hooked = lambda x: 2 * own(x)  # noqa: E731 - as accelerate puts its own there
    part.__dict__["forward"] = hooked
    with last_layer.computing_only(SkippablePart(part), rows, 4):
        assert torch.allclose(part(x)[:, rows], 2 * before[:, rows], atol=FP32_LOGLIKELIHOOD)
    assert part.forward is hooked


def test_what_it_cannot_choose_from_is_computed_whole() -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> Any:
            return x + 1 if residual is None else x + residual

    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return x + 1, x.sum()

    x, rows = torch.randn(1, 4, 3), torch.tensor([2])
    two, pair = Two(), Pair()
    with (
        last_layer.computing_only(SkippablePart(two), rows, 4),
        last_layer.computing_only(SkippablePart(pair), rows, 4),
    ):
        assert torch.equal(two(x, x), 2 * x)
        assert torch.equal(two(x, residual=x), 2 * x)
        assert torch.equal(two(x[0]), x[0] + 1)
        assert torch.equal(two(x[:, :3]), x[:, :3] + 1)
        first, rest = pair(x)
        assert torch.equal(first[:, rows], x[:, rows] + 1)
        assert first[:, [0, 1, 3]].abs().sum() == 0
        assert torch.equal(rest, x[:, rows].sum())
        assert two(x)[:, [0, 1, 3]].abs().sum() == 0
