"""Tiny models of many architectures, adapters of every method on them, and the answers of the libraries themselves.

The oracle is one full forward pass for each prompt, without padding, cache or batch; PEFT's if there is an adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from support import tiny

WINDOW = 16
"""Tokens of sliding windows; fewer than most prompts of the tests have."""
VIRTUAL = 5
"""Virtual tokens of prompt-learning adapters."""
WIDE = 40
"""Tokens of a window that is longer than the walks' probe and shorter than some prompts."""
_SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 2}
_MIXED = ["sliding_attention", "full_attention", "sliding_attention"]
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _GROUPED),
    "qwen2": ("Qwen2Config", _GROUPED),
    "qwen3": ("Qwen3Config", {**_GROUPED, "head_dim": 32}),
    "mistral": ("MistralConfig", {**_GROUPED, "sliding_window": WINDOW}),
    "gemma3": ("Gemma3TextConfig", {**_GROUPED, "head_dim": 32, "sliding_window": WINDOW, "layer_types": _MIXED}),
    "gpt2": ("GPT2Config", {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 256, "initializer_range": 0.2}),
    "gpt_neox": ("GPTNeoXConfig", _SIZES),
    "glm": ("GlmConfig", {**_GROUPED, "head_dim": 16}),
}
_EXPERTS = {**_GROUPED, "head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_RECURRENT = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "num_hidden_layers": 4,
    "initializer_range": 0.06,  # larger values make states so large that float32 itself is wrong by 1e-4
}
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma2": ("Gemma2Config", {**_GROUPED, "head_dim": 16, "sliding_window": WINDOW}),
    "cohere2": ("Cohere2Config", {**_GROUPED, "sliding_window": WINDOW}),
    "gpt_oss": (
        "GptOssConfig",
        {**_GROUPED, "head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": WINDOW},
    ),
    "qwen3_moe": ("Qwen3MoeConfig", _EXPERTS),
    "deepseek_v3": (
        "DeepseekV3Config",
        {
            **_SIZES,
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "moe_intermediate_size": 32,
            "first_k_dense_replace": 1,
            "kv_lora_rank": 16,
            "q_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 16,
            "v_head_dim": 16,
        },
    ),
    "qwen3_next": ("Qwen3NextConfig", {**_EXPERTS, **_RECURRENT, "shared_expert_intermediate_size": 32}),
    "qwen3_5": ("Qwen3_5TextConfig", {**_GROUPED, "head_dim": 16, **_RECURRENT}),
    "bloom": ("BloomConfig", {"hidden_size": 64, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}),
    "gpt_neo": (
        "GPTNeoConfig",
        {
            "hidden_size": 64,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": WIDE,
            "max_position_embeddings": 128,
            "initializer_range": 0.2,
        },
    ),
    "mamba": ("MambaConfig", {"hidden_size": 64, "num_hidden_layers": 2, "initializer_range": 0.2}),
}
"""More architectures: other masks, experts, latent attention, recurrent layers, positions by distance."""
SELECTING: dict[str, tuple[str, dict[str, Any]]] = {"doge": ("DogeConfig", {**_GROUPED, "keep_window_size": WIDE})}
"""Architectures that are not causal for texts longer than what their layers select."""
_LINEAR = {
    "gpt2": ["c_attn", "c_fc"],
    "gpt_neox": ["query_key_value", "dense_h_to_4h"],
    "bloom": ["query_key_value", "dense_h_to_4h"],
    "deepseek_v3": ["q_b_proj", "o_proj"],
    "gpt_neo": ["q_proj", "c_fc"],
    "mamba": ["in_proj"],
}
_OUTPUT_LAYERS = {"gpt2": "lm_head", "gpt_neox": "embed_out"}
QUANTIZED = {
    "int8": BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0),
    "int4": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32),
    "fp4": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="fp4", bnb_4bit_compute_dtype=torch.float32),
}
ADAPTERS = ("lora", "rslora", "dora", "modules_to_save", "prefix", "projected", "ptuning", "lstm", "prompt")


