"""Log-likelihoods: continuations scored after their contexts, by packs of their prefix tree or in plain batches.

`packed` feeds every token of the prefix tree once. `plan` and `score` are the plain walk, which feeds whole sequences
in right-padded batches. It is correct for every causal architecture, and the reference for the other walks. In these
batches, requests that feed the same tokens (the letters A to D after one question) share a row. Only columns in which
some row is scored are multiplied by the vocabulary. No attention mask is needed, because in a causal model a token sees
nothing to its right.

Not here: text, tokenizers, the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from harness.checkpoints.chatglm.positions import SpecialIds
from harness.checkpoints.root_cache import EMPTY, RootCache
from harness.checkpoints.types import Model
from harness.engine.packing import contexts, packs, tree
from harness.engine.requests import LogLikelihood, Pair, cut
from harness.errors import HarnessError

MAX_CELLS = 2048
"""Most rows × scored columns to multiply by the vocabulary at once: 1.2 GB of float32 for 150,000 vocabulary tokens."""


class Row(NamedTuple):
    """Tokens to feed in one row of a batch."""

    tokens: tuple[int, ...]
    requests: tuple[int, ...]
    """Requests (by index) whose continuation is scored at the end of this row."""


Batch = list[Row]


def fed_tokens(pairs: Sequence[Pair], max_length: int) -> list[list[int]]:
    """Return the tokens that each pair feeds: all except the last one, and at most `max_length`.

    A pair longer than the context loses tokens on its left, as in lm-eval. Raises HarnessError if a continuation alone
    is longer than the context.
    """
    for pair in pairs:
        if len(pair.continuation) > max_length:
            raise HarnessError(
                f"a continuation of {len(pair.continuation):,} tokens does not fit into the context of "
                f"{max_length:,}: set max_length= if the model supports more"
            )
    return [
        cut(
            pair.context + pair.continuation,
            max_length + 1,
            pair.lead if pair.lead + len(pair.continuation) <= max_length else 0,
        )[:-1]
        for pair in pairs
    ]


def grow(pairs: Sequence[Pair], max_length: int, marks: SpecialIds | None = None) -> tree.Tree:
    """Return the prefix tree of the tokens that `pairs` feed; `marks` end contexts that cannot be divided.

    Raises HarnessError as `fed_tokens` and `contexts.lengths` do.
    """
    fed = fed_tokens(pairs, max_length)
    return tree.grow(fed, [len(pair.continuation) for pair in pairs], contexts.lengths(fed, marks))


def packed(
    walker: packs.Walker, planned: Sequence[tree.Pack], pairs: Sequence[Pair], missing: Sequence[bool]
) -> Iterator[tuple[list[tuple[int, LogLikelihood]], int]]:
    """Yield, for each computed pack, the answers to the `missing` pairs that end in it, and its number of tokens.

    An answer is (index of the pair, log-likelihood). Packs that no missing pair needs are skipped. Raises HarnessError
    if the model's logits are NaN.
    """
    starts = np.cumsum([0, *(len(pair.continuation) for pair in pairs)])
    targets = np.array([token for pair in pairs for token in pair.continuation], np.int64)
    remaining, totals, greedy = np.diff(starts), np.zeros(len(pairs)), np.ones(len(pairs), bool)
    for pack, is_needed in zip(planned, tree.needed(planned, missing), strict=True):
        if not is_needed:
            continue
        logprobs, hits = _read(walker, pack, targets[starts[pack.requests] + pack.nth])
        np.add.at(totals, pack.requests, logprobs)
        np.logical_and.at(greedy, pack.requests, hits)
        np.subtract.at(remaining, pack.requests, 1)
        ended = np.unique(pack.requests[remaining[pack.requests] == 0]).tolist()
        answers = [(i, LogLikelihood(float(totals[i]), bool(greedy[i]))) for i in ended if missing[i]]
        yield answers, len(pack.tokens)


def _read(walker: packs.Walker, pack: tree.Pack, targets: tree.Ints) -> tuple[Any, Any]:
    """Return for each read of `pack` the log-probability of its target token, and whether it is the likeliest token."""
    places, place_index = packs.distinct_reads(pack)
    logits = walker.run(pack, places)
    if not len(places):
        return np.zeros(0), np.ones(0, bool)
    rows, tokens = (torch.from_numpy(values).to(logits.device) for values in (place_index, targets))
    logprobs = logits.log_softmax(-1)[rows, tokens]
    hits = logits.argmax(-1)[rows] == tokens
    result = torch.stack([logprobs.double(), hits.double()]).cpu().numpy()
    if np.isnan(result[0]).any():
        raise packs.nan_error()
    return result[0], result[1] > 0


def plan(pairs: Sequence[Pair], max_length: int, batch_tokens: int, *, mixed: bool = True) -> list[Batch]:
    """Return batches of at most `batch_tokens` padded tokens each (a single row may exceed it), longest rows first.

    Unless `mixed`, only rows of one length share a batch, so that there is no padding. Raises HarnessError as
    `fed_tokens` does.
    """
    requests: dict[tuple[int, ...], list[int]] = {}
    for index, tokens in enumerate(fed_tokens(pairs, max_length)):
        requests.setdefault(tuple(tokens), []).append(index)
    rows = sorted(
        (Row(tokens, tuple(indices)) for tokens, indices in requests.items()),
        key=lambda row: (-len(row.tokens), row.tokens),
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
    model: Model, batch: Batch, pairs: Sequence[Pair], device: torch.device, root: RootCache = EMPTY
) -> Iterator[tuple[int, LogLikelihood]]:
    """Yield (index, log-likelihood) for every request of `batch`; each row starts from `root`.

    Raises HarnessError if the model's logits are NaN.
    """
    # The columns in which any row is scored; rows of one batch have similar lengths, so these are few.
    spans = [(len(row.tokens) - len(pairs[i].continuation), len(row.tokens)) for row in batch for i in row.requests]
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
        for index in row.requests
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
    begin = 0
    for _, index, _ in scored:
        end = begin + len(pairs[index].continuation)
        yield index, LogLikelihood(float(logprobs[begin:end].sum()), bool(hits[begin:end].all()))
        begin = end


def tokens_fed(batch: Batch) -> int:
    """Return how many tokens of `batch` go through the model, excluding padding."""
    return sum(len(row.tokens) for row in batch)


def _logits(model: Model, ids: torch.Tensor, positions: torch.Tensor, root: RootCache) -> torch.Tensor:
    """Return float32 logits (B, len(positions), V) of ids (B, T) at `positions`."""
    with torch.inference_mode():
        if packs.can_select_rows(model):
            logits: torch.Tensor = root.forward(model, ids, logits_to_keep=positions).logits
        else:
            logits = root.forward(model, ids).logits[:, positions]
        return logits.float()
