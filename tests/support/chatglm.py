"""Folders in the published layout of ChatGLM2 and ChatGLM3, small and random, and adapters for them.

Nothing here is published: sizes are invented, and the tokenizer is trained on a few sentences.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from support import chatglm_tokenizers

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

    def random(*shape: int, around: float = 0.0, width: float = 0.15) -> torch.Tensor:
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
    return chatglm_tokenizers.folder(folder, 2)


def save_lora(folder: Path, tensors: Mapping[str, torch.Tensor], **settings: Any) -> Path:
    """Write a LoRA as PEFT does, with `tensors` by their names behind `base_model.model.`."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({f"base_model.model.{name}": tensor for name, tensor in tensors.items()}, folder / "adapter_model.bin")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "target_modules": [], **settings}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def save_6b(folder: Path, *, seed: int = 0, **settings: Any) -> Path:
    """Write a folder in ChatGLM-6B's layout, with random weights and a tokenizer; `settings` change its config.json."""
    tokenizer = chatglm_tokenizers.load(chatglm_tokenizers.folder(folder, 1))
    marks = ("[MASK]", "[gMASK]", "<sop>", "<eop>")
    mask, gmask, sop, eop = (tokenizer.convert_tokens_to_ids(token) for token in marks)
    rows = (len(tokenizer) + 63) // 64 * 64
    config = {
        "model_type": "chatglm",
        "vocab_size": rows,
        "hidden_size": HIDDEN,
        "num_layers": LAYERS,
        "num_attention_heads": HEADS,
        "inner_hidden_size": 2 * HIDDEN,
        "max_sequence_length": 512,
        "position_encoding_2d": True,
        "layernorm_epsilon": 1e-5,
        "mask_token_id": mask,
        "gmask_token_id": gmask,
        "bos_token_id": sop,
        "eos_token_id": eop,
        "pad_token_id": 3,
        "torch_dtype": "float32",
    }
    generator = torch.Generator().manual_seed(seed)
    shapes = {"transformer.word_embeddings.weight": (rows, HIDDEN), "lm_head.weight": (rows, HIDDEN)}
    ones = ["transformer.final_layernorm"]
    for layer in (f"transformer.layers.{i}" for i in range(LAYERS)):
        linears = {
            "attention.query_key_value": (3 * HIDDEN, HIDDEN),
            "attention.dense": (HIDDEN, HIDDEN),
            "mlp.dense_h_to_4h": (2 * HIDDEN, HIDDEN),
            "mlp.dense_4h_to_h": (HIDDEN, 2 * HIDDEN),
        }
        for part, shape in linears.items():
            shapes |= {f"{layer}.{part}.weight": shape, f"{layer}.{part}.bias": shape[:1]}
        ones += [f"{layer}.input_layernorm", f"{layer}.post_attention_layernorm"]
    tensors = {name: 0.2 * torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
    for name in ones:
        tensors |= {f"{name}.weight": torch.ones(HIDDEN), f"{name}.bias": torch.zeros(HIDDEN)}
    torch.save(tensors, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps({**config, **settings}))
    return folder
