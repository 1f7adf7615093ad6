"""Continuations on the pack walk by continuous batching: finished rows (answers) make room for waiting ones.

Prompts are read as packs (one forward pass each) of their prefix tree, each token once, even for several samples of one
prompt. The rows that a pack starts wait in the context (the cache with which prompts are read). They leave it when the
lanes, in which rows are decoded, have room. The next pack is read when no row waits. Room is limited by memory, counted
in the tokens that rows hold and are expected to grow by. It is also limited by cost, because more rows must not make a
step more expensive for each row.

Not here: which token comes next, when a text ends, how lanes are arranged in memory, the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress, pairwise
from typing import NamedTuple

import numpy as np
import torch

from harness.checkpoints.types import Model
from harness.engine.decoding.drafts import Drafter
from harness.engine.decoding.lanes import MIN_STEPS, STEPS, LaneBudget, Lanes, Reservation, Row
from harness.engine.decoding.sampling import Chooser, generator
from harness.engine.decoding.stopping import Continuation, Stopper
from harness.engine.packing import packs, tree
from harness.engine.packing.packs import Context
from harness.engine.requests import Prompt

JOINING = 8
"""If only some rows of a pack fit, they join only if there is at least one for every `JOINING` running rows. Joining
moves the states of all running rows."""


class Step(NamedTuple):
    """Answers that ended in one decoding step, and the prompts read for it."""

    ended: list[tuple[int, Continuation]]
    """(index of the request, its continuation) for each answer that ended."""
    tokens_fed: int
    """Tokens of prompts that went through the model."""


class PromptGroup(NamedTuple):
    """Prompts that share a `Settings.batch_key`, and everything that is needed to decode them."""

    model: Model
    context: Context
    planned: Sequence[tree.Pack]
    """Packs of the tokens that the prompts feed."""
    prompts: Sequence[Prompt]
    fed: Sequence[list[int]]
    """Token ids that each prompt feeds."""
    stopper: Stopper
    seed: int
    budget: LaneBudget


def decode(group: PromptGroup, missing: Sequence[bool]) -> Iterator[Step]:
    """Yield the continuations of the `missing` prompts as they end.

    How long answers become is only known when they end. If running answers outgrow memory, some are dropped and started
    again later, with room for the longest answer that they may have. Raises HarnessError if the model's logits are NaN.
    """
    remaining, is_optimistic = list(missing), True
    while any(remaining):
        for step in _Decoder(group, remaining, is_optimistic=is_optimistic).run():
            for request, _ in step.ended:
                remaining[request] = False
            yield step
        is_optimistic = False


class _Decoder:
    """Decodes the missing prompts of a group, except for answers that are dropped because they outgrow memory."""

    def __init__(self, group: PromptGroup, missing: Sequence[bool], *, is_optimistic: bool) -> None:
        """Decode the `missing` prompts; with `is_optimistic`, expect answers to become as long as earlier ones."""
        self._group, self._context = group, group.context
        self._missing, self._is_optimistic = list(missing), is_optimistic
        self._chooser = Chooser(group.prompts[0].settings)
        needed = tree.needed(group.planned, missing)
        self._waiting = [pack for pack, is_needed in zip(group.planned, needed, strict=True) if is_needed]
        keys = list(map(tree.sort_key, group.fed))
        order = sorted(range(len(keys)), key=keys.__getitem__)
        self._ranks = {request: rank for rank, request in enumerate(order)}
        ids = (np.frombuffer(keys[request], ">u4") for request in order)
        shared = np.array([tree.common_prefix(first, second) for first, second in pairwise(ids)], np.int64)
        indices = [i for i, is_missing in enumerate(missing) if is_missing]
        longest = max(len(group.fed[i]) + group.prompts[i].settings.max_tokens for i in indices)
        budget = group.budget._replace(rows=min(group.budget.rows, len(indices)))
        self._lanes = Lanes(group.model, group.context, budget, shared, group.context.root_length + longest)
        self._fresh: list[Row] = []  # prompts that are read, but still in the context
        self._rows: list[Row] = []
        self._ended = self._ended_tokens = 0

    def run(self) -> Iterator[Step]:
        """Yield steps in which answers ended or prompts were read, until no row is left."""
        fitting: int | None = None  # how many fresh rows fit beside the others; None if that may have changed
        while self._waiting or self._fresh or self._rows:
            if self._rows:
                self._lanes.close_gaps(self._rows)
            ended: list[tuple[int, Continuation]] = []
            tokens = 0
            if not self._fresh and (not self._rows or fitting is None):
                tokens = self._read_on(ended)
                fitting = None
                if ended and not self._fresh and self._waiting:  # all ended with their first token: read on
                    yield Step(ended, tokens)
                    continue
            if fitting is None:
                fitting = self._lanes.count_fitting(self._reservations(self._rows), self._reservations(self._fresh))
            if self._must_lay_out(fitting):
                joining = max(fitting, 0 if self._rows else 1)
                self._rows += self._fresh[:joining]
                del self._fresh[:joining]
                self._drop()
                self._lanes.lay_out(self._rows)
                fitting = None if joining else 0
            if self._rows:
                running = self._step(ended)
                if len(running) < len(self._rows):
                    fitting = None
                self._rows = running
            if ended or tokens:
                yield Step(ended, tokens)

    def _read_on(self, ended: list[tuple[int, Continuation]]) -> int:
        """Feed waiting packs until one starts rows, while there is room for a row; return the number of tokens fed.

        A long prompt that shares nothing with others is several packs, and only the last of these starts a row.
        """
        tokens = 0
        while self._waiting and not self._fresh and not ended and (not self._rows or self._has_room()):
            tokens += self._read(ended)
        return tokens

    def _must_lay_out(self, fitting: int) -> bool:
        """Return whether the lanes have to be arranged anew; `fitting` of the fresh rows fit and would be added."""
        if not self._rows:
            return bool(self._fresh)
        joins = fitting > 0 and (fitting == len(self._fresh) or fitting * JOINING >= len(self._rows))
        is_half_empty = 2 * len(self._rows) <= self._lanes.slots
        return joins or is_half_empty or self._lanes.is_full(self._rows)

    def _has_room(self) -> bool:
        """Return whether there is room for a row of the next pack."""
        first = next((i for i in self._waiting[0].requests if self._missing[i]), None)
        if first is None:  # the pack only holds what other packs continue
            return True
        growth = self._expected_growth(self._group.prompts[first].settings.max_tokens, 0)
        reservation = Reservation(self._ranks[first], len(self._group.fed[first]) + growth)
        return self._lanes.count_fitting(self._reservations(self._rows), [reservation]) > 0

    def _drop(self) -> None:
        """Drop the shortest answers until memory has room for the next steps of all others; they start again later."""
        root = self._context.root_length
        while len(self._rows) > 1:
            steps = min(MIN_STEPS, max(row.max_tokens - len(row.answer) for row in self._rows))
            reservations = [Reservation(row.rank, len(row.places) - root + steps) for row in self._rows]
            if self._lanes.has_memory_for(reservations):
                break
            self._rows.remove(min(self._rows, key=lambda row: len(row.answer)))

    def _reservations(self, rows: Sequence[Row]) -> list[Reservation]:
        root = self._context.root_length
        return [
            Reservation(row.rank, len(row.places) - root + self._expected_growth(row.max_tokens, len(row.answer)))
            for row in rows
        ]

    def _expected_growth(self, max_tokens: int, length: int) -> int:
        """Return how many more tokens to reserve for an answer of `length` tokens, at most `max_tokens`.

        The first answers to end are short, so the mean length of ended answers is used only once as many have ended as
        are running. Room for the next `MIN_STEPS` tokens is added, since every row gets it when lanes are arranged.
        """
        is_known = self._is_optimistic and self._ended >= max(1, len(self._rows))
        expected = self._ended_tokens // self._ended if is_known else max_tokens
        return min(max_tokens - length, max(STEPS, expected - length)) + MIN_STEPS

    def _read(self, ended: list[tuple[int, Continuation]]) -> int:
        """Feed the next pack, start the rows of missing prompts that end in it, and return the pack's tokens."""
        pack = self._waiting.pop(0)
        places, place_index = packs.distinct_reads(pack)
        self._context.crop(pack.trunk)
        logits = self._context.feed(pack, places)
        before = self._context.root_length + pack.trunk
        reads = [k for k, request in enumerate(pack.requests) if self._missing[request]]
        rows = []
        for k in reads:
            request, place = int(pack.requests[k]), int(pack.rows[k])
            visible = np.flatnonzero((np.arange(len(pack.tokens)) <= place) & (place < pack.ends))
            cache_places = np.concatenate([np.arange(before), before + visible])
            prompt = self._group.prompts[request]
            rows.append(
                Row(
                    request,
                    self._group.fed[request],
                    self._ranks[request],
                    prompt.settings.max_tokens,
                    generator(self._group.seed, prompt),
                    cache_places,
                    Drafter(self._group.fed[request], prompt.settings.max_tokens),
                )
            )
            self._group.stopper.watch(request, thinking=prompt.thinking)
        if rows:
            first = logits[torch.from_numpy(place_index[reads]).to(logits.device)]
            self._fresh = list(compress(rows, self._append(rows, first, ended)))
        return len(pack.tokens)

    def _step(self, ended: list[tuple[int, Continuation]]) -> list[Row]:
        """Append to each row its next token and as many more as its draft guessed right; return the rows that go on.

        The answers of rows that end are added to `ended`.
        """
        rows = self._rows
        limit = self._lanes.longest_draft(rows)
        drafts = [row.drafter.draft(row.answer, min(limit, row.max_tokens - len(row.answer) - 1)) for row in rows]
        logits = self._lanes.step(rows, drafts)
        counts, is_running = [0] * len(rows), [True] * len(rows)
        checked = list(range(len(rows)))
        while checked:
            nth = counts[checked[0]]
            following = logits[:, nth] if len(checked) == len(rows) else logits[checked, nth]
            running = self._append([rows[i] for i in checked], following, ended)
            for i, runs in zip(checked, running, strict=True):
                counts[i], is_running[i] = nth + 1, runs
            checked = [i for i in checked if is_running[i] and drafts[i][nth : nth + 1] == rows[i].answer[-1:]]
        self._lanes.keep(rows, counts)
        for row, draft, count in zip(rows, drafts, counts, strict=True):
            row.drafter.learn(len(draft), count - 1)
        return list(compress(rows, is_running))

    def _append(self, rows: Sequence[Row], logits: torch.Tensor, ended: list[tuple[int, Continuation]]) -> list[bool]:
        """Append the next token to each of `rows`, and return for each row whether it goes on.

        The answers of the other rows are added to `ended`.
        """
        # Prompts and answers are only joined if a penalty reads them.
        has_penalty = self._group.prompts[rows[0].request].settings.repetition_penalty != 1.0
        ids = [row.ids for row in rows] if has_penalty else []
        for row, token in zip(rows, self._chooser.next(logits, ids, [row.generator for row in rows]), strict=True):
            row.answer.append(token)
        stops = self._group.stopper.ended([row.request for row in rows], [row.answer for row in rows])
        running = []
        for row, stop in zip(rows, stops, strict=True):
            running.append(not stop and len(row.answer) < row.max_tokens)
            if not running[-1]:
                thinking = self._group.prompts[row.request].thinking
                ended.append((row.request, self._group.stopper.finish(row.answer, thinking=thinking, ended=stop)))
                self._ended += 1
                self._ended_tokens += len(row.answer)
        return running
