"""Decoder layers of the usual shape in fewer operations, for bfloat16 on a CPU.

A layer of LLaMA, Mistral, Qwen2 or Qwen3 consists of attention with rotated queries and keys and of a gated
feed-forward part, each after a norm and added to its input; Qwen3's heads have norms of their own. Here oneDNN computes
the activation, the product with the gates and the sums within its matrix products, and queries and keys are rotated
together. Only transformers' own classes are fused, since a probe on short texts cannot show rules that apply to long
ones only. In addition, each fused layer is probed: it must give the results of the original.

Not here: layers of another shape, or with adapters, hooks or quantised weights in them; these stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import nn
from transformers import Cache
from transformers.activations import SiLUActivation
from transformers.cache_utils import DynamicLayer

from harness.checkpoints.types import Model
from harness.engine.packing import attention

PROBE_TOKENS = 5
PROBE_SCALES = (2**-6, 8.0)
"""Scales of the probe's inputs: small inputs show what a layer adds to its input, large ones that the input is kept."""
PROBE_TOLERANCE = 3e-2
"""The share of the largest output by which outputs may differ, as all bfloat16 results may."""
_FAMILIES = ("Llama", "Mistral", "Qwen2", "Qwen3")
_CLASSES = {
    tuple(
        f"transformers.models.{family.lower()}.modeling_{family.lower()}.{family}{part}"
        for part in ("DecoderLayer", "Attention", "MLP", "RMSNorm", "RMSNorm")
    )
    for family in _FAMILIES
}
"""Full names of the classes of a layer, its attention, its feed-forward part and its two norms."""


class Product(Protocol):
    """Multiplies by the weights of one linear layer (`harness.engine.packing.prepacked.Product`)."""

    def __call__(self, states: torch.Tensor, activation: str = "none") -> torch.Tensor:
        """Return the layer's output after `activation`."""

    def combined(self, states: torch.Tensor, other: torch.Tensor, operation: str) -> torch.Tensor:
        """Return the layer's output after `operation` (addition or multiplication) with `other`."""


def layers(model: Model, products: Mapping[nn.Linear, Product]) -> dict[nn.Module, FusedLayer]:
    """Return, for each decoder layer of `model` that has the usual shape, the `FusedLayer` to replace its forward.

    `products` multiply by the weights of the model's linear layers.
    """
    fused_layers = {}
    for stack in (module for module in model.modules() if isinstance(module, nn.ModuleList)):
        for layer in stack:
            if _is_usual(layer, products):
                fused = FusedLayer(layer, products)
                if _is_equal(layer, fused):
                    fused_layers[layer] = fused
    return fused_layers


class FusedLayer:
    """The forward of one decoder layer."""

    def __init__(self, layer: nn.Module, products: Mapping[nn.Linear, Product]) -> None:
        self._attention: Any = layer.self_attn
        self._mlp: Any = layer.mlp
        self._has_head_norms = hasattr(self._attention, "q_norm")
        self._norms: tuple[Any, Any] = (layer.input_layernorm, layer.post_attention_layernorm)
        self._q, self._k, self._v, self._o, self._gate, self._up, self._down = (
            products[projection] for projection in _projections(layer)
        )

    def __call__(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        past_key_values: Cache | None = None,
        **kwargs: object,
    ) -> torch.Tensor:
        """Return the layer's output (B, T, H) for `hidden_states` (B, T, H), as the layer's own forward does."""
        assert position_embeddings is not None
        shape, size = (*hidden_states.shape[:2], -1, self._attention.head_dim), self._attention.head_dim
        normed = self._norms[0](hidden_states)
        queries, keys = self._q(normed).view(shape), self._k(normed).view(shape)
        if self._has_head_norms:
            queries, keys = self._attention.q_norm(queries), self._attention.k_norm(keys)
        heads = queries.shape[2]
        rotated = _rotated(torch.cat([queries, keys], 2), *position_embeddings).transpose(1, 2)
        values = self._v(normed).view(shape).transpose(1, 2)
        keys = rotated[:, heads:]
        if past_key_values is not None:
            keys, values = past_key_values.update(keys, values, self._attention.layer_idx)
        attended, _ = attention.attend(
            self._attention, rotated[:, :heads], keys, values, attention_mask, scaling=self._attention.scaling
        )
        flat = attended.reshape(*hidden_states.shape[:2], heads * size)
        hidden_states = self._o.combined(flat, hidden_states, "add")
        normed = self._norms[1](hidden_states)
        if "forward" in self._mlp.__dict__:  # only computed where it is needed (`last_layer`)
            added: torch.Tensor = hidden_states + self._mlp(normed)
            return added
        gated = self._up.combined(normed, self._gate(normed, "swish"), "mul")
        return self._down.combined(gated, hidden_states, "add")


