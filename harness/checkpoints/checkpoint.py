"""A checkpoint in memory: its model, its tokenizer, and what the engine must know about both.

Not here: finding and reading its parts (`harness.checkpoints.loading`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from harness.checkpoints import configs
from harness.checkpoints.located import Located
from harness.checkpoints.root_cache import EMPTY, RootCache
from harness.checkpoints.types import Model, Tokenizer


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint that is ready to answer requests."""

    located: Located
    """Where the parts of the checkpoint were found."""
    model: Model
    """The transformers model, wrapped by PEFT if an adapter changes its weights."""
    tokenizer: Tokenizer
    """The transformers tokenizer."""
    fingerprint: str
    """Hash of everything that decides the checkpoint's answers (`harness.checkpoints.identity`)."""
    eos_ids: tuple[int, ...]
    """Token ids that end a text: the tokenizer's EOS and those of the checkpoint's generation_config."""
    parameters: int
    """Number of parameters of the base, counted before any quantisation packs them."""
    memory_bytes: int = 0
    """Bytes of memory that weights, adapter and root cache take."""
    adapter_parameters: int | None = None
    """Number of parameters of the adapter; None without one."""
    adapter_effect: float | None = None
    """Largest absolute difference in logits that the adapter makes on a probe; None without an adapter."""
    root: RootCache = EMPTY
    """The keys, values and position that every prompt starts with."""
    notes: list[str] = field(default_factory=list)
    """What a reader of its report should know, one sentence each."""

    @property
    def name(self) -> str:
        """Name of the checkpoint in reports."""
        return self.located.name

    @property
    def plain_model(self) -> Model:
        """The base's own model class, without PEFT's wrapper."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def position_switch(self) -> int | None:
        """Prompt length in tokens beyond which positions depend on the longest prompt in the batch; None if never."""
        switch = configs.position_switch(self.located.config)
        return None if switch is None else switch - self.root.next_position

    @property
    def padding_switch(self) -> int | None:
        """Row length in tokens beyond which padding pushes the root cache out of an attention window.

        None without a root cache (keys and values before every prompt), or without a window.
        """
        window = configs.smallest_window(self.located.config)
        return None if window is None or not self.root.length else window - self.root.length

    @property
    def rounds_activations(self) -> bool:
        """Whether activations are rounded so coarsely that only rows of one length may be computed together.

        With int8 in float32, the last bit of an activation can become a whole quantisation step: in a batch with rows
        of other lengths, log-likelihoods differed by 4e-4. In bfloat16 every operation rounds that coarsely anyway.
        """
        quantized = self.located.quantization
        return quantized is not None and quantized.rounds_activations and self.located.dtype == torch.float32

    @property
    def device(self) -> torch.device:
        """Device that the model computes on."""
        return self.located.device

    @property
    def max_length(self) -> int:
        """Tokens of the context that are left for a prompt and its answer."""
        return self.located.max_length
