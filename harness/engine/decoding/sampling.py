"""How the next token is chosen from logits.

Greedy decoding takes the argmax. Sampling draws each request's tokens from a generator seeded by (seed, prompt,
sample), so that sampled text depends on neither the batch nor the order. A repetition penalty (Keskar et al. 2019,
CTRL) is applied as in transformers: to every token in prompt and answer, before temperature, top-k and top-p.

Not here: the settings (`harness.engine.decoding.settings`), when a text ends (`harness.engine.decoding.stopping`),
models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from harness.engine.decoding.settings import Settings
from harness.engine.packing.packs import nan_error
from harness.engine.requests import Prompt


class Chooser:
    """Chooses the next token of rows that share a `batch_key`; each row has its own random generator."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        penalty = settings.repetition_penalty
        self._penalty = RepetitionPenaltyLogitsProcessor(penalty) if penalty != 1.0 else None
        self._warpers = LogitsProcessorList()
        if settings.temperature:
            self._warpers.append(TemperatureLogitsWarper(settings.temperature))
        if settings.top_k:
            self._warpers.append(TopKLogitsWarper(settings.top_k))
        if settings.top_p < 1:
            self._warpers.append(TopPLogitsWarper(settings.top_p))

    def next(
        self, logits: torch.Tensor, ids: Sequence[Sequence[int]], generators: Sequence[torch.Generator | None]
    ) -> list[int]:
        """Return the next token of each row of float32 `logits` (R, V).

        `ids` are each row's tokens so far, prompt and answer; only a repetition penalty reads them. Raises
        HarnessError if the logits are NaN.
        """
        if self._penalty is not None:
            rows = [torch.tensor([row_ids], device=logits.device) for row_ids in ids]
            logits = torch.stack(
                [self._penalty(row, row_logits[None])[0] for row, row_logits in zip(rows, logits, strict=True)]
            )
        if not self._settings.temperature:
            highest, best = logits.max(-1)
            if highest.isnan().any():
                raise nan_error()
            return list(best.tolist())
        probabilities = self._warpers(torch.empty(0), logits).softmax(-1).cpu()
        if probabilities[:, 0].isnan().any():
            raise nan_error()
        return [
            int(torch.multinomial(row, 1, generator=generator))
            for row, generator in zip(probabilities, generators, strict=True)
        ]


def generator(seed: int, prompt: Prompt) -> torch.Generator | None:
    """Return the random generator for the answer to `prompt`, or None if the prompt is decoded greedily."""
    if not prompt.settings.temperature:
        return None
    digest = hashlib.sha256(json.dumps([seed, prompt.sample, prompt.ids]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
