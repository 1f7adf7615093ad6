"""A checkpoint in memory: its model, its tokenizer, and what the engine must know about both.

Not here: finding or reading its parts (`harness.checkpoints.loading`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from harness.checkpoints import configs
from harness.checkpoints.located import Located
from harness.checkpoints.root_cache import EMPTY, RootCache


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory, ready to answer."""

    located: Located
    model: Any
    tokenizer: Any
    fingerprint: str
    eos_ids: tuple[int, ...]
    """Tokens that end a text: the tokenizer's EOS and those of the checkpoint's generation_config."""
    parameters: int
    """Of the base, counted before any quantisation packs them."""
    memory_bytes: int = 0
    """What weights, adapter and root cache take in memory."""
    adapter_parameters: int | None = None
    adapter_effect: float | None = None
    root: RootCache = EMPTY
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.located.name

    @property
    def plain_model(self) -> Any:
        """The base's own model class, without PEFT's wrapping."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def position_switch(self) -> int | None:
        """Length beyond which a row's positions depend on the longest row beside it, or None."""
        switch = configs.position_switch(self.located.config)
        return None if switch is None else switch - self.root.next_position

    @property
    def padding_switch(self) -> int | None:
        """Length beyond which padding between root cache and prompt would push the root out of a window, or None."""
        window = configs.smallest_window(self.located.config)
        return None if window is None or not self.root.length else window - self.root.length

    @property
    def rounds_activations(self) -> bool:
        """Answers are exact but for a rounding of activations, which turns the last bit of a float32 into a step.

        Seen with int8: 4e-4 of a log-likelihood beside other rows, so only rows of one length may be computed together.
        In bfloat16 every operation rounds as coarsely.
        """
        quantized = self.located.quantization
        return quantized is not None and quantized.name == "int8" and self.located.dtype == torch.float32

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.located.device

    @property
    def max_length(self) -> int:
        """Context length in tokens."""
        return self.located.max_length
