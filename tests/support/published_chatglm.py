"""The tiny published-layout ChatGLM checkpoints beside the real data, built without the library's own loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from harness.checkpoints.chatglm.model import ChatGLMConfig, ChatGLMForConditionalGeneration
from harness.checkpoints.root_cache import EMPTY, RootCache

PREFIXES = {"base": "", "base_prompt_only": "", "ptuning": "-ptuning", "ptuning-projection": "-ptuning-projection"}
"""Kind of a golden row → what the name of its adapter's folder adds to the name of the base."""


def golden(data: Path, name: str) -> dict[str, Any]:
    """Return the published code's answers in `name`, such as `chatglm-tiny.golden` or `dtypes/chatglm.float16`."""
    content: dict[str, Any] = json.loads((data / "chatglm-golden" / f"{name}.json").read_text(encoding="utf-8"))
    return content


def settings(data: Path, name: str) -> dict[str, Any]:
    """Return the published settings of the checkpoint `name`."""
    folder = data / "chatglm-golden" / name
    content: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return content


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return all tensors in `folder` under their published names."""
    return {
        name: tensor
        for file in sorted(folder.glob("pytorch_model*.bin"))
        for name, tensor in torch.load(file, weights_only=True).items()
    }


def first_generation(data: Path, attention: str = "sdpa") -> ChatGLMForConditionalGeneration:
    """Return `chatglm-tiny` in float32."""
    published = settings(data, "chatglm-tiny")
    del published["auto_map"]
    model = ChatGLMForConditionalGeneration(ChatGLMConfig(**published, attn_implementation=attention))
    tensors = weights(data / "chatglm-golden" / "chatglm-tiny")
    model.load_state_dict({name: tensor for name, tensor in tensors.items() if "inv_freq" not in name})
    return model.eval()


def second_generation(data: Path, **rope: Any) -> Any:
    """Return `chatglm2-tiny` in float32 as transformers' GLM, with changed `rope` parameters."""
    from transformers import GlmConfig, GlmForCausalLM

    published = settings(data, "chatglm2-tiny")
    size = published["kv_channels"]
    config = GlmConfig(
        vocab_size=published["padded_vocab_size"],
        hidden_size=published["hidden_size"],
        intermediate_size=published["ffn_hidden_size"],
        num_hidden_layers=published["num_layers"],
        num_attention_heads=published["num_attention_heads"],
        num_key_value_heads=published["multi_query_group_num"],
        head_dim=size,
        rms_norm_eps=published["layernorm_epsilon"],
        attention_bias=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5, **rope},
        eos_token_id=2,
        pad_token_id=0,
    )
    model = GlmForCausalLM(config)
    rows = [count * size for count in (config.num_attention_heads, *[config.num_key_value_heads] * 2)]
    model.load_state_dict(_renamed(weights(data / "chatglm-golden" / "chatglm2-tiny"), rows))
    return model.eval()


def prefix(data: Path, name: str, kind: str, dtype: torch.dtype = torch.float32) -> RootCache:
    """Return the learned prefix of a golden `kind` of the checkpoint `name`, as P-tuning's code reads it."""
    if not PREFIXES[kind]:
        return EMPTY
    folder = data / "chatglm-golden" / f"{name}{PREFIXES[kind]}" / "checkpoint-3000"
    tensors = {key.removeprefix("transformer.prefix_encoder."): tensor for key, tensor in weights(folder).items()}
    values = tensors["embedding.weight"]
    if "trans.0.weight" in tensors:
        inner = functional.linear(values, tensors["trans.0.weight"], tensors["trans.0.bias"]).tanh()
        values = functional.linear(inner, tensors["trans.2.weight"], tensors["trans.2.bias"])
    published = settings(data, name)
    heads = published.get("multi_query_group_num", published["num_attention_heads"])
    states = values.view(len(values), 2 * published["num_layers"], heads, -1).permute(1, 2, 0, 3)[:, None].to(dtype)
    return RootCache(tuple((states[i], states[i + 1]) for i in range(0, len(states), 2)), 0)


def _renamed(tensors: dict[str, torch.Tensor], rows: list[int]) -> dict[str, torch.Tensor]:
    """Return ChatGLM2's tensors under GLM's names; `rows` are those of queries, keys and values."""
    names = {
        "transformer.embedding.word_embeddings.": "model.embed_tokens.",
        "transformer.output_layer.": "lm_head.",
        "transformer.encoder.final_layernorm.": "model.norm.",
        "transformer.encoder.layers.": "model.layers.",
        "self_attention.dense.": "self_attn.o_proj.",
        "mlp.dense_h_to_4h.": "mlp.gate_up_proj.",
        "mlp.dense_4h_to_h.": "mlp.down_proj.",
    }
    renamed = {}
    for published, tensor in tensors.items():
        name = published
        for old, new in names.items():
            name = name.replace(old, new)
        if "query_key_value" in name:
            for letter, part in zip("qkv", tensor.split(rows), strict=True):
                renamed[name.replace("self_attention.query_key_value", f"self_attn.{letter}_proj")] = part
        elif "inv_freq" not in name:
            renamed[name] = tensor
    return renamed
