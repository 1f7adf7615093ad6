"""P-tuning v2 of a ChatGLM as its own scripts train and save it: a prefix encoder before a base that does not change.

The encoder is an embedding, or an embedding, a linear layer, a tanh and a linear layer (`prefix_projection`). What it
yields are the keys and values of the virtual tokens in every layer: not rotated, seen by every token, and in the way of
no position, because the text begins at position 0. In training, a tenth of them is dropped for each row by itself.
Sizes, initial weights (those of torch), dtypes and names are those of `PrefixEncoder` and `get_prompt` in
modeling_chatglm.py of THUDM/chatglm-6b, chatglm2-6b and chatglm3-6b.

The folder is the one that THUDM's ptuning/trainer.py saves: `pytorch_model.bin` with the encoder alone in float32, and
a config.json that names the base and states `pre_seq_len`, `prefix_projection` and, for a base in ChatGLM's own 4 or 8
bits, `quantization_bit`.

Not here: reading such a folder to answer with it (`harness.checkpoints.chatglm.prefix`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from harness.checkpoints import contents, files
from harness.checkpoints.adapters.config import AdapterConfig
from harness.checkpoints.chatglm import convert, layout, prefix
from harness.checkpoints.chatglm.layout import PREFIX
from harness.checkpoints.located import Located
from harness.checkpoints.types import Model, ModelConfig
from harness.errors import HarnessError

DROPOUT = 0.1
"""Share of the prefix's numbers that is dropped in training, as in the published code."""


def is_chatglm(config: ModelConfig) -> bool:
    """Return whether `config` is that of a ChatGLM-6B, ChatGLM2 or ChatGLM3."""
    return config.model_type == layout.MODEL_TYPE or getattr(config, "chatglm_generation", None) in layout.GENERATIONS


class PrefixEncoder(nn.Module):
    """The published encoder of virtual tokens; its parameters have the published names."""

    def __init__(self, tokens: int, config: ModelConfig, *, projects: bool) -> None:
        super().__init__()
        heads, size = int(config.num_key_value_heads), int(config.head_dim)
        width, hidden = 2 * int(config.num_hidden_layers) * heads * size, int(config.hidden_size)
        self.trans: nn.Sequential | None = None
        if not projects:
            self.embedding = nn.Embedding(tokens, width)
            return
        embedded = hidden if config.model_type == layout.MODEL_TYPE else width
        self.embedding = nn.Embedding(tokens, embedded)
        self.trans = nn.Sequential(nn.Linear(embedded, hidden), nn.Tanh(), nn.Linear(hidden, width))

    def forward(self) -> torch.Tensor:
        """Return the numbers of all virtual tokens, (tokens, 2 · layers · heads · head size)."""
        states: torch.Tensor = self.embedding.weight if self.trans is None else self.trans(self.embedding.weight)
        return states


class PrefixTuned(nn.Module):
    """A ChatGLM behind a prefix encoder, of which only the encoder learns."""

    def __init__(self, base: Model, tokens: int, *, projects: bool) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.prefix_encoder = PrefixEncoder(tokens, base.config, projects=projects).to(base.device)
        self.dropout = nn.Dropout(DROPOUT)

    @property
    def config(self) -> ModelConfig:
        """The base's configuration, which transformers' Trainer reads."""
        return self.base.config

    @property
    def device(self) -> torch.device:
        """The base's device."""
        device: torch.device = self.base.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which the base computes."""
        dtype: torch.dtype = self.base.dtype
        return dtype

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None, **settings: Any
    ) -> None:
        """Let the base's layers compute their inner states again in the backward pass.

        Raises HarnessError if torch would do so in the way that sees no gradient of the prefix.
        """
        kind = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}
        if kind["use_reentrant"]:
            raise HarnessError("no gradient reaches a prefix with use_reentrant: remove it")
        self.base.gradient_checkpointing_enable(gradient_checkpointing_kwargs=kind, **settings)
        for module in self.base.modules():
            if hasattr(module, "gradient_checkpointing"):
                module._can_checkpoint_with_cache = True  # a `_PrefixLayer` holds the same before and after a pass

    def forward(self, input_ids: torch.Tensor, **arguments: Any) -> Any:
        """Return the base's output for `input_ids` (B, T) behind the prefix; other `arguments` go to the base."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device).expand(input_ids.shape)
        arguments = {**arguments, "position_ids": positions, "use_cache": False}
        return self.base(input_ids=input_ids, past_key_values=self.cache(len(input_ids)), **arguments)

    def cache(self, rows: int) -> Cache:
        """Return the keys and values of the virtual tokens for `rows` texts, in the dtype of the base's states."""
        dtype = self.base.get_input_embeddings().weight.dtype
        states = self.prefix_encoder().to(dtype)
        heads, size = int(self.config.num_key_value_heads), int(self.config.head_dim)
        split = self.dropout(states.view(len(states), -1, heads, size).expand(rows, -1, -1, -1, -1))
        keys_and_values = split.permute(2, 0, 3, 1, 4).split(2)
        return Cache(layers=[_PrefixLayer(keys, values) for keys, values in keys_and_values])


