"""Continuations on the pack walk: continuous batching. Rows leave as they end and make room for waiting ones.

Prompts are read as packs of their prefix tree, each token once, several samples of one prompt included. The rows that a
pack gives wait in its context until there is room in the lanes; the next pack is read when none waits. Room is what
memory allows, by the tokens that rows hold and are expected to grow by, and ends where more rows make a step dearer for
each.

Not here: which token comes next, when a text ends, how lanes lie in memory, the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from harness.engine.decoding.lanes import FEWEST_STEPS, STEPS, Lanes, Need, Room, Row
from harness.engine.decoding.sampling import Chooser, generator
from harness.engine.decoding.stopping import Continuation, Stopper
from harness.engine.packing import packs, tree
from harness.engine.packing.packs import Context
from harness.engine.requests import Prompt


class Step(NamedTuple):
    """Answers that ended, by request, and the work it took."""

    ended: list[tuple[int, Continuation]]
    tokens_fed: int
    """Of prompts."""


class Job(NamedTuple):
    """What is to be continued, by what: prompts of one manner."""

    model: Any
    context: Context
    planned: Sequence[tree.Pack]
    """The packs of what the prompts feed."""
    prompts: Sequence[Prompt]
    fed: Sequence[list[int]]
    """The ids that each prompt feeds."""
    stopper: Stopper
    seed: int
    room: Room


def decode(job: Job, missing: Sequence[bool]) -> Iterator[Step]:
    """Yield the continuations of the `missing` prompts as they end.

    How long they become is only known when they end. Where they outgrow the room there is, some are begun anew later,
    and then with all the room they may ever need. Raises HarnessError if the model answers NaN.
    """
    left, hopes = list(missing), True
    while any(left):
        for step in _Batch(job, left, hopes=hopes).run():
            for request, _ in step.ended:
                left[request] = False
            yield step
        hopes = False


class _Batch:
    """What is left to be answered."""

    def __init__(self, job: Job, missing: Sequence[bool], *, hopes: bool) -> None:
        """Answer what is `missing`; one who `hopes` takes answers to become as long as those before."""
        self._job, self._context, self._missing, self._hopes = job, job.context, list(missing), hopes
        self._chooser = Chooser(job.prompts[0].settings)
        needed = tree.needed(job.planned, missing)
        self._waiting = [pack for pack, wanted in zip(job.planned, needed, strict=True) if wanted]
        keys = list(map(tree.sort_key, job.fed))
        order = sorted(range(len(keys)), key=keys.__getitem__)
        self._ranks = {request: rank for rank, request in enumerate(order)}
        ids = (np.frombuffer(keys[request], ">u4") for request in order)
        shared = np.array([tree.common(one, other) for one, other in pairwise(ids)], np.int64)
        wanted = [i for i, one in enumerate(missing) if one]
        longest = max(len(job.fed[i]) + job.prompts[i].settings.max_tokens for i in wanted)
        room = job.room._replace(rows=min(job.room.rows, len(wanted)))
        self._lanes = Lanes(job.model, job.context, room, shared, job.context.root_length + longest)
        self._fresh: list[Row] = []  # read, but still in the context
        self._rows: list[Row] = []
        self._ended = self._ended_tokens = 0

    def run(self) -> Iterator[Step]:
        fitting: int | None = None  # how many of the fresh rows fit beside the others; None where that may have changed
        while self._waiting or self._fresh or self._rows:
            ended: list[tuple[int, Continuation]] = []
            tokens = 0
            if self._waiting and not self._fresh and (not self._rows or (fitting is None and self._has_room())):
                tokens = self._read(ended)
                fitting = None
            if fitting is None:
                fitting = self._lanes.fitting(self._needs(self._rows), self._needs(self._fresh))
            if self._is_due(fitting):
                joining = max(fitting, 0 if self._rows else 1)
                self._rows += self._fresh[:joining]
                del self._fresh[:joining]
                self._drop()
                self._lanes.lay(self._rows)
                fitting = None if joining else 0
            if self._rows:
                going_on = self._advance(self._rows, self._lanes.step(self._rows), ended)
                if len(going_on) < len(self._rows):
                    fitting = None
                self._rows = going_on
            if ended or tokens:
                yield Step(ended, tokens)

    def _is_due(self, fitting: int) -> bool:
        """Tell whether rows are to be laid out anew, `fitting` of the fresh ones with them."""
        if not self._rows:
            return bool(self._fresh)
        is_joined_by_all = bool(self._fresh) and fitting == len(self._fresh)
        is_half_empty = 2 * len(self._rows) <= len(self._lanes.rows)
        return is_joined_by_all or is_half_empty or self._lanes.is_full(self._rows)

    def _has_room(self) -> bool:
        """Tell whether there is room for a row of the next pack."""
        first = next((i for i in self._waiting[0].requests if self._missing[i]), None)
        if first is None:  # nothing but what others stand on
            return True
        grown = self._growth(self._job.prompts[first].settings.max_tokens, 0)
        need = Need(self._ranks[first], len(self._job.fed[first]) + grown)
        return self._lanes.fitting(self._needs(self._rows), [need]) > 0

    def _drop(self) -> None:
        """Leave the shortest answers for later as long as memory has no room for the next steps of all."""
        root = self._context.root_length
        while len(self._rows) > 1:
            steps = [min(FEWEST_STEPS, row.most - len(row.answer)) for row in self._rows]
            needs = [Need(r.rank, len(r.places) - root + n) for r, n in zip(self._rows, steps, strict=True)]
            if self._lanes.holds(needs):
                break
            self._rows.remove(min(self._rows, key=lambda row: len(row.answer)))

    def _needs(self, rows: Sequence[Row]) -> list[Need]:
        root = self._context.root_length
        return [Need(r.rank, len(r.places) - root + self._growth(r.most, len(r.answer))) for r in rows]

    def _growth(self, most: int, grown: int) -> int:
        """Return by how many tokens an answer is expected to grow that may have `most`, and has `grown`.

        Answers that end first are short ones, so their mean is believed once as many have ended as go on.
        """
        is_known = self._hopes and self._ended >= max(1, len(self._rows))
        expected = self._ended_tokens // self._ended if is_known else most
        return min(most - grown, max(STEPS, expected - grown))

    def _read(self, ended: list[tuple[int, Continuation]]) -> int:
        """Feed the next pack; note the rows of the missing prompts that end in it, and return its tokens."""
        pack = self._waiting.pop(0)
        places, which = packs.distinct(pack)
        self._context.crop(pack.trunk)
        logits = self._context.feed(pack, places)
        before = self._context.root_length + pack.trunk
        wanted = [k for k, request in enumerate(pack.requests) if self._missing[request]]
        rows = []
        for k in wanted:
            request, place = int(pack.requests[k]), int(pack.rows[k])
            own = np.flatnonzero((np.arange(len(pack.tokens)) <= place) & (place < pack.ends))
            seen = np.concatenate([np.arange(before), before + own])
            asked, ids = self._job.prompts[request], self._job.fed[request]
            most, random = asked.settings.max_tokens, generator(self._job.seed, asked)
            rows.append(Row(request, ids, self._ranks[request], most, random, seen))
            self._job.stopper.watch(request, thinking=asked.thinking)
        if rows:
            self._fresh = self._advance(rows, logits[torch.from_numpy(which[wanted]).to(logits.device)], ended)
        return len(pack.tokens)

    def _advance(self, rows: Sequence[Row], logits: torch.Tensor, ended: list[tuple[int, Continuation]]) -> list[Row]:
        """Give every row its next token; move those that end with it to `ended` and return the others."""
        # What a penalty looks at is only put together where there is one.
        penalised = self._job.prompts[rows[0].request].settings.repetition_penalty != 1.0
        ids = [row.ids for row in rows] if penalised else []
        for row, token in zip(rows, self._chooser.next(logits, ids, [row.random for row in rows]), strict=True):
            row.answer.append(token)
        stops = self._job.stopper.ended([row.request for row in rows], [row.answer for row in rows])
        going_on = []
        for row, stop in zip(rows, stops, strict=True):
            if stop or len(row.answer) >= row.most:
                thinking = self._job.prompts[row.request].thinking
                ended.append((row.request, self._job.stopper.finish(row.answer, thinking=thinking)))
                self._ended += 1
                self._ended_tokens += len(row.answer)
            else:
                going_on.append(row)
        return going_on
