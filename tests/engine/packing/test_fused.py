"""Fused layers against transformers' own, and which layers are fused at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from torch import nn

from harness.checkpoints import loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import parse
from harness.engine import walks
from harness.engine.engine import Engine
from harness.engine.packing import fused, last_layer, packs, prepacked, tree
from harness.engine.walks import Walk
from support import architectures
from tolerances import BF16_LOGLIKELIHOOD

needs_support = pytest.mark.skipif(not prepacked._is_supported(), reason="this CPU does not multiply bfloat16")
FUSED = ["llama", "qwen2", "qwen3", "mistral"]
OTHERS = ["gemma3", "gpt2", "gpt_neox", "glm", "gemma2", "qwen3_moe", "deepseek_v3", "qwen3_next"]
SIZES = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
ALIKE = {  # built like LLaMA, with a rule of their own: clipping, a factor, scales for long texts, partial rotation
    "OlmoConfig": {"clip_qkv": 8.0},
    "GraniteConfig": {"residual_multiplier": 1.01},
    "Ministral3Config": {},
    "Glm4MoeConfig": {"first_k_dense_replace": 2, "n_routed_experts": 4},
    "SmolLM3Config": {},
}


def load(folder: Path, name: str) -> Checkpoint:
    return loading.load(loading.locate(parse(f"{architectures.base(folder / name, name)},dtype=bfloat16")))


def decoder_layers(model: Any) -> list[nn.Module]:
    return list(model.get_decoder().layers)


def replaced(model: Any) -> list[nn.Module]:
    """Return the layers of `model` that are fused."""
    prepacked.prepare(model)
    with prepacked.used(model):
        return [module for module in model.modules() if isinstance(module.__dict__.get("forward"), fused.FusedLayer)]


@needs_support
@pytest.mark.parametrize("name", FUSED)
def test_layers_of_the_usual_shape_are_fused(name: str, tmp_path: Path) -> None:
    model = load(tmp_path, name).model
    assert replaced(model) == decoder_layers(model)
    assert not any("forward" in module.__dict__ for module in model.modules())


@needs_support
@pytest.mark.parametrize("name", OTHERS)
def test_other_layers_stay_as_they_are(name: str, tmp_path: Path) -> None:
    assert replaced(load(tmp_path, name).model) == []


@needs_support
@pytest.mark.parametrize("name", ALIKE)
def test_layers_built_alike_with_a_rule_of_their_own_stay_as_they_are(name: str) -> None:
    config = getattr(transformers, name)(**SIZES, pad_token_id=0, **ALIKE[name])
    model = transformers.AutoModelForCausalLM.from_config(config).bfloat16().requires_grad_(requires_grad=False)
    assert replaced(model) == []


@needs_support
@pytest.mark.parametrize(
    "config",
    [
        peft.LoraConfig(target_modules=["q_proj", "down_proj"]),
        peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
        peft.LoHaConfig(target_modules=["q_proj"]),
        peft.VeraConfig(target_modules=["o_proj"]),
        peft.LNTuningConfig(target_modules=["input_layernorm"]),
    ],
    ids=lambda config: type(config).__name__,
)
@pytest.mark.parametrize("casts", [False, True])
def test_layers_with_an_adapter_stay_as_they_are(config: Any, casts: bool, tmp_path: Path) -> None:
    model = peft.get_peft_model(load(tmp_path, "llama").model, config, autocast_adapter_dtype=casts)
    assert replaced(model) == []


@pytest.mark.sampled(3)
@needs_support
@pytest.mark.parametrize("method", architectures.ADAPTERS)
def test_walks_of_adapters_are_right_in_bfloat16(method: str, tmp_path: Path) -> None:
    folder = architectures.adapter(tmp_path / method, architectures.base(tmp_path / "base", "llama"), "llama", method)
    checkpoint = loading.load(loading.locate(parse(f"{folder},dtype=bfloat16")))
    assert Engine(checkpoint).walk_choice == (Walk.PACK, "")


@needs_support
def test_an_exception_leaves_nothing_replaced(tmp_path: Path) -> None:
    model = load(tmp_path, "llama").model
    prepacked.prepare(model)
    with pytest.raises(KeyError), prepacked.used(model):
        raise KeyError
    assert not any("forward" in module.__dict__ for module in model.modules())


@needs_support
@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("skips", [False, True])
def test_walks_answer_with_fused_layers_as_with_the_models_own(name: str, skips: bool, tmp_path: Path) -> None:
    """Packs of a tree with siblings, whose tokens see different parts of the pack."""
    checkpoint = load(tmp_path, name)
    model = checkpoint.model
    trunk = [7 + 11 * k % 300 for k in range(40)]
    sequences = [[*trunk, *range(20 + i, 29 + 2 * i)] for i in range(5)]
    planned = tree.plan(tree.grow(sequences, [3] * 5), tree.Limits(32, 100))
    skippable = last_layer.SkippablePart(model.model.layers[-1].mlp) if skips else None
    logits: list[torch.Tensor] = []
    for is_prepared in (False, True):
        prepacked._FORWARDS.pop(model, None)
        if is_prepared:
            assert len(replaced(model)) == 3
        context = walks.context(model, checkpoint.root, planned, skippable)
        logits.append(torch.cat([context.run(pack, packs.distinct_reads(pack)[0]) for pack in planned]))
    own, ours = (values.log_softmax(-1) for values in logits)
    assert np.abs((own - ours).numpy()).max() <= BF16_LOGLIKELIHOOD * float(own.abs().max())


@needs_support
@pytest.mark.parametrize("change", ["residual", "rotation", "activation", "scaling", "replaced", "hook"])
def test_a_layer_that_computes_something_else_is_not_fused(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(tmp_path, "llama").model
    layer: Any = decoder_layers(model)[1]
    if change == "residual":
        forward = type(layer).forward
        monkeypatch.setattr(type(layer), "forward", lambda self, states, **rest: 0.5 * forward(self, states, **rest))
        expected = []
    else:
        expected = [other for other in decoder_layers(model) if other is not layer]
    if change == "rotation":
        from transformers.models.llama import modeling_llama

        monkeypatch.setattr(modeling_llama, "rotate_half", lambda states: states.flip(-1))
        expected = []
    if change == "activation":
        layer.mlp.act_fn = nn.GELU()
    if change == "scaling":
        attention = type(layer.self_attn).forward

        def scaled(self: Any, *args: Any, **kwargs: Any) -> Any:
            output, weights = attention(self, *args, **kwargs)
            return output * (0.8 if self is layer.self_attn else 1), weights

        monkeypatch.setattr(type(layer.self_attn), "forward", scaled)
    if change == "hook":
        layer.self_attn.register_forward_hook(lambda *_: None)
    if change == "replaced":
        layer.mlp.up_proj.__dict__["forward"] = lambda states: states
    assert replaced(model) == expected
