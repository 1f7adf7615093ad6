"""ChatGLM-6B (the first generation) as a transformers model, with the published names of modules and settings.

Published weights, LoRAs and saved folders need no renaming. The ids of a text are a context that ends in `[gMASK]` or
`[MASK]`, then `<sop>` and the answer. All tokens before `<sop>` are visible to all tokens, and what follows is causal.
Virtual tokens of a prefix come first in the cache, unrotated and visible to all; text starts at position 0 behind them.

`position_ids` are depths in a text (0, 1, 2, …) or, in a pass that continues a context, the codes of
`harness.checkpoints.chatglm.positions`. From depths, the model computes the codes itself, so that a pass over whole
texts and `generate()` need no codes. A pass with a mask of its own (B, 1, T, K) needs codes.

Follows THUDM/chatglm-6b's modeling_chatglm.py (v1.1), without dropout and losses: this class only answers.

Not here: reading a folder and its settings, the tokenizer, quantisation, prefixes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, Cache, DynamicCache, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from harness.checkpoints.chatglm import positions
from harness.checkpoints.chatglm.positions import SpecialIds
from harness.checkpoints.chatglm.rotary import TwoPositions

RESIDUAL_SCALE = (2 * 28) ** 0.5
"""Factor of every residual. The published blocks count 28 layers, whatever `num_layers` says."""


class ChatGLMConfig(PreTrainedConfig):  # type: ignore[misc]
    """ChatGLM-6B's settings under their published names; most also have transformers' names."""

    model_type = "chatglm"
    keys_to_ignore_at_inference = ("past_key_values",)
    attribute_map = {  # noqa: RUF012 (transformers' own name and type)
        "num_hidden_layers": "num_layers",
        "max_position_embeddings": "max_sequence_length",
        "intermediate_size": "inner_hidden_size",
        "layer_norm_eps": "layernorm_epsilon",
    }

    vocab_size: int = 130528
    hidden_size: int = 4096
    num_layers: int = 28
    num_attention_heads: int = 32
    inner_hidden_size: int = 16384
    max_sequence_length: int = 2048
    layernorm_epsilon: float = 1e-5
    position_encoding_2d: bool = True
    use_cache: bool = True
    tie_word_embeddings: bool = False
    bos_token_id: int | None = None
    """The id of `<sop>`; by default that of the vocabulary's published version."""
    eos_token_id: int | list[int] | None = None
    """The id of `<eop>`; by default the one after `<sop>`."""
    pad_token_id: int | None = None
    mask_token_id: int | None = None
    """The id of `[MASK]`. Settings from before 6 April 2023 do not state it; it is the fourth before `<sop>`."""
    gmask_token_id: int | None = None
    """The id of `[gMASK]`; by default the third before `<sop>`."""

    def __post_init__(self, **kwargs: Any) -> None:
        """Fill in the ids that the settings do not state."""
        if self.bos_token_id is None:
            self.bos_token_id = 150004 if self.vocab_size == 150528 else 130004
        sop = self.bos_token_id
        self.eos_token_id = sop + 1 if self.eos_token_id is None else self.eos_token_id
        self.mask_token_id = sop - 4 if self.mask_token_id is None else self.mask_token_id
        self.gmask_token_id = sop - 3 if self.gmask_token_id is None else self.gmask_token_id
        super().__post_init__(**kwargs)

    @property
    def head_dim(self) -> int:
        """Number of values in each head."""
        return int(self.hidden_size // self.num_attention_heads)

    @property
    def num_key_value_heads(self) -> int:
        """Number of heads of keys and values."""
        return int(self.num_attention_heads)

    @property
    def special_ids(self) -> SpecialIds:
        """The ids of the tokens that end a context."""
        assert self.bos_token_id is not None
        assert self.gmask_token_id is not None
        assert self.mask_token_id is not None
        return SpecialIds(self.bos_token_id, self.gmask_token_id, self.mask_token_id)


class SelfAttention(nn.Module):
    """Attention whose queries, keys and values come from one product, head by head."""

    is_causal = False  # what a token sees is always in the mask

    def __init__(self, config: ChatGLMConfig, layer_idx: int) -> None:
        super().__init__()
        self.config, self.layer_idx, self._size = config, layer_idx, config.head_dim
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        hidden_states: torch.Tensor,
        mask: torch.Tensor | None,
        rotations: tuple[torch.Tensor, torch.Tensor],
        cache: Cache | None,
    ) -> torch.Tensor:
        """Return the attention's output (B, T, H) for `hidden_states` (B, T, H)."""
        shape = hidden_states.shape[:2]
        heads = self.query_key_value(hidden_states).view(*shape, -1, 3 * self._size).transpose(1, 2)
        queries, keys, values = heads.split(self._size, -1)
        queries, keys = _rotated(queries, *rotations), _rotated(keys, *rotations)
        if cache is not None:
            keys, values = cache.update(keys, values, self.layer_idx)
        attend: Callable[..., tuple[torch.Tensor, Any]] = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, _attend_eagerly
        )
        output, _ = attend(self, queries, keys, values, mask, dropout=0.0, scaling=self._size**-0.5)
        attended: torch.Tensor = self.dense(output.reshape(*shape, -1))
        return attended


