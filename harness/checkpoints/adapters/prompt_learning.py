"""Prompt learning → root cache: what a P-tuned checkpoint starts every prompt with.

Prefix tuning (Li & Liang 2021; P-tuning v2, Liu et al. 2022) learned keys and values for every layer, P-tuning v1
(Liu et al. 2021) and prompt tuning (Lester et al. 2021) learned embeddings, which one forward pass turns into keys and
values. Either way the engine starts from a cache and a position, and never learns which kind it serves; virtual tokens
that stand in a cache cannot end up on the wrong side of padding, as they do in PEFT's own batched generation.

Not here: adapters that change weights (`harness.checkpoints.adapters.attach`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from harness.checkpoints import configs, files
from harness.checkpoints.root_cache import Layers, RootCache
from harness.errors import HarnessError

METHODS = ("PREFIX_TUNING", "P_TUNING", "PROMPT_TUNING")
UNSUPPORTED = ("MULTITASK_PROMPT_TUNING", "CPT", "CARTRIDGE")
_KEY = "prompt_embeddings"


def virtual_tokens(folder: Path) -> int:
    """Return how many tokens of the context the adapter in `folder` takes; 0 if it is no prompt learning.

    Raises HarnessError where a prompt-learning adapter does not say.
    """
    config = files.read_json(folder / files.ADAPTER_CONFIG)
    if config.get("peft_type") not in METHODS:
        return 0
    tokens = config.get("num_virtual_tokens")
    if not isinstance(tokens, int) or tokens < 1:
        where = folder / files.ADAPTER_CONFIG
        raise HarnessError(f"{where} gives num_virtual_tokens as {tokens}: fetch or save the adapter again")
    return tokens


def check_fit(folder: Path, weights: dict[str, torch.Tensor], config: Any) -> None:
    """Raise HarnessError unless the adapter's `weights` are virtual tokens of the size that the base's `config` has."""
    wrong_base = f"adapter {folder} does not fit this base"
    surplus = sorted(set(weights) - {_KEY})
    if _KEY not in weights or surplus:
        what = f"has keys without a place ({', '.join(surplus[:2])})" if surplus else f"lacks the key {_KEY}"
        raise HarnessError(f"{wrong_base}: it {what}; fetch or save the adapter again")
    stated = files.read_json(folder / files.ADAPTER_CONFIG)
    text = configs.text_config(config)
    if others := configs.other_layers(config):
        kinds = ", ".join(others)
        raise HarnessError(
            f"{folder}: prompt learning on a {text.model_type}, with layers of the kind {kinds}, is not supported; try "
            "a LoRA"
        )
    tokens, found = virtual_tokens(folder), tuple(weights[_KEY].shape)
    if stated.get("num_transformer_submodules") not in (None, 1):
        raise HarnessError(f"{wrong_base}: it is for an encoder with a decoder; name the base it was trained on")
    if stated["peft_type"] != "PREFIX_TUNING":
        expected = (tokens, int(text.hidden_size))
    else:
        if not hasattr(text, "num_attention_heads"):
            raise HarnessError(
                f"{folder} is a prefix of keys and values, and a {text.model_type} has none to put before"
            )
        heads, size = _heads(text)
        expected = (tokens, 2 * int(text.num_hidden_layers) * heads * size)
        if (said := stated.get("num_attention_heads")) not in (None, heads) and found == expected:
            raise HarnessError(
                f"{wrong_base}: its prefix has {said} heads, not {heads}; name the base it was trained on"
            )
        _require_equal_layers(folder, text)
    if found != expected:
        what = f"its virtual tokens are {_shape(found)} numbers, not {_shape(expected)}"
        raise HarnessError(f"{wrong_base}: {what}; name the base it was trained on")


def root_cache(folder: Path, weights: dict[str, torch.Tensor], model: Any, dtype: torch.dtype) -> RootCache:
    """Return the root cache that the adapter's `weights` make of the base `model`, computing in `dtype`.

    The next token's position is the number of virtual tokens, as in PEFT. `check_fit` must have passed.
    """
    learned = weights[_KEY].to(model.device, dtype)
    if files.read_json(folder / files.ADAPTER_CONFIG)["peft_type"] == "PREFIX_TUNING":
        # PEFT's layout: (tokens, layer and key or value, heads, size of a head), in one row a token.
        heads, size = _heads(configs.text_config(model.config))
        split = learned.view(len(learned), -1, heads, size).permute(1, 2, 0, 3)[:, None]
        layers = tuple((split[i].contiguous(), split[i + 1].contiguous()) for i in range(0, len(split), 2))
    else:
        layers = _embedded(model, learned)
    return RootCache(layers, len(learned))


def _embedded(model: Any, embeddings: torch.Tensor) -> Layers:
    """Return the keys and values of every layer after `embeddings` (tokens, hidden size)."""
    from transformers import DynamicCache

    with torch.inference_mode():
        cache = model(inputs_embeds=embeddings[None], past_key_values=DynamicCache(), use_cache=True).past_key_values
    layers = tuple((layer.keys, layer.values) for layer in getattr(cache, "layers", ()) if hasattr(layer, "keys"))
    if not layers or any(not isinstance(k, torch.Tensor) or k.shape[2] != len(embeddings) for k, _ in layers):
        kind = model.config.model_type
        raise HarnessError(
            f"a {kind} keeps no plain key/value cache, so prompt learning on it is not supported; try a LoRA"
        )
    return layers


def _heads(config: Any) -> tuple[int, int]:
    """Return the number of key/value heads and the size of one, of a layer like all others."""
    heads = int(config.num_attention_heads)
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return int(getattr(config, "num_key_value_heads", None) or heads), int(size)


def _require_equal_layers(folder: Path, config: Any) -> None:
    """Raise HarnessError for models whose layers differ in their keys and values, such as Gemma 4 and DeepSeek-V3."""
    layers = getattr(config, "per_layer_config", None)
    each = [config] if layers is None else [layers[i] for i in range(config.num_hidden_layers)]
    differ = len({_heads(one) for one in each}) > 1
    if differ or getattr(config, "kv_lora_rank", None) or getattr(config, "num_kv_shared_layers", None):
        kind = f"a {config.model_type}, whose layers differ in their keys and values"
        raise HarnessError(f"{folder}: a prefix on {kind}, is not supported")


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{n:,}" for n in shape) or "1"
