"""A checkpoint: where its parts are, and what it is once they are in memory.

Not here: finding or reading them (`harness.checkpoints.loading`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness.checkpoints import discovery, identity
from harness.checkpoints.adapters import attach
from harness.checkpoints.quantization import Quantization
from harness.checkpoints.reference import CheckpointReference


class Located(NamedTuple):
    """Where a checkpoint's parts are; every file that is named exists and is whole."""

    reference: CheckpointReference
    base: Path
    adapter: Path | None
    tokenizer: Path
    kind: str
    """`base`, or the adapter's method in lower case, such as `lora`."""
    config: Any
    """The base's transformers configuration."""
    device: torch.device
    dtype: torch.dtype
    quantization: Quantization | None
    max_length: int
    """Tokens of the context that are left for a prompt and its answer."""
    virtual_tokens: int
    """Tokens of the context that the root cache takes."""

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.reference.label

    @property
    def base_name(self) -> str:
        """How the reference, or else its adapter, names the base."""
        if self.adapter is not None and self.reference.adapter is None:
            stated = attach.stated_base(self.adapter) or self.reference.path
            return discovery.base_here(self.adapter, stated, None)[0]
        return self.reference.path

    def fingerprint(self) -> str:
        """Return the checkpoint's fingerprint; reads each weight file once in its life."""
        settings = {"dtype": str(self.dtype)}
        if self.quantization is not None and not self.quantization.saved:
            settings["quantize"] = self.quantization.name
        if self.reference.trust_remote_code:
            settings["trust_remote_code"] = "true"
        return identity.fingerprint(self.base, self.adapter, self.tokenizer, settings)
