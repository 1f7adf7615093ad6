"""Skips work of the last layer at positions whose logits are not needed.

After the last attention of most models, no token influences another one. Therefore, the rest of the last layer (more
than half of it) is needed only at positions whose logits are read, and so is the product with the vocabulary. Skipped
rows become zeros, which keeps every shape. Whether this is correct for a model is probed first
(`harness.engine.walks`).

Not here: skipping the vocabulary, which transformers does itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from harness.checkpoints import configs
from harness.checkpoints.types import Model


class SkippablePart(NamedTuple):
    """A part of a model that needs to be computed for some positions only."""

    module: nn.Module
    filler: float = 0.0
    """The module's output at positions that are skipped."""


def feed_forward(model: Model) -> nn.Module | None:
    """Return the module after the attention in the last layer of `model`, or None if names do not tell which it is."""
    count = getattr(configs.text_config(model.config), "num_hidden_layers", None)
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    parts = [part for stack in stacks if isinstance(part := getattr(stack[-1], "mlp", None), nn.Module)]
    if len(parts) != 1:
        return None  # no such part, or an encoder's beside the decoder's
    uses = sum(module is parts[0] for _, module in model.named_modules(remove_duplicate=False))
    return parts[0] if uses == 1 else None  # layers that share it need all of its output


@contextmanager
def computing_only(part: SkippablePart | None, rows: torch.Tensor, tokens: int) -> Iterator[None]:
    """Compute `part` only at positions `rows` of `tokens` tokens until the `with` block ends; others get its filler.

    Calls with anything except one tensor (B, tokens, H) compute all positions. If the module returns a tuple, only its
    first item is taken as the output, because inference reads no other.
    """
    if part is None or len(rows) == tokens:
        yield
        return
    module = part.module
    computed_rows = rows if len(rows) else rows.new_zeros(1)  # mixtures of experts may not support empty input
    forward, own_forward = module.forward, module.__dict__.get("forward")  # accelerate's hooks are stored there, too

    def forward_rows(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != 1 or args[0].dim() != 3 or args[0].shape[1] != tokens:
            return forward(*args, **kwargs)
        output = forward(args[0][:, computed_rows])
        first, *others = output if isinstance(output, tuple) else (output,)
        shape = (*args[0].shape[:2], first.shape[-1])
        full = first.new_full(shape, part.filler).index_copy_(1, computed_rows, first)
        return (full, *others) if isinstance(output, tuple) else full

    module.__dict__["forward"] = forward_rows
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if own_forward is not None:
            module.__dict__["forward"] = own_forward
