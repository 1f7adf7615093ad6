"""The device that a checkpoint computes on, and the dtype that it computes in, before any weight is read."""

from __future__ import annotations

from pathlib import Path

import torch

from harness.checkpoints import files, gguf
from harness.checkpoints.types import ModelConfig
from harness.errors import HarnessError


def device(name: str | None) -> torch.device:
    """Return the device called `name`. If `name` is None, it is a GPU if there is one, else the CPU.

    Raises HarnessError if the device cannot be used on this machine.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
        torch.zeros(1, device=chosen).item()  # fails on meta devices, which hold no numbers
    except (RuntimeError, AssertionError) as error:
        raise HarnessError(f"device '{name}' cannot be used here ({files.reason(error)}): try device=cpu") from error
    return chosen


def dtype(name: str | None, on: torch.device, config: ModelConfig, weight_files: list[Path]) -> torch.dtype:
    """Return the compute dtype for `name`, which is one of `reference.DTYPES` or None."""
    if name is None:
        name = "float32" if on.type == "cpu" else "auto"
    if name == "auto":
        stated = getattr(config, "dtype", None)
        if isinstance(stated, torch.dtype):
            return stated
        is_gguf = gguf.is_gguf(weight_files[0])
        name = (gguf.stored_dtype(weight_files[0]) if is_gguf else files.stored_dtype(weight_files)) or "float32"
    chosen: torch.dtype = getattr(torch, name)
    return chosen