def _projections(layer: Any) -> list[nn.Linear]:
    """Return the layer's projections, in the order query, key, value, output, gate, up, down."""
    part, mlp = layer.self_attn, layer.mlp
    return [part.q_proj, part.k_proj, part.v_proj, part.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj]


def _rotated(states: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotate `states` (B, T, heads, size) by position (Su et al. 2021, RoFormer), in halves as transformers does."""
    half = states.shape[-1] // 2
    turned = torch.cat((-states[..., half:], states[..., :half]), -1)
    return (states * cosine[:, :, None]).add_(turned.mul_(sine[:, :, None]))


def _is_usual(layer: nn.Module, products: Mapping[nn.Linear, Product]) -> bool:
    """Return whether `layer` and its parts have one model family's own classes, with nothing replaced or hooked."""
    names = ("self_attn", "mlp", "input_layernorm", "post_attention_layernorm")
    classes = (type(part) for part in (layer, *(getattr(layer, name, None) for name in names)))
    if tuple(f"{cls.__module__}.{cls.__qualname__}" for cls in classes) not in _CLASSES:
        return False
    is_plain = not any(
        module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__ for module in layer.modules()
    )
    is_silu = isinstance(layer.mlp.act_fn, nn.SiLU | SiLUActivation)  # type: ignore[union-attr]
    return is_plain and is_silu and all(projection in products for projection in _projections(layer))


def _is_equal(layer: nn.Module, fused: FusedLayer) -> bool:
    """Return whether `fused` gives the output of `layer` for random states, and stores the same keys and values."""
    try:
        return all(
            _are_close(states, others)
            for scale in PROBE_SCALES
            for states, others in zip(_probe(layer, layer, scale), _probe(layer, fused, scale), strict=True)
        )
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError):
        return False  # something in it is not as in the class


def _probe(layer: nn.Module, forward: Callable[..., torch.Tensor], scale: float) -> list[torch.Tensor]:
    """Return the output of `forward` for random states of this `scale`, and the keys and values that it stores."""
    part: Any = layer.self_attn
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(1, PROBE_TOKENS, part.q_proj.in_features, generator=generator) * scale
    angles = torch.rand(1, PROBE_TOKENS, part.head_dim // 2, generator=generator).repeat(1, 1, 2)
    mask = torch.full((1, 1, PROBE_TOKENS, PROBE_TOKENS), torch.finfo(torch.bfloat16).min).triu(1)
    cache = Cache(layer_class_to_replicate=DynamicLayer)
    with torch.inference_mode(), attention.grouped():
        output = forward(
            states.bfloat16(),
            attention_mask=mask.bfloat16(),
            position_ids=torch.arange(PROBE_TOKENS)[None],
            past_key_values=cache,
            use_cache=True,
            position_embeddings=(angles.cos().bfloat16(), angles.sin().bfloat16()),
        )
    stored = cache.layers[part.layer_idx]
    return [output, stored.keys, stored.values]


def _are_close(states: torch.Tensor, others: torch.Tensor) -> bool:
    if states.shape != others.shape:
        return False
    difference = (states.float() - others.float()).abs().max()
    return bool(difference <= PROBE_TOLERANCE * states.float().abs().max())
