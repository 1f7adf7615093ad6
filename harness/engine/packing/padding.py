"""Whether padding changes a model's answers, probed on the loaded model, because no list of architectures is complete.

The probe also compares transformers' `generate()`, by which the plain walk decodes, with a forward pass: `generate()`
chooses positions and prepares inputs by itself.

Scoring pads on the right without a mask, decoding pads on the left with a mask. Both are correct for causal attention,
but not for every recurrent state or two-way attention. If padding a short row to the length of another one changes its
logits, only rows of one length are computed together. This is slower, but gives each row the answer that it has alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from transformers import GenerationConfig

from harness.checkpoints import configs
from harness.checkpoints.chatglm import positions
from harness.checkpoints.root_cache import EMPTY, RootCache
from harness.checkpoints.types import Model

SHORT, LONG = 9, 24
"""Number of tokens in each of the probe's two rows."""


class PaddingSupport(NamedTuple):
    """Whether rows of different lengths may share a batch."""

    right: bool
    """Whether rows of different lengths may share a batch in scoring, which pads on the right."""
    left: bool
    """Whether rows of different lengths may share a batch in decoding, which pads on the left."""
    generates: bool = True
    """Whether the logits of `generate()` are those of a forward pass. True, too, if this was not probed."""


def tolerance(dtype: torch.dtype) -> float:
    """Return by which share of the largest logit the results of equal computations may differ in `dtype`.

    The logits of a wrongly padded row differ by a share of about 1.
    """
    return 1e-4 if dtype == torch.float32 else 5e-2


def probe(
    model: Model, vocabulary: int, max_length: int, device: torch.device, root: RootCache = EMPTY
) -> PaddingSupport:
    """Return which padding `model` supports after `root`: a short row's logits must not change beside a longer row."""
    if max_length <= LONG:
        return PaddingSupport(right=False, left=False)
    token_ids = torch.randint(vocabulary, (LONG,), generator=torch.Generator().manual_seed(1))
    token_ids = positions.with_marks(token_ids, LONG - SHORT // 2, configs.context_marks(model.config))
    long, short = token_ids.to(device), token_ids[-SHORT:].to(device)
    padding, ones = torch.zeros(LONG - SHORT, dtype=torch.long, device=device), torch.ones_like(long)
    dtype = next(model.parameters()).dtype
    # After the first step of decoding, a tie that rounding breaks differently would look like a wrong answer.
    steps = 2 if dtype == torch.float32 else 1
    with torch.inference_mode():
        scored_alone = root.forward(model, short[None]).logits[0]
        scored_padded = root.forward(model, torch.stack([torch.cat([short, padding]), long])).logits[0, :SHORT]
        decoded_alone = _decoding_logits(model, short[None], ones[None, :SHORT], steps, root)
        rows, mask = torch.stack([torch.cat([padding, short]), long]), torch.stack([ones, ones])
        mask[0, : LONG - SHORT] = 0
        decoded_padded = _decoding_logits(model, rows, mask, steps, root)
    share = tolerance(dtype)
    return PaddingSupport(
        right=_are_close(scored_alone, scored_padded, share),
        left=_are_close(decoded_alone[0], decoded_padded[0], share),
        generates=_are_close(scored_alone[-1], decoded_alone[0, 0], share),
    )


def _decoding_logits(model: Model, ids: torch.Tensor, mask: torch.Tensor, steps: int, root: RootCache) -> torch.Tensor:
    """Return the logits (rows, steps, V) of the first `steps` steps of greedy decoding."""
    config = GenerationConfig(
        max_new_tokens=steps, min_new_tokens=steps, do_sample=False, pad_token_id=0, use_cache=True
    )
    config.output_logits, config.return_dict_in_generate = True, True
    output = model.generate(**root.prompts(ids, mask), generation_config=config)
    return torch.stack(list(output.logits), 1)


def _are_close(logits: torch.Tensor, others: torch.Tensor, share: float) -> bool:
    scale = max(1.0, float(logits.abs().max()))
    return float((logits.float() - others.float()).abs().max()) <= share * scale
