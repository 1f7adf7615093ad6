"""Rotary angles of the ChatGLM family: in float32, or in the model's dtype as the published code computes them.

float32 angles are the default and the better model. In 16 bits, ChatGLM-6B's and ChatGLM2's published code rounds
frequencies, positions and their products to the model's dtype: in bfloat16, positions above 256 collapse into groups.
Answers published for these models were given with such angles, and `use_published` brings them back (the setting
`rope=published`). ChatGLM3's published code computes in float32 anyway, so the setting is not for ChatGLM3.

Not here: which generation a checkpoint belongs to (`harness.checkpoints.chatglm.layout`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from harness.checkpoints.chatglm.positions import decode
from harness.checkpoints.types import Model

BASE = 10_000
"""Base of the frequencies of all ChatGLM-6B and ChatGLM2 models."""


class TwoPositions(nn.Module):
    """ChatGLM-6B's rotary embedding: half of each head is rotated by the first position, half by the second one."""

    def __init__(self, size: int) -> None:
        """Rotate heads of `size` numbers."""
        super().__init__()
        self._half = size // 2
        self.is_published = False
        """Whether angles are computed in the model's dtype."""

    def forward(self, states: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and sines (B, T, 2, size / 2) for `codes` (B, T) of positions, in the dtype of `states`."""
        dtype = states.dtype if self.is_published else torch.float32
        exponents = torch.arange(0, self._half, 2, device=states.device).float() / self._half
        frequencies = (1.0 / BASE**exponents).half().to(dtype)  # the published code always rounds them to half
        angles = torch.stack(decode(codes), -1)[..., None].to(dtype) * frequencies
        angles = torch.cat([angles, angles], -1)
        return angles.cos().to(states.dtype), angles.sin().to(states.dtype)


class InModelDtype(nn.Module):
    """ChatGLM2's and CodeGeeX2's rotary embedding in the model's dtype; replaces that of transformers' GLM.

    Frequencies, positions, the quotient of position and ratio, and the product are all rounded to the dtype.
    """

    def __init__(self, size: int, ratio: float = 1.0) -> None:
        """Rotate the first `size` numbers of each head, with positions divided by `ratio` (ChatGLM2-32k)."""
        super().__init__()
        self._size, self._ratio = size, ratio

    @torch.no_grad()
    def forward(self, states: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and sines (B, T, size) for `position_ids` (B, T), in the dtype of `states`."""
        dtype = states.dtype
        exponents = torch.arange(0, self._size, 2, dtype=dtype, device=states.device) / self._size
        frequencies = 1.0 / (BASE**exponents)
        positions = position_ids.to(dtype)
        if self._ratio != 1:
            positions = positions / self._ratio
        angles = (positions[..., None] * frequencies).float()
        angles = torch.cat([angles, angles], -1)
        return angles.cos().to(dtype), angles.sin().to(dtype)


def use_published(model: Model) -> None:
    """Let `model`, a ChatGLM-6B, ChatGLM2 or CodeGeeX2, compute rotary angles in its dtype as its published code does.

    ChatGLM2 is one of transformers' GLM models whose `rope_type` is "default", or "linear" with a `factor` by which
    positions are divided. Raises TypeError for any other model.
    """
    plain: Any = model.get_base_model() if hasattr(model, "get_base_model") else model
    rotary = getattr(getattr(plain, "transformer", None), "rotary_emb", None)
    if isinstance(rotary, TwoPositions):
        rotary.is_published = True
        return
    config = plain.config
    rope = getattr(config, "rope_parameters", None) or {}
    if config.model_type != "glm" or rope.get("rope_type") not in ("default", "linear"):
        raise TypeError(f"no published rotary angles are known for a {config.model_type} with {rope}")
    if rope["rope_theta"] != BASE or getattr(config, "chatglm_generation", 2) != 2:
        raise TypeError(f"ChatGLM3 computes angles in float32, and only ChatGLM2 with a base of {BASE:,} does not")
    size = int(config.head_dim * rope["partial_rotary_factor"])
    ratio = float(rope["factor"]) if rope["rope_type"] == "linear" else 1.0
    plain.model.rotary_emb = InModelDtype(size, ratio)
