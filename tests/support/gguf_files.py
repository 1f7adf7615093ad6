"""GGUF files as llama.cpp's converter writes them, of tiny LLaMAs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from support.tampering import logits

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def written(
    file: Path,
    base: Path,
    kind: str = "F32",
    *,
    settings: dict[str, Any] | None = None,
    tensors: dict[str, np.ndarray] | None = None,
    architecture: str = "llama",
) -> Path:
    """Write the LLaMA in folder `base` as GGUF `file`, its matrices in ggml's type `kind`; return the file.

    `settings` and `tensors` are added to it or replace its own; a setting of None is left out.
    """
    config = json.loads((base / "config.json").read_text())
    writer = gguf.GGUFWriter(file, architecture)
    label = {"F32": "ALL_F32"}.get(kind, f"MOSTLY_{kind}")
    content = {
        "general.file_type": int(gguf.LlamaFileType[label]),
        "llama.vocab_size": config["vocab_size"],
        "llama.context_length": config["max_position_embeddings"],
        "llama.embedding_length": config["hidden_size"],
        "llama.block_count": config["num_hidden_layers"],
        "llama.feed_forward_length": config["intermediate_size"],
        "llama.rope.dimension_count": config["head_dim"],
        "llama.rope.freq_base": float(config["rope_parameters"]["rope_theta"]),
        "llama.attention.head_count": config["num_attention_heads"],
        "llama.attention.head_count_kv": config["num_key_value_heads"],
        "llama.attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        **_words(base),
        **(settings or {}),
    }
    for key, value in content.items():
        _set(writer, key, value)
    for name, array in {**_matrices(base, config, kind), **(tensors or {})}.items():
        is_matrix = array.ndim == 2
        stored = gguf.GGMLQuantizationType[kind if is_matrix else "F32"]
        writer.add_tensor(name, gguf.quantize(array, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def written_by_names(file: Path, model: Any, words: Path, settings: dict[str, Any]) -> Path:
    """Write `model`, whose converter only renames weights, as GGUF `file`; return the file.

    `words` is the folder of its tokenizer, and `settings` are those of its architecture. Gemma's converter also adds 1
    to the weights of its norms.
    """
    architecture = model.config.model_type
    writer = gguf.GGUFWriter(file, architecture)
    for key, value in {**{f"{architecture}.{key}": value for key, value in settings.items()}, **_words(words)}.items():
        _set(writer, key, value)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], model.config.num_hidden_layers)
    for key, weight in model.state_dict().items():
        name, _, end = key.rpartition(".")
        if key == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        array = weight.numpy() + (1 if architecture.startswith("gemma") and "norm" in key else 0)
        writer.add_tensor(f"{names.get_name(name)}.{end}", np.ascontiguousarray(array.astype(np.float32)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def rounded_logits(base: Path, kind: str) -> torch.Tensor:
    """Return the logits of the model in `base` with its matrices rounded to ggml's type `kind`, by gguf's own code."""
    stored = gguf.GGMLQuantizationType[kind]
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.copy_(torch.from_numpy(gguf.dequantize(gguf.quantize(weight.numpy(), stored), stored)))
    return logits(model)


def _words(base: Path) -> dict[str, Any]:
    """Return the settings that describe the tokenizer in `base`."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    ids = {index: token for token, index in tokenizer.get_vocab().items()}
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    special = set(tokenizer.all_special_ids)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [ids[index] for index in range(len(ids))],
        "tokenizer.ggml.token_type": [3 if index in special else 1 for index in range(len(ids))],
        "tokenizer.ggml.merges": [merge if isinstance(merge, str) else " ".join(merge) for merge in merges],
        "tokenizer.ggml.bos_token_id": tokenizer.bos_token_id,
        "tokenizer.ggml.eos_token_id": tokenizer.eos_token_id,
        "tokenizer.ggml.padding_token_id": tokenizer.pad_token_id,
        "tokenizer.ggml.add_bos_token": False,
    }


def _set(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _matrices(base: Path, config: dict[str, Any], kind: str) -> dict[str, np.ndarray]:
    """Return the weights in `base` under llama.cpp's names, with queries and keys in its order of rows."""
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    arrays = {}
    for key, weight in load_file(base / "model.safetensors").items():
        array = weight.float().numpy()
        for part, count in heads.items():
            if part in key:  # halves of a head become neighbours: convert_hf_to_gguf.py, LlamaModel.permute
                size = array.shape[0] // count // 2
                array = array.reshape(count, 2, size, -1).swapaxes(1, 2).reshape(array.shape)
        if key not in NAMES:
            _, _, layer, *middle, _ = key.split(".")
            key = f"blk.{layer}.{NAMES['.'.join(middle)]}.weight"
        arrays[NAMES.get(key, key)] = np.ascontiguousarray(array)
    return arrays
