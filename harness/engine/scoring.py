"""Log-likelihoods: continuations scored after their contexts, over the packs of their prefix tree or in plain batches.

`packed` feeds every token of the tree once. `plan` and `score` are the plain walk, right-padded batches of bounded
tokens: correct for every causal architecture, and the reference the others are held against. There, requests that feed
the same tokens (the letters A to D after one question) share a row, and only columns in which some row is scored meet
the vocabulary. No attention mask is needed: in a causal model nothing to the right of a token reaches it.

Not here: text, tokenizers, the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from harness.checkpoints.root_cache import EMPTY, RootCache
from harness.engine.packing import packs, tree
from harness.engine.requests import LogLikelihood, Pair
from harness.errors import HarnessError

MAX_CELLS = 2048
"""Rows times scored columns that meet the vocabulary at once: of 150,000 words in float32, 1.2 GiB."""


class Row(NamedTuple):
    """Tokens to feed, and the requests (by index) that read a continuation of that many tokens off their end."""

    tokens: tuple[int, ...]
    readers: tuple[int, ...]


Batch = list[Row]


def fed(pairs: Sequence[Pair], max_length: int) -> list[list[int]]:
    """Return the tokens that each pair feeds: all but the last, and no more than the context takes.

    A pair longer than the context loses tokens on its left, as in lm-eval. Raises HarnessError on a continuation that
    alone is longer than the context.
    """
    for pair in pairs:
        if len(pair.continuation) > max_length:
            raise HarnessError(
                f"a continuation of {len(pair.continuation):,} tokens does not fit the context of {max_length:,}: "
                "set max_length= if the model can take more"
            )
    return [(pair.context + pair.continuation)[-(max_length + 1) : -1] for pair in pairs]


def grow(pairs: Sequence[Pair], max_length: int) -> tree.Tree:
    """Return the prefix tree of what `pairs` feed; raises as `fed` does."""
    return tree.grow(fed(pairs, max_length), [len(pair.continuation) for pair in pairs])


def packed(
    walker: packs.Walker, planned: Sequence[tree.Pack], pairs: Sequence[Pair], missing: Sequence[bool]
) -> Iterator[tuple[list[tuple[int, LogLikelihood]], int]]:
    """Yield (index, log-likelihood) of the `missing` pairs as the packs they end in are computed, and tokens fed.

    Packs that no missing pair needs are passed over. Raises HarnessError if the model answers NaN.
    """
    starts = np.cumsum([0, *(len(pair.continuation) for pair in pairs)])
    said = np.array([token for pair in pairs for token in pair.continuation], np.int64)
    left, totals, greedy = np.diff(starts), np.zeros(len(pairs)), np.ones(len(pairs), bool)
    for pack, wanted in zip(planned, tree.needed(planned, missing), strict=True):
        if not wanted:
            continue
        logprobs, hits = _read(walker, pack, said[starts[pack.requests] + pack.nth])
        np.add.at(totals, pack.requests, logprobs)
        np.logical_and.at(greedy, pack.requests, hits)
        np.subtract.at(left, pack.requests, 1)
        ended = np.unique(pack.requests[left[pack.requests] == 0]).tolist()
        found = [(i, LogLikelihood(float(totals[i]), bool(greedy[i]))) for i in ended if missing[i]]
        yield found, len(pack.tokens)


def _read(walker: packs.Walker, pack: tree.Pack, said: tree.Ints) -> tuple[Any, Any]:
    """Return the log-probability of each token `said` that the pack's reads ask for, and whether it is likeliest."""
    places, which = packs.distinct(pack)
    logits = walker.run(pack, places)
    if not len(places):
        return np.zeros(0), np.ones(0, bool)
    rows, tokens = (torch.from_numpy(one).to(logits.device) for one in (which, said))
    logprobs = logits.log_softmax(-1)[rows, tokens]
    hits = logits.argmax(-1)[rows] == tokens
    found = torch.stack([logprobs.double(), hits.double()]).cpu().numpy()
    if np.isnan(found[0]).any():
        raise packs.nan_error()
    return found[0], found[1] > 0


def plan(pairs: Sequence[Pair], max_length: int, batch_tokens: int, *, mixed: bool = True) -> list[Batch]:
    """Return batches of rows of at most `batch_tokens` padded tokens each (one row may exceed it), longest first.

    Unless `mixed`, only rows of one length share a batch, so that there is no padding. Raises as `fed` does.
    """
    readers: dict[tuple[int, ...], list[int]] = {}
    for index, tokens in enumerate(fed(pairs, max_length)):
        readers.setdefault(tuple(tokens), []).append(index)
    rows = sorted(
        (Row(tokens, tuple(who)) for tokens, who in readers.items()), key=lambda r: (-len(r.tokens), r.tokens)
    )
    batches: list[Batch] = []
    for row in rows:
        longest = len(batches[-1][0].tokens) if batches else 0
        fits = longest == len(row.tokens) or (mixed and longest > 0)
        if fits and (len(batches[-1]) + 1) * longest <= batch_tokens:
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
    likelihoods, best = logits.log_softmax(-1), logits.argmax(-1)

    cells = [
        (i, column[start + k], token) for i, index, start in scored for k, token in enumerate(pairs[index].continuation)
    ]
    rows, columns, tokens = torch.tensor(cells, device=device).T
    logprobs = likelihoods[rows, columns, tokens].cpu().double()
    hits = (best[rows, columns] == tokens).cpu()
    if logprobs.isnan().any():
        raise packs.nan_error()
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
    with torch.inference_mode():
        if packs.keeps_rows(model):
            logits: torch.Tensor = root.forward(model, ids, logits_to_keep=positions).logits
        else:
            logits = root.forward(model, ids).logits[:, positions]
        return logits.float()
