"""Folders in the published layout of ChatGLM2 and ChatGLM3, small and random, and adapters for them.

Nothing here is published: sizes are invented, and the tokenizer is that of the other small models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from support import tiny

LAYERS, HIDDEN, HEADS, GROUPS, SIZE, INNER, VOCABULARY = 3, 64, 4, 2, 16, 96, 384
FUSED_ROWS = (HEADS + 2 * GROUPS) * SIZE
QKV = "self_attention.query_key_value"
WIDTHS = {
    QKV: (FUSED_ROWS, HIDDEN),
    "self_attention.dense": (HIDDEN, HEADS * SIZE),
    "mlp.dense_h_to_4h": (2 * INNER, HIDDEN),
    "mlp.dense_4h_to_h": (HIDDEN, INNER),
}
"""(rows, columns) of each linear layer of a block, by its published name."""
CONFIG = {
    "model_type": "chatglm",
    "num_layers": LAYERS,
    "padded_vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "ffn_hidden_size": INNER,
    "kv_channels": SIZE,
    "num_attention_heads": HEADS,
    "seq_length": 512,
    "layernorm_epsilon": 1e-5,
    "rmsnorm": True,
    "post_layer_norm": True,
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "multi_query_attention": True,
    "multi_query_group_num": GROUPS,
    "original_rope": True,
    "torch_dtype": "float32",
    "eos_token_id": 2,
    "pad_token_id": 0,
}
"""config.json of the folders here."""
Tensors = dict[str, torch.Tensor]


def weights(seed: int = 0) -> Tensors:
    """Return random weights under their published names."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int, around: float = 0.0, width: float = 0.3) -> torch.Tensor:
        return around + width * torch.randn(*shape, generator=generator)

    tensors = {
        "transformer.embedding.word_embeddings.weight": random(VOCABULARY, HIDDEN),
        "transformer.rotary_pos_emb.inv_freq": torch.zeros(SIZE // 4),
        "transformer.encoder.final_layernorm.weight": random(HIDDEN, around=1.0),
        "transformer.output_layer.weight": random(VOCABULARY, HIDDEN),
    }
    for layer in range(LAYERS):
        start = f"transformer.encoder.layers.{layer}."
        for part, shape in WIDTHS.items():
            tensors[f"{start}{part}.weight"] = random(*shape)
        tensors[f"{start}{QKV}.bias"] = random(FUSED_ROWS)
        for part in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{start}{part}.weight"] = random(HIDDEN, around=1.0)
    return tensors


def save(folder: Path, tensors: Tensors | None = None, **settings: Any) -> Path:
    """Write a folder with `tensors` (default: `weights()`) and `CONFIG`, changed by `settings`; None removes a key."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(weights() if tensors is None else tensors, folder / "pytorch_model.bin")
    config = {key: value for key, value in {**CONFIG, **settings}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    tiny.tokenizer().save_pretrained(folder)
    return folder


def save_lora(folder: Path, tensors: Mapping[str, torch.Tensor], **settings: Any) -> Path:
    """Write a LoRA as PEFT does, with `tensors` by their names behind `base_model.model.`."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({f"base_model.model.{name}": tensor for name, tensor in tensors.items()}, folder / "adapter_model.bin")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "target_modules": [], **settings}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