def _rotated(states: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotate `states` (B, heads, T, size) by angles (B, T, 2, size / 2), the halves of each half against each other."""
    halves = states.reshape(*states.shape[:-1], 2, -1)
    first, second = halves.chunk(2, -1)
    turned = torch.cat([-second, first], -1)
    rotated: torch.Tensor = halves * cosine[:, None] + turned * sine[:, None]
    return rotated.flatten(-2)


def _attend_eagerly(
    module: nn.Module,
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: object,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the attention's output (B, T, heads, size) and weights (B, heads, T, K)."""
    scores = torch.matmul(queries, keys.transpose(2, 3)) * scaling
    scores = scores if mask is None else scores + mask
    weights = scores.softmax(-1, dtype=torch.float32).to(queries.dtype)
    return torch.matmul(weights, values).transpose(1, 2).contiguous(), weights


class GLU(nn.Module):
    """The feed-forward part. Despite its published name, it has no gate."""

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__()
        self.dense_h_to_4h = nn.Linear(config.hidden_size, config.inner_hidden_size)
        self.dense_4h_to_h = nn.Linear(config.inner_hidden_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Return the output (B, T, H) for `hidden_states` (B, T, H)."""
        inner = functional.gelu(self.dense_h_to_4h(hidden_states), approximate="tanh")
        output: torch.Tensor = self.dense_4h_to_h(inner)
        return output


class GLMBlock(GradientCheckpointingLayer):  # type: ignore[misc]
    """One layer. Its residuals are the normed inputs of its two parts, scaled."""

    def __init__(self, config: ChatGLMConfig, layer_idx: int) -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size, config.layernorm_epsilon)
        self.attention = SelfAttention(config, layer_idx)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, config.layernorm_epsilon)
        self.mlp = GLU(config)

    def forward(
        self,
        hidden_states: torch.Tensor,
        mask: torch.Tensor | None,
        rotations: tuple[torch.Tensor, torch.Tensor],
        past_key_values: Cache | None,
    ) -> torch.Tensor:
        """Return the layer's output (B, T, H) for `hidden_states` (B, T, H)."""
        normed = self.input_layernorm(hidden_states)
        attended = RESIDUAL_SCALE * normed + self.attention(normed, mask, rotations, past_key_values)
        normed = self.post_attention_layernorm(attended)
        output: torch.Tensor = RESIDUAL_SCALE * normed + self.mlp(normed)
        return output


class ChatGLMPreTrainedModel(PreTrainedModel):  # type: ignore[misc]
    """What transformers has to know about these classes."""

    config_class = ChatGLMConfig
    base_model_prefix = "transformer"
    _no_split_modules = ("GLMBlock",)
    _skip_keys_device_placement = ("past_key_values",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _keys_to_ignore_on_load_unexpected = (r"rotary_emb\.inv_freq$",)


class ChatGLMModel(ChatGLMPreTrainedModel):
    """The layers between token ids and the product with the vocabulary."""

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__(config)
        if not config.position_encoding_2d:
            raise ValueError("position_encoding_2d is false: no published ChatGLM-6B has one position for each token")
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(GLMBlock(config, index) for index in range(config.num_layers))
        self.final_layernorm = nn.LayerNorm(config.hidden_size, config.layernorm_epsilon)
        self.rotary_emb = TwoPositions(config.head_dim)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the table of embeddings."""
        return self.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the table of embeddings."""
        self.word_embeddings = value

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        **_: object,
    ) -> BaseModelOutputWithPast:
        """Return the last hidden states (B, T, H) of `input_ids` (B, T), and the cache that now holds them.

        `attention_mask` is 0 for padding (B, cached + T or T), or says which keys a token sees (B, 1, T, K). Raises
        ValueError if the context of the ids is neither in them nor in `position_ids`.
        """
        if input_ids is None:
            raise ValueError("ChatGLM-6B needs token ids, because they say where the context ends")
        cached = 0 if past_key_values is None else int(past_key_values.get_seq_length())
        codes = self._codes(input_ids, attention_mask, position_ids)
        if past_key_values is None and (self.config.use_cache if use_cache is None else use_cache):
            past_key_values = DynamicCache(config=self.config)
        hidden_states = self.word_embeddings(input_ids)
        if attention_mask is None or attention_mask.dim() == 2:
            attention_mask = _mask(codes < positions.SPACE, attention_mask, cached, hidden_states.dtype)
        rotations = self.rotary_emb(hidden_states, codes)
        for layer in self.layers:
            hidden_states = layer(hidden_states, attention_mask, rotations, past_key_values=past_key_values)
        return BaseModelOutputWithPast(self.final_layernorm(hidden_states), past_key_values)

    def _codes(self, ids: torch.Tensor, mask: torch.Tensor | None, position_ids: torch.Tensor | None) -> torch.Tensor:
        """Return the codes (B, T) of the positions of `ids` (B, T), computed unless `position_ids` are codes."""
        if position_ids is not None and bool((position_ids >= positions.SPACE).any()):
            return position_ids.expand(ids.shape)
        if mask is not None and mask.dim() != 2:
            raise ValueError("a pass with a mask for each token needs codes of positions as its position_ids")
        attended = None if mask is None else mask[:, -ids.shape[1] :]
        if position_ids is None:
            position_ids = _depths(ids, attended)
        return positions.encode(ids, position_ids, attended, self.config.special_ids)


def _depths(ids: torch.Tensor, attended: torch.Tensor | None) -> torch.Tensor:
    """Return the depth in its row of each of `ids` (B, T); padding, where `attended` (B, T) is 0, has no depth."""
    if attended is None:
        return torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
    return (attended.long().cumsum(1) - 1).clamp(min=0)


def _mask(
    is_context: torch.Tensor, attended: torch.Tensor | None, cached: int, dtype: torch.dtype
) -> torch.Tensor | None:
    """Return the mask (B, 1, T, cached + T) to add to attention scores, or None if every token sees all keys.

    `is_context` (B, T) says which of the tokens belong to a context. `attended` (B, cached + T or T) is 0 for padding.
    """
    rows, tokens = is_context.shape
    if tokens == 1 and attended is None:
        return None
    earlier = torch.ones(tokens, tokens, dtype=torch.bool, device=is_context.device).tril()
    visible = functional.pad(earlier | is_context[:, None], (cached, 0), value=True)
    if attended is not None:
        missing = cached + tokens - attended.shape[1]  # a mask of the text only, behind a prefix
        visible = visible & functional.pad(attended.bool(), (missing, 0), value=True)[:, None]
    bias = torch.zeros(rows, 1, tokens, cached + tokens, dtype=dtype, device=is_context.device)
    return bias.masked_fill_(~visible[:, None], torch.finfo(dtype).min)


class ChatGLMForConditionalGeneration(ChatGLMPreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """ChatGLM-6B with the product with the vocabulary. `generate()` takes left-padded batches and a prefix cache."""

    _tied_weights_keys = {"lm_head.weight": "transformer.word_embeddings.weight"}  # noqa: RUF012 (transformers' own)

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__(config)
        self.transformer = ChatGLMModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """Return the product with the vocabulary."""
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the product with the vocabulary."""
        self.lm_head = new_embeddings

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **_: object,
    ) -> CausalLMOutputWithPast:
        """Return the logits of `input_ids` (B, T) at `logits_to_keep`: places, or how many from the end (0: all).

        The other arguments, and what is raised, are those of `ChatGLMModel.forward`.
        """
        output = self.transformer(input_ids, attention_mask, position_ids, past_key_values, use_cache)
        places = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(output.last_hidden_state[:, places])
        return CausalLMOutputWithPast(logits=logits, past_key_values=output.past_key_values)

    def _prepare_position_ids_for_generation(
        self, inputs_tensor: torch.Tensor, model_kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """Return the depths (B, T) with which `generate()` starts: 0 for the first token behind the cache."""
        depths: torch.Tensor = super()._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)
        cache = model_kwargs.get("past_key_values")
        return depths if cache is None else (depths - int(cache.get_seq_length())).clamp(min=0)

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        next_sequence_length: int | None = None,
        past_key_values: Cache | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the arguments of a step of `generate()`, with the codes of positions, which need all `input_ids`."""
        if position_ids is not None:
            position_ids = positions.encode(input_ids, position_ids, attention_mask, self.config.special_ids)
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(
            input_ids, next_sequence_length, past_key_values, attention_mask, position_ids=position_ids, **kwargs
        )
        return inputs


AutoModelForCausalLM.register(ChatGLMConfig, ChatGLMForConditionalGeneration, exist_ok=True)
