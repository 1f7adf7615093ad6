"""Build the root cache (keys and values before every prompt) of a prompt-learning adapter from its weights.

Prefix tuning (Li & Liang 2021; P-tuning v2, Liu et al. 2022) learned keys and values for every layer. P-tuning v1
(Liu et al. 2021) and prompt tuning (Lester et al. 2021) learned embeddings, which one forward pass turns into keys and
values.

Not here: the cache itself (`harness.checkpoints.root_cache`), and adapters that change weights
(`harness.checkpoints.adapters.attach`).
"""

from __future__ import annotations

from pathlib import Path

import torch

from harness.checkpoints import configs
from harness.checkpoints.adapters.config import AdapterConfig
from harness.checkpoints.root_cache import Layers, RootCache
from harness.checkpoints.types import Model, ModelConfig
from harness.errors import HarnessError

KEY = "prompt_embeddings"
"""Name under which PEFT saves what it learned."""


def check_fit(adapter: AdapterConfig, weights: dict[str, torch.Tensor], config: ModelConfig) -> None:
    """Raise HarnessError unless `weights` hold virtual tokens of the size that the base's `config` requires."""
    mismatch = f"adapter {adapter.folder} does not fit this base"
    surplus = sorted(set(weights) - {KEY})
    if KEY not in weights or surplus:
        fault = f"has keys without a place ({', '.join(surplus[:2])})" if surplus else f"lacks the key {KEY}"
        raise HarnessError(f"{mismatch}: it {fault}; fetch or save the adapter again")
    text = configs.text_config(config)
    if layers := configs.other_layers(config):
        raise HarnessError(
            f"{adapter.folder}: prompt learning on a {text.model_type}, with layers of the kind {', '.join(layers)}, "
            "is not supported; try a LoRA"
        )
    if adapter.is_for_encoder_decoder:
        raise HarnessError(f"{mismatch}: it is for an encoder with a decoder; name the base it was trained on")
    shape = tuple(weights[KEY].shape)
    if adapter.is_prefix:
        expected = _prefix_shape(adapter, text, shape, mismatch)
    else:
        expected = (adapter.virtual_tokens, int(text.hidden_size))
    if shape != expected:
        fault = f"its virtual tokens are {_product(shape)} numbers, not {_product(expected)}"
        raise HarnessError(f"{mismatch}: {fault}; name the base it was trained on")


def _prefix_shape(adapter: AdapterConfig, text: ModelConfig, shape: tuple[int, ...], mismatch: str) -> tuple[int, int]:
    """Return the shape that a prefix must have on a base with the text configuration `text`.

    Raises HarnessError if the base has no keys and values that a prefix of this `shape` could precede.
    """
    if not hasattr(text, "num_attention_heads"):
        raise HarnessError(
            f"{adapter.folder} is a prefix of keys and values, but {text.model_type} models have no key-value cache"
        )
    heads, size = _heads(text)
    expected = (adapter.virtual_tokens, 2 * int(text.num_hidden_layers) * heads * size)
    if adapter.num_attention_heads not in (None, heads) and shape == expected:
        raise HarnessError(
            f"{mismatch}: its prefix has {adapter.num_attention_heads} heads, not {heads}; name the base it was "
            "trained on"
        )
    _require_equal_layers(adapter.folder, text)
    return expected


def root_cache(adapter: AdapterConfig, weights: dict[str, torch.Tensor], model: Model, dtype: torch.dtype) -> RootCache:
    """Return the root cache that the adapter's `weights` give the base `model`, computed in `dtype`.

    As in PEFT, the position of the next token is the number of virtual tokens; after a ChatGLM prefix it is 0.
    `check_fit` must have passed.
    Raises HarnessError if the model keeps no plain key/value cache.
    """
    learned = weights[KEY].to(model.device, dtype)
    if adapter.is_prefix:
        # PEFT's layout: one row per token, and in each row (layer and key or value, heads, size of a head).
        heads, size = _heads(configs.text_config(model.config))
        split = learned.view(len(learned), -1, heads, size).permute(1, 2, 0, 3)[:, None]
        layers = tuple((split[i].contiguous(), split[i + 1].contiguous()) for i in range(0, len(split), 2))
    else:
        layers = _embedded(model, learned)
    return RootCache(layers, 0 if adapter.is_chatglm else len(learned))


def _embedded(model: Model, embeddings: torch.Tensor) -> Layers:
    """Return the keys and values of every layer after a forward pass of `embeddings` (tokens, hidden size)."""
    from transformers import DynamicCache

    with torch.inference_mode():
        cache = model(inputs_embeds=embeddings[None], past_key_values=DynamicCache(), use_cache=True).past_key_values
    layers = tuple((layer.keys, layer.values) for layer in getattr(cache, "layers", ()) if hasattr(layer, "keys"))
    if not layers or any(not isinstance(k, torch.Tensor) or k.shape[2] != len(embeddings) for k, _ in layers):
        raise HarnessError(
            f"a {model.config.model_type} keeps no plain key/value cache, so prompt learning on it is not supported; "
            "try a LoRA"
        )
    return layers


def _heads(config: ModelConfig) -> tuple[int, int]:
    """Return the number of key/value heads of a layer and the size of one head."""
    heads = int(config.num_attention_heads)
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return int(getattr(config, "num_key_value_heads", None) or heads), int(size)


def _require_equal_layers(folder: Path, config: ModelConfig) -> None:
    """Raise HarnessError for models whose layers differ in their keys and values, such as Gemma 4 and DeepSeek-V3."""
    per_layer = getattr(config, "per_layer_config", None)
    layers = [config] if per_layer is None else [per_layer[i] for i in range(config.num_hidden_layers)]
    is_mixed = len({_heads(layer) for layer in layers}) > 1
    if is_mixed or getattr(config, "kv_lora_rank", None) or getattr(config, "num_kv_shared_layers", None):
        raise HarnessError(
            f"{folder}: a prefix on a {config.model_type}, whose layers differ in their keys and values, is not "
            "supported"
        )


def _product(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{n:,}" for n in shape) or "1"