class _PrefixLayer(DynamicLayer):  # type: ignore[misc]
    """The keys and values (B, heads, tokens, head size) of virtual tokens in one layer, to which nothing is added."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the keys and values of the virtual tokens and, behind them, those of the text."""
        keys, values = self.keys.to(key_states.dtype), self.values.to(value_states.dtype)
        return torch.cat([keys, key_states], dim=2), torch.cat([values, value_states], dim=2)


def new(base: Model, settings: Mapping[str, Any]) -> PrefixTuned:
    """Return `base` behind a new prefix encoder; `settings` are PEFT's names of a prefix's settings.

    Raises HarnessError if the number of virtual tokens is not stated, or if a setting is another than ChatGLM has.
    """
    config = base.config
    fixed = {
        "num_layers": int(config.num_hidden_layers),
        "num_attention_heads": int(config.num_key_value_heads),
        "token_dim": int(config.num_key_value_heads) * int(config.head_dim),
        "num_transformer_submodules": 1,
        "encoder_hidden_size": int(config.hidden_size),
        "init_weights": None,
    }
    for name, value in settings.items():
        if name not in ("num_virtual_tokens", "prefix_projection", *fixed):
            raise HarnessError(f"'{name}' does not apply to ChatGLM's own prefix: remove it")
        if name in fixed and value not in (None, fixed[name]):
            raise HarnessError(f"{name} is {value}, but a prefix of this ChatGLM has {fixed[name]}: remove the setting")
    tokens = settings.get("num_virtual_tokens")
    if not isinstance(tokens, int) or tokens < 1:
        raise HarnessError("the prefix has no length: set num_virtual_tokens (ChatGLM's own scripts have 128)")
    return PrefixTuned(base, tokens, projects=bool(settings.get("prefix_projection")))


def continued(base: Model, adapter: AdapterConfig) -> PrefixTuned:
    """Return `base` behind the prefix encoder of `adapter`, which learns further.

    Raises HarnessError if its weights do not fit the base.
    """
    tensors = prefix.tensors(adapter.folder, adapter.virtual_tokens)
    model = PrefixTuned(base, adapter.virtual_tokens, projects=len(tensors) > 1)
    state = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in model.prefix_encoder.state_dict().items()}
    for name, tensor in state.items():
        if tuple(tensor.shape) != expected[name]:
            raise HarnessError(
                f"{adapter.folder}: {PREFIX}{name} is {tuple(tensor.shape)}, not {expected[name]} as this base needs: "
                "name the base that the prefix was trained on"
            )
    model.prefix_encoder.load_state_dict(state)
    return model


def save(
    model: PrefixTuned, located: Located, base_name: str, folder: Path, weights: Mapping[str, Any] | None = None
) -> None:
    """Write the prefix and its config.json, which names the base `base_name`, to `folder`.

    `weights` are those of the model if it is spread over several devices.
    """
    own = "prefix_encoder."
    state = {k.removeprefix(own): v for k, v in (weights or model.state_dict()).items() if k.startswith(own)}
    tensors = {PREFIX + name: tensor.detach().cpu().float().contiguous() for name, tensor in state.items()}
    torch.save(tensors, folder / "pytorch_model.bin")
    config = _config(model, located) | {"_name_or_path": base_name}
    text = json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True)
    (folder / contents.CONFIG).write_text(text + "\n", encoding="utf-8")


def _config(model: PrefixTuned, located: Located) -> dict[str, Any]:
    """Return the base's published settings, with those of the prefix."""
    if located.layout is None:
        settings = convert.published_settings(located.config)
    else:
        settings = files.read_json(located.base / contents.CONFIG)
    settings.pop("quantization_bit", None)
    quantized = located.quantization
    if quantized is not None and quantized.is_chatglm:
        settings["quantization_bit"] = quantized.bits
    encoder = model.prefix_encoder
    return {
        **settings,
        "pre_seq_len": encoder.embedding.num_embeddings,
        "prefix_projection": encoder.trans is not None,
    }
