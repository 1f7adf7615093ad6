"""Where the parts of a checkpoint are, and what their files state about it.

Data only. Not here: finding the parts (`harness.checkpoints.loading.locate`), and the checkpoint in memory
(`harness.checkpoints.checkpoint`).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from harness.checkpoints.adapters.config import AdapterConfig
from harness.checkpoints.chatglm.layout import Layout
from harness.checkpoints.packed import Packing
from harness.checkpoints.quantization import Quantization
from harness.checkpoints.reference import CheckpointReference
from harness.checkpoints.types import ModelConfig


class Located(NamedTuple):
    """A checkpoint whose files were found and checked, before any weight is read."""

    reference: CheckpointReference
    """The reference as the user wrote it."""
    base: Path
    """Folder of the base's weights and configuration, or its GGUF file."""
    base_name: str
    """The base's path or hub name. The reference states it or, if that names only an adapter, the adapter does."""
    adapter_config: AdapterConfig | None
    """The adapter's configuration; None for a base on its own."""
    tokenizer: Path
    """Folder of the tokenizer, or the GGUF file that holds it."""
    config: ModelConfig
    """The base's transformers configuration."""
    configuration: str
    """Sha256 of the base's configuration when it was read (`identity.configuration`)."""
    device: torch.device
    """Device that the model will compute on."""
    dtype: torch.dtype
    """Dtype that the model will compute in."""
    quantization: Quantization | None
    """How the weights are quantised; None for plain weights."""
    stored_as: str | None
    """Name of the files' quantisation if loading undoes it, such as GGUF's `q4_1`; None for other weights."""
    layout: Layout | None
    """Generation and settings of a folder in a published ChatGLM layout; None for other folders."""
    packing: Packing | None
    """How the files' integer weights are packed if loading unpacks them; None for other weights."""
    max_length: int
    """Tokens of the context that are left for a prompt and its answer."""

    @property
    def name(self) -> str:
        """Name of the checkpoint in reports."""
        return self.reference.label

    @property
    def adapter(self) -> Path | None:
        """Folder of the adapter, or None."""
        return None if self.adapter_config is None else self.adapter_config.folder

    @property
    def kind(self) -> str:
        """`base`, or the adapter's method in lower case, such as `lora`."""
        return "base" if self.adapter_config is None else self.adapter_config.method.lower()

    @property
    def quantization_name(self) -> str | None:
        """Quantisation in reports: of the computation, the files, or both (`int8 of q4_1`); None for plain weights."""
        computed = self.quantization and self.quantization.name
        return f"{computed} of {self.stored_as}" if computed and self.stored_as else computed or self.stored_as

    @property
    def virtual_tokens(self) -> int:
        """Tokens of the context that the root cache takes."""
        return 0 if self.adapter_config is None else self.adapter_config.context_tokens
