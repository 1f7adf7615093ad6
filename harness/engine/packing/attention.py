"""Attention for models whose query heads share keys and values, without copying these for each query head.

transformers repeats keys and values if there is a mask and more than one query. Here the query heads that share
a head of keys and values become further queries of that head: the same arithmetic on a fraction of the memory.

Not here: models that do not look up their attention as "sdpa" in transformers' registry; these keep their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

REPLACED = "sdpa"
FEW_QUERIES = 512
"""Number of queries, over all heads that share keys, up to which repeating the mask for each head costs little."""


@contextmanager
def grouped() -> Iterator[None]:
    """Make models that use torch's attention call `attend` instead, until the `with` block ends.

    Their configurations still say "sdpa", because some models compare that name.
    """
    previous = ALL_ATTENTION_FUNCTIONS[REPLACED]
    ALL_ATTENTION_FUNCTIONS[REPLACED] = attend
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS[REPLACED] = previous
        _LAST.clear()


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the attention (B, T, heads, size) of `query` (B, heads, T, size) to `key`, and None for the weights.

    `attention_mask` (B, 1, T, K) is added to the scores. Other calls go to transformers' own function.
    """
    group = query.shape[1] // key.shape[1]
    queries = query.shape[2]
    is_plain = attention_mask is not None and attention_mask.dim() == 4 and attention_mask.shape[1] == 1
    is_plain = is_plain and not dropout and kwargs.get("position_bias") is None and kwargs.get("softcap") is None
    has_few = queries * group <= FEW_QUERIES
    if group == 1 or queries == 1 or not is_plain or not (has_few or query.device.type == "cpu"):
        output: tuple[torch.Tensor, torch.Tensor | None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return output
    if has_few:
        assert attention_mask is not None
        shape = (len(query), key.shape[1], group * queries, query.shape[3])
        mask = _repeated(attention_mask, group)
        states = functional.scaled_dot_product_attention(query.reshape(shape), key, value, mask, scale=scaling)
        states = states.reshape(*query.shape[:3], value.shape[3])
    else:
        states = functional.scaled_dot_product_attention(
            query, key, value, attention_mask, scale=scaling, enable_gqa=True
        )
    return states.transpose(1, 2).contiguous(), None


_LAST: list[tuple[torch.Tensor, torch.Tensor]] = []
"""The last masks, each with its repetition, kept because all layers of one kind get the same mask in a forward pass."""
KINDS = 2
"""Number of kinds of layers with different masks: layers with full attention and with a sliding window."""


def _repeated(mask: torch.Tensor, group: int) -> torch.Tensor:
    """Return `mask` (B, 1, T, K) repeated for each of the `group` heads that share keys: (B, 1, group × T, K)."""
    rows = group * mask.shape[2]
    for previous, repeated in _LAST:
        if previous is mask and repeated.shape[2] == rows:
            return repeated
    _LAST[:] = [(mask, mask.repeat(1, 1, group, 1)), *_LAST[: KINDS - 1]]
    return _LAST[0][1]
