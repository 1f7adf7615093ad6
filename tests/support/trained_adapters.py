"""Adapters of every method with random weights, and the logits of PEFT's own loader for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import torch
from transformers import AutoModelForCausalLM

from support.tampering import logits

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
TOKENS = 6
LEARNED = {
    "prefix": peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=TOKENS),
    "prefix with projection": peft.PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=TOKENS, prefix_projection=True, encoder_hidden_size=16
    ),
    "P-tuning, MLP": peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=TOKENS, encoder_hidden_size=16),
    "P-tuning, LSTM": peft.PromptEncoderConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=TOKENS,
        encoder_reparameterization_type="LSTM",
        encoder_hidden_size=16,
        encoder_num_layers=1,
    ),
    "prompt": peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=TOKENS),
}


def trained(folder: Path, base: Path, method: Any, *, rows: int | None = None, **saving: Any) -> Path:
    """Save in `folder` an adapter of `method` with random weights on `base`; return `folder`.

    With `rows`, the embeddings of the base are first extended to that many rows.
    """
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_pretrained(base)
        if rows:
            model.resize_token_embeddings(rows, mean_resizing=False)
        adapted = peft.get_peft_model(model, method)
        for weight in adapted.parameters():
            if weight.requires_grad:
                torch.nn.init.normal_(weight, std=0.1)
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.save_pretrained(folder, **saving)
    return folder


def peft_logits(base: Path, adapter: Path, rows: int | None = None) -> torch.Tensor:
    """Return the logits of the model that PEFT's own loader makes of `base` and `adapter`."""
    model = AutoModelForCausalLM.from_pretrained(base)
    if rows:
        model.resize_token_embeddings(rows, mean_resizing=False)
    return logits(peft.PeftModel.from_pretrained(model, str(adapter)).eval())


def lora_method(**changes: Any) -> peft.LoraConfig:
    """Return the configuration of a LoRA on `q_proj`, with `changes`."""
    return peft.LoraConfig(**{"r": 4, "task_type": "CAUSAL_LM", "target_modules": ["q_proj"], **changes})


METHODS = {
    "LoRA": lora_method(),
    "several modules": lora_method(target_modules=["q_proj", "o_proj", "down_proj"]),
    "all linear modules": lora_method(target_modules="all-linear"),
    "embeddings": lora_method(target_modules=["embed_tokens", "q_proj"]),
    "rsLoRA": lora_method(use_rslora=True, lora_alpha=16),
    "DoRA": lora_method(use_dora=True),
    "dropout, which only training uses": lora_method(lora_dropout=0.5),
    "trained biases": lora_method(bias="all"),
    "modules_to_save": lora_method(modules_to_save=["lm_head", "embed_tokens"]),
    "trained tokens too": lora_method(trainable_token_indices=[3, 5]),
    "IA3": peft.IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj"], feedforward_modules=[]),
    "VeRA without its projections": peft.VeraConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj"], save_projection=False
    ),
}
