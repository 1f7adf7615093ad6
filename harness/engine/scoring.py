"""Log-likelihoods: continuations scored after their contexts, in right-padded batches of bounded tokens.

This is the plain walk: correct for every causal architecture, and the reference the others are held against. Requests
that feed the same tokens (the letters A to D after one question) share a row, and only columns in which some row is
scored meet the vocabulary. No attention mask is needed: in a causal model nothing to the right of a token reaches it.

Not here: text, tokenizers, the journal.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from harness.checkpoints.prompts import EMPTY, RootCache
from harness.engine.encoding import Pair
from harness.errors import HarnessError

MAX_CELLS = 2048
"""Rows times scored columns that meet the vocabulary at once: of 150,000 words in float32, 1.2 GiB."""


class LogLikelihood(NamedTuple):
    """The summed natural log-probability of a continuation, and whether greedy decoding would have said it."""

    logprob: float
    greedy: bool


class Row(NamedTuple):
    """Tokens to feed, and the requests (by index) that read a continuation of that many tokens off their end."""

    tokens: tuple[int, ...]
    readers: tuple[int, ...]


Batch = list[Row]


def plan(pairs: Sequence[Pair], max_length: int, batch_tokens: int) -> list[Batch]:
    """Return batches of rows of at most `batch_tokens` padded tokens each (one row may exceed it), longest first.

    A pair longer than the context loses tokens on its left, as in lm-eval. Raises HarnessError on a continuation that
    alone is longer than the context.
    """
    readers: dict[tuple[int, ...], list[int]] = {}
    for index, pair in enumerate(pairs):
        if len(pair.continuation) > max_length:
            raise HarnessError(
                f"a continuation of {len(pair.continuation):,} tokens does not fit the context of {max_length:,}: "
                "set max_length= if the model can take more"
            )
        fed = (pair.context + pair.continuation)[-(max_length + 1) : -1]
        readers.setdefault(tuple(fed), []).append(index)
    rows = sorted(
        (Row(tokens, tuple(who)) for tokens, who in readers.items()), key=lambda r: (-len(r.tokens), r.tokens)
    )
    batches: list[Batch] = []
    for row in rows:
        if batches and (len(batches[-1]) + 1) * len(batches[-1][0].tokens) <= batch_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def score(
    model: Any, batch: Batch, pairs: Sequence[Pair], device: torch.device, root: RootCache = EMPTY
) -> Iterator[tuple[int, LogLikelihood]]:
    """Yield (index, log-likelihood) for every request that `batch` serves, each row starting from `root`.

    Raises HarnessError if the model answers NaN.
    """
    # The columns that any row is scored at; rows of one batch have similar lengths, so these are few.
    spans = [(len(row.tokens) - len(pairs[i].continuation), len(row.tokens)) for row in batch for i in row.readers]
    positions = sorted({position for start, end in spans for position in range(start, end)})
    if len(batch) > 1 and len(batch) * len(positions) > MAX_CELLS:
        yield from score(model, batch[: len(batch) // 2], pairs, device, root)
        yield from score(model, batch[len(batch) // 2 :], pairs, device, root)
        return
    ids = torch.zeros(len(batch), len(batch[0].tokens), dtype=torch.long)
    for i, row in enumerate(batch):
        ids[i, : len(row.tokens)] = torch.tensor(row.tokens)
    scored = [
        (i, index, len(row.tokens) - len(pairs[index].continuation))
        for i, row in enumerate(batch)
        for index in row.readers
    ]
    column = {position: k for k, position in enumerate(positions)}
    logits = _logits(model, ids.to(device), torch.tensor(positions, device=device), root)
    logsums, best = logits.logsumexp(-1), logits.argmax(-1)

    cells = [
        (i, column[start + k], token) for i, index, start in scored for k, token in enumerate(pairs[index].continuation)
    ]
    rows, columns, tokens = torch.tensor(cells, device=device).T
    logprobs = (logits[rows, columns, tokens] - logsums[rows, columns]).cpu().double()
    hits = (best[rows, columns] == tokens).cpu()
    if bool(logprobs.isnan().any()):
        raise HarnessError(
            "the model answers NaN: its weights are damaged, or overflow in this dtype; try dtype=float32"
        )
    at = 0
    for _, index, _ in scored:
        end = at + len(pairs[index].continuation)
        yield index, LogLikelihood(float(logprobs[at:end].sum()), bool(hits[at:end].all()))
        at = end


def tokens_fed(batch: Batch) -> int:
    """Return the tokens of `batch` that go through the model, padding not counted."""
    return sum(len(row.tokens) for row in batch)


def _logits(model: Any, ids: torch.Tensor, positions: torch.Tensor, root: RootCache) -> torch.Tensor:
    """Return float32 logits (B, len(positions), V) of ids (B, T) at `positions`."""
    own = model.get_base_model() if hasattr(model, "get_base_model") else model  # PEFT's forward takes anything
    keeps = "logits_to_keep" in inspect.signature(own.forward).parameters
    with torch.inference_mode():
        if keeps:
            logits: torch.Tensor = root.forward(model, ids, logits_to_keep=positions).logits
        else:
            logits = root.forward(model, ids).logits[:, positions]
        return logits.float()
