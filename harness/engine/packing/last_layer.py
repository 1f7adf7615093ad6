"""The end of a model's last layer, computed for tokens that are read and for no others.

Behind the last attention of most models nothing of a token reaches another one, so that what is left of the last layer
is needed where logits are, as the vocabulary is: of a model of N layers a good half of one. The rows that are left out
become zeros, which keeps every shape. Whether a model bears that is proved before it is done (`harness.engine.walks`).

Not here: the vocabulary, which transformers itself leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from harness.checkpoints import configs


class End(NamedTuple):
    """A part of a model that is computed for some tokens, and what stands where it is not."""

    part: nn.Module
    rest: float = 0.0


def feed_forward(model: Any) -> nn.Module | None:
    """Return the part of the last layer of `model` behind its attention, or None where no name says which it is."""
    count = getattr(configs.text_config(model.config), "num_hidden_layers", None)
    stacks = [one for one in model.modules() if isinstance(one, nn.ModuleList) and len(one) == count]
    found = [part for one in stacks if isinstance(part := getattr(one[-1], "mlp", None), nn.Module)]
    if len(found) != 1:
        return None  # none, or an encoder's beside the decoder's
    uses = sum(one is found[0] for _, one in model.named_modules(remove_duplicate=False))
    return found[0] if uses == 1 else None  # layers that share it need all of it


@contextmanager
def only(end: End | None, rows: torch.Tensor, tokens: int) -> Iterator[None]:
    """Let the part compute `rows` of `tokens` tokens while this is open, and its `rest` for the others.

    What it is given otherwise than as one tensor (B, tokens, H) it computes as ever. Of a tuple that it returns, the
    first is taken to be its output, which is all that inference looks at.
    """
    if end is None or len(rows) == tokens:
        yield
        return
    part = end.part
    chosen = rows if len(rows) else rows.new_zeros(1)  # experts may not bear no token at all
    forward, hooked = part.forward, part.__dict__.get("forward")  # accelerate's hooks stand there, too

    def fewer(*given: Any, **named: Any) -> Any:
        if named or len(given) != 1 or given[0].dim() != 3 or given[0].shape[1] != tokens:
            return forward(*given, **named)
        computed = forward(given[0][:, chosen])
        first, *others = computed if isinstance(computed, tuple) else (computed,)
        spread = first.new_full((*given[0].shape[:2], first.shape[-1]), end.rest).index_copy_(1, chosen, first)
        return (spread, *others) if isinstance(computed, tuple) else spread

    part.__dict__["forward"] = fewer
    try:
        yield
    finally:
        del part.__dict__["forward"]
        if hooked is not None:
            part.__dict__["forward"] = hooked
