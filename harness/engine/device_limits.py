"""How much work goes through a model at once on a CPU and on an accelerator, and how much memory is free for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may use."""
_CGROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)
"""The files of control groups, version 2 and version 1, with the limit, the memory in use, and what uses it."""
_FILE_CACHE = re.compile(r"^(?:total_)?inactive_file (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class DeviceLimits:
    """Sizes and cost ratios of one kind of device."""

    batch_tokens: int
    """Most tokens of a batch on the plain walk, padding included. On a CPU, more tokens only cost memory."""
    ridge_tokens: int
    """Number of tokens whose arithmetic takes as long as reading the weights that they are multiplied by."""
    step_tokens: int
    """Number of tokens in a decoding step up to which one more costs little, so that drafts are worth checking."""
    rows: int
    """Largest number of answers decoded side by side; more would gain little."""
    cache_bytes: int
    """Bytes of keys and values that rows decoded side by side may always take, however small the model."""
    cache_share: float
    """The share of free memory that the keys and values of such rows may take, if it is more than `cache_bytes`."""
    logits_bytes: int
    """Most bytes of float32 logits at once; their log-probabilities take the same number of bytes again."""
    read_cost: int
    """Cost of reading a cached token, as a multiple of the cost of attending to it; memory is slow."""


CPU = DeviceLimits(
    batch_tokens=1024,
    ridge_tokens=64,
    step_tokens=32,
    rows=64,
    cache_bytes=64 * 2**20,
    cache_share=1 / 4,
    logits_bytes=128 * 2**20,
    read_cost=10,
)
ACCELERATOR = DeviceLimits(
    batch_tokens=16384,
    ridge_tokens=512,
    step_tokens=256,
    rows=256,
    cache_bytes=2**30,
    cache_share=1 / 2,
    logits_bytes=2**30,
    read_cost=40,
)


def device_limits(device_type: str) -> DeviceLimits:
    """Return the limits of a torch device type, such as "cpu" or "cuda"."""
    return CPU if device_type == "cpu" else ACCELERATOR


def free_bytes(device: torch.device) -> int:
    """Return how many more bytes of memory this process could take on `device`; 0 if torch does not tell.

    On a CUDA device, memory that torch holds without using it counts as free. On a CPU, the limit of a container is
    respected, and memory in which the container caches files counts as free.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return 0
    return max(0, min([int(psutil.virtual_memory().available), *_container_bytes()]))


def _container_bytes() -> list[int]:
    """Return the bytes that the limit of this container leaves, as a list of one; empty if there is no limit."""
    for limit, use, parts in _CGROUP_FILES:
        try:
            left = int((CGROUP / limit).read_text()) - int((CGROUP / use).read_text())
            cached = _FILE_CACHE.findall((CGROUP / parts).read_text())
        except (OSError, ValueError):  # no such version of control groups, or "max": no limit
            continue
        return [left + max(map(int, cached), default=0)]
    return []
