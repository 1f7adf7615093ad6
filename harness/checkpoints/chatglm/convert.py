"""ChatGLM2 and ChatGLM3 as transformers' GLM, which computes exactly the same: configuration and names of weights.

The published `query_key_value` is all queries, then the keys, then the values of every group; its rows become three
layers. Everything else only gets another name. The mapping is that of transformers' convert_glm_weights_to_hf.py.

ChatGLM2-32k's division of positions by `rope_ratio` is transformers' linear scaling. ChatGLM3-32k's multiplication of
the base is a larger base.

Not here: ChatGLM-6B, which keeps its names and settings (`harness.checkpoints.chatglm.model`), and reading files
(`harness.checkpoints.chatglm.weights`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from harness.checkpoints.chatglm.layout import MODEL_TYPE, Layout
from harness.checkpoints.types import ModelConfig

THETA = 10000.0
"""Base of the rotary angles before `rope_ratio`."""
_END_OF_TEXT, _PADDING = 2, 0
_LAYER = re.compile(r"transformer\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias|weight_scale)")
_PARTS = {
    "input_layernorm": "input_layernorm",
    "post_attention_layernorm": "post_attention_layernorm",
    "self_attention.dense": "self_attn.o_proj",
    "mlp.dense_h_to_4h": "mlp.gate_up_proj",
    "mlp.dense_4h_to_h": "mlp.down_proj",
}
"""Published name of a layer's part → GLM's."""
FUSED = "self_attention.query_key_value"
SPLIT = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_ENDS = {
    "transformer.embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "transformer.encoder.final_layernorm.weight": "model.norm.weight",
    "transformer.output_layer.weight": "lm_head.weight",
}


class Rows(NamedTuple):
    """Rows of a published tensor that are a tensor of GLM."""

    name: str
    """Name of the tensor in GLM."""
    start: int = 0
    """The first of the rows."""
    stop: int | None = None
    """The row behind the last; None for all."""


def config(layout: Layout) -> ModelConfig:
    """Return the configuration of a published folder: ours for ChatGLM-6B, a GlmConfig for ChatGLM2 and 3."""
    dtype = layout.settings.get("dtype") or layout.settings.get("torch_dtype")
    if layout.generation == 1:
        from harness.checkpoints.chatglm.model import ChatGLMConfig

        names = {field.name for field in dataclasses.fields(ChatGLMConfig)}
        settings = {key: value for key, value in layout.settings.items() if key in names} | {"dtype": dtype}
        return ChatGLMConfig(**settings, chatglm_generation=1)
    from transformers import GlmConfig

    settings, ratio = layout.settings, layout.rope_ratio
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": THETA, "partial_rotary_factor": 0.5}
    if layout.generation == 2 and ratio != 1:
        rope |= {"rope_type": "linear", "factor": ratio}
    elif ratio != 1:
        rope["rope_theta"] = THETA * ratio
    return GlmConfig(
        vocab_size=settings["padded_vocab_size"],
        hidden_size=settings["hidden_size"],
        intermediate_size=settings["ffn_hidden_size"],
        num_hidden_layers=settings["num_layers"],
        num_attention_heads=settings["num_attention_heads"],
        num_key_value_heads=settings["multi_query_group_num"],
        head_dim=settings["kv_channels"],
        max_position_embeddings=settings["seq_length"],
        rms_norm_eps=settings["layernorm_epsilon"],
        attention_bias=bool(settings["add_qkv_bias"]),
        attention_dropout=0.0,
        rope_parameters=rope,
        tie_word_embeddings=False,
        # GlmConfig's own defaults are those of GLM-4.
        eos_token_id=_END_OF_TEXT if settings.get("eos_token_id") is None else settings["eos_token_id"],
        pad_token_id=_PADDING if settings.get("pad_token_id") is None else settings["pad_token_id"],
        dtype=dtype,
        chatglm_generation=layout.generation,
    )


def published_settings(config: ModelConfig) -> dict[str, Any]:
    """Return the sizes of a converted ChatGLM2 or 3 under the names that its published config.json has."""
    return {
        "model_type": MODEL_TYPE,
        "num_layers": config.num_hidden_layers,
        "padded_vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "ffn_hidden_size": config.intermediate_size,
        "kv_channels": config.head_dim,
        "num_attention_heads": config.num_attention_heads,
        "multi_query_attention": True,
        "multi_query_group_num": config.num_key_value_heads,
        "seq_length": config.max_position_embeddings,
        "layernorm_epsilon": config.rms_norm_eps,
        "add_qkv_bias": config.attention_bias,
    }


def tensors(name: str, layout: Layout) -> Iterator[Rows]:
    """Yield the tensors of GLM that the published tensor `name` of ChatGLM2 or 3 holds; none if it has no place."""
    if name in _ENDS:
        yield Rows(_ENDS[name])
        return
    match = _LAYER.fullmatch(name)
    if match is None:
        return
    prefix, part, kind = f"model.layers.{match[1]}.", match[2], match[3]
    if part == FUSED:
        sizes = ("num_attention_heads", "multi_query_group_num", "kv_channels")
        rows = fused_rows(*(int(layout.settings[size]) for size in sizes))
        for target, (start, stop) in zip(SPLIT, rows, strict=True):
            yield Rows(f"{prefix}{target}.{kind}", start, stop)
    elif part in _PARTS:
        yield Rows(f"{prefix}{_PARTS[part]}.{kind}")


def fused_rows(heads: int, groups: int, size: int) -> list[tuple[int, int]]:
    """Return the first row, and the row behind the last, of queries, keys and values in `query_key_value`.

    There are `heads` heads of queries, `groups` of keys and values, and each has `size` rows.
    """
    queries, keys = heads * size, groups * size
    return [(0, queries), (queries, queries + keys), (queries + keys, queries + 2 * keys)]


def module(name: str) -> tuple[str, ...]:
    """Return GLM's names of the published module `name`: three for `query_key_value`, none if it has no place."""
    if name + ".weight" in _ENDS:
        return (_ENDS[name + ".weight"].removesuffix(".weight"),)
    match = _LAYER.fullmatch(name + ".weight")
    if match is None:
        return ()
    parts = SPLIT if match[2] == FUSED else (_PARTS[match[2]],) if match[2] in _PARTS else ()
    return tuple(f"model.layers.{match[1]}.{part}" for part in parts)
