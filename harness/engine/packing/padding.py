"""Does padding change an answer? Asked of the loaded model itself, since no list of architectures is ever complete.

Scoring pads on the right without a mask, decoding on the left with one. Both are right for causal attention; recurrent
states and two-way attention are not all so kind. Where a probe's logits change beside a longer row, only rows of one
length are computed together: slower, and the same answer as alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig

from harness.checkpoints.root_cache import EMPTY, RootCache

SHORT, LONG = 9, 24  # tokens of the probe's two rows
# Share of the largest logit; what a padded row that is answered wrongly misses by is of the order of 1.
TOLERANCE = 1e-4  # in float32
TOLERANCE_ELSEWHERE = 5e-2


class Padding(NamedTuple):
    """Whether rows of different lengths may share a batch."""

    right: bool
    """In scoring."""
    left: bool
    """In decoding."""


def probe(model: Any, vocabulary: int, max_length: int, device: torch.device, root: RootCache = EMPTY) -> Padding:
    """Return what padding `model` bears, from a short row's logits alone and beside a longer one, after `root`."""
    if max_length <= LONG:
        return Padding(right=False, left=False)
    drawn = torch.randint(vocabulary, (LONG,), generator=torch.Generator().manual_seed(1))
    long, short = drawn.to(device), drawn[-SHORT:].to(device)
    empty, ones = torch.zeros(LONG - SHORT, dtype=torch.long, device=device), torch.ones_like(long)
    exact = next(model.parameters()).dtype == torch.float32
    share = TOLERANCE if exact else TOLERANCE_ELSEWHERE
    # Beyond the first step of decoding, a tie that another rounding breaks would look like a wrong answer.
    steps = 2 if exact else 1
    with torch.inference_mode():
        alone = root.forward(model, short[None]).logits[0]
        beside = root.forward(model, torch.stack([torch.cat([short, empty]), long])).logits[0, :SHORT]
        by_itself = _next(model, short[None], ones[None, :SHORT], steps, root)
        rows, mask = torch.stack([torch.cat([empty, short]), long]), torch.stack([ones, ones])
        mask[0, : LONG - SHORT] = 0
        among = _next(model, rows, mask, steps, root)
    return Padding(right=_equal(alone, beside, share), left=_equal(by_itself[0], among[0], share))


def _next(model: Any, ids: torch.Tensor, mask: torch.Tensor, steps: int, root: RootCache) -> torch.Tensor:
    """Return the logits (rows, steps, V) that the first steps of decoding see."""
    how = GenerationConfig(max_new_tokens=steps, min_new_tokens=steps, do_sample=False, pad_token_id=0, use_cache=True)
    how.output_logits, how.return_dict_in_generate = True, True
    found = model.generate(**root.prompts(ids, mask), generation_config=how)
    return torch.stack(list(found.logits), 1)


def _equal(one: torch.Tensor, other: torch.Tensor, share: float) -> bool:
    scale = max(1.0, float(one.abs().max()))
    return float((one.float() - other.float()).abs().max()) <= share * scale
