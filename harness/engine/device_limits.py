"""How much work goes through a model at once on a CPU and on an accelerator."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeviceLimits:
    """Sizes and cost ratios of one kind of device."""

    batch_tokens: int
    """Padded tokens of a batch on the plain walk. On a CPU long batches gain nothing and cost memory."""
    ridge_tokens: int
    """Number of tokens whose arithmetic takes as long as reading the weights that they are multiplied by."""
    rows: int
    """Answers decoded side by side at most; more gain little."""
    cache_bytes: int
    """Bytes of keys and values that rows decoded side by side may always take, however small the model."""
    logits_bytes: int
    """Bytes of float32 logits at once; their log-probabilities take the same amount again."""
    read_cost: int
    """Cost of reading one cached token, in units of one token's attention to it: memory is slower than arithmetic."""


CPU = DeviceLimits(
    batch_tokens=1024, ridge_tokens=64, rows=64, cache_bytes=64 * 2**20, logits_bytes=128 * 2**20, read_cost=10
)
ACCELERATOR = DeviceLimits(
    batch_tokens=16384, ridge_tokens=512, rows=256, cache_bytes=2**30, logits_bytes=2**30, read_cost=40
)


def device_limits(device_type: str) -> DeviceLimits:
    """Return the limits of a torch device type, such as "cpu" or "cuda"."""
    return CPU if device_type == "cpu" else ACCELERATOR