def base(folder: Path, name: str) -> Path:
    """Save a model of the architecture `name` and its tokenizer in `folder`; return the folder."""
    kind, sizes = {**ARCHITECTURES, **OTHERS, **SELECTING}[name]
    words = tiny.tokenizer()
    ends = {key: getattr(words, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = getattr(transformers, kind)(vocab_size=len(words) + 16, **ends, **sizes)
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def adapter(folder: Path, on: Path, name: str, method: str) -> Path:
    """Save an adapter of `method`, as if trained, on base `on` of architecture `name`; return the folder."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(on), _method(name, method))
        for key, weight in model.named_parameters():
            if weight.requires_grad:
                with torch.no_grad():
                    scale = 1 + 0.1 * torch.randn_like(weight) if "magnitude" in key else None
                    weight.copy_(weight * scale if scale is not None else weight + 0.1 * torch.randn_like(weight))
    model.peft_config["default"].base_model_name_or_path = str(on)
    model.save_pretrained(folder)
    return folder


def _method(name: str, method: str) -> Any:
    modules = _LINEAR.get(name, ["q_proj", "v_proj", "down_proj"])
    lora = {"r": 4, "lora_alpha": 8, "target_modules": modules, "task_type": "CAUSAL_LM"}
    learned = {"num_virtual_tokens": VIRTUAL, "task_type": "CAUSAL_LM"}
    return {
        "lora": lambda: peft.LoraConfig(**lora),
        "rslora": lambda: peft.LoraConfig(**lora, use_rslora=True),
        "dora": lambda: peft.LoraConfig(**lora, use_dora=True),
        "modules_to_save": lambda: peft.LoraConfig(**lora, modules_to_save=[_OUTPUT_LAYERS.get(name, "lm_head")]),
        "prefix": lambda: peft.PrefixTuningConfig(**learned),
        "projected": lambda: peft.PrefixTuningConfig(**learned, prefix_projection=True, encoder_hidden_size=16),
        "ptuning": lambda: peft.PromptEncoderConfig(**learned, encoder_hidden_size=16),
        "lstm": lambda: peft.PromptEncoderConfig(
            **learned, encoder_reparameterization_type="LSTM", encoder_hidden_size=16, encoder_num_layers=1
        ),
        "prompt": lambda: peft.PromptTuningConfig(**learned),
    }[method]()


class Oracle:
    """The answers of transformers and PEFT to one prompt at a time."""

    def __init__(
        self, base: Path, adapter: Path | None = None, quantize: str | None = None, device: str = "cpu"
    ) -> None:
        options = {"quantization_config": QUANTIZED[quantize]} if quantize else {}
        self.model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, device_map={"": device}, **options)
        if adapter:
            self.model = peft.PeftModel.from_pretrained(self.model, str(adapter))
        self.model.eval()

    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        """Return float64 logits (T, V), without those of virtual tokens."""
        with torch.inference_mode():
            output = self.model(input_ids=torch.tensor([ids], device=self.model.device))
        logits: torch.Tensor = output.logits[0, -len(ids) :]
        return logits.cpu().double()

    def logprob(self, context: Sequence[int], continuation: Sequence[int]) -> tuple[float, bool]:
        """Return the continuation's log-likelihood, and whether greedy decoding would generate it."""
        ids = [*context, *continuation]
        rows = self.logits(ids)[len(context) - 1 : -1].log_softmax(-1)
        targets = torch.tensor(continuation)
        return float(rows[range(len(targets)), targets].sum()), bool((rows.argmax(-1) == targets).all())

    def greedy(self, prompt: Sequence[int], tokens: int, ends: Sequence[int]) -> list[int]:
        """Return at most `tokens` greedy ids, up to and including the first of `ends`."""
        ids = list(prompt)
        while len(ids) < len(prompt) + tokens:
            ids.append(int(self.logits(ids)[-1].argmax()))
            if ids[-1] in ends:
                break
        return ids[len(prompt) :]
