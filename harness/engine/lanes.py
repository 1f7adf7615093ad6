"""Continuations on the pack walk: rows that decode side by side, leave as they end and make room for waiting ones.

Prompts are read as packs of their prefix tree, each token once, several samples of one prompt included. Then every row
is given a place in a *lane*: one row of the batch that holds the prefix shared by some answers once, and after it the
keys and values of each of them, told apart by the mask. With a lane for each answer, a shared prefix is read once for
each; with one for all, every answer has to look past the tokens of all others. How many share a lane is what `per_lane`
finds cheapest for the rows at hand. When enough rows have ended, waiting prompts are read and lanes laid out anew.

Not here: which token comes next, when a text ends, the journal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import Cache

from harness.engine import packs, tree
from harness.engine.packs import Context, Layer
from harness.engine.sampling import Chooser, Prompt, generator
from harness.engine.stopping import Continuation, Stopper

READ_COST = 40
"""What reading one cached token costs, in terms of one token's attending to it: memory is slower than arithmetic."""
STEPS = 32
"""Steps after which lanes are laid out anew at the latest, which drops what ended rows left behind."""


Buffers = list[tuple[torch.Tensor, ...]]
"""Flat memory of each layer's keys and values."""


@dataclass(eq=False, slots=True)
class Row:
    """One answer in the making."""

    request: int
    prompt: list[int]
    most: int
    """Tokens its answer may have."""
    random: torch.Generator | None
    store: list[tuple[torch.Tensor, torch.Tensor]]
    """Keys and values (B, heads, places, size) of every layer, among them this row's."""
    lane: int
    """Where in B."""
    places: tree.Ints
    """Its places there, root cache first, then prompt and answer."""
    answer: list[int] = field(default_factory=list)

    @property
    def ids(self) -> list[int]:
        """Prompt and answer."""
        return [*self.prompt, *self.answer]


class Step(NamedTuple):
    """Answers that ended, by request, and the work it took."""

    ended: list[tuple[int, Continuation]]
    tokens_fed: int
    """Of prompts."""


def decode(
    model: Any,
    context: Context,
    planned: Sequence[tree.Pack],
    prompts: Sequence[Prompt],
    fed: Sequence[list[int]],
    missing: Sequence[bool],
    stopper: Stopper,
    seed: int,
    most: int,
) -> Iterator[Step]:
    """Yield the continuations of the `missing` prompts, all of one manner, as they end.

    `planned` are the packs of what the prompts feed, `fed`; at most `most` rows decode side by side, or as many as end
    in one pack. Raises HarnessError if the model answers NaN.
    """
    chooser = Chooser(prompts[0].settings)
    waiting = [pack for pack, wanted in zip(planned, tree.needed(planned, missing), strict=True) if wanted]
    rows: list[Row] = []
    lanes: Lanes | None = None
    spare: Buffers | None = None
    while waiting or rows:
        ended: list[tuple[int, Continuation]] = []
        new: list[Row] = []
        tokens = 0
        if waiting and (not rows or len(rows) + sum(missing[i] for i in waiting[0].requests) <= most):
            pack = waiting.pop(0)
            fresh, logits = _read(context, pack, prompts, fed, missing, seed)
            tokens = len(pack.tokens)
            for row in fresh:
                stopper.watch(row.request, thinking=prompts[row.request].thinking)
            new = _advance(fresh, logits, chooser, stopper, prompts, ended)
            rows = [*rows, *new]
        if rows:
            # New rows still live in the context, until another pack is fed.
            if new or lanes is None or lanes.is_full or 2 * len(rows) <= len(lanes.rows):
                before, lanes = lanes, Lanes(model, context, rows, spare)
                spare = before.buffers if before else None
            rows = _advance(rows, lanes.step(rows), chooser, stopper, prompts, ended)
        if ended or tokens:
            yield Step(ended, tokens)


def _read(
    context: Context,
    pack: tree.Pack,
    prompts: Sequence[Prompt],
    fed: Sequence[list[int]],
    missing: Sequence[bool],
    seed: int,
) -> tuple[list[Row], torch.Tensor]:
    """Feed `pack`; return the rows of the missing prompts that end in it, and the logits (rows, V) after each."""
    places, which = packs.distinct(pack)
    context.crop(pack.trunk)
    logits = context.feed(pack, places)
    before = context.root_length + pack.trunk
    wanted = [k for k, request in enumerate(pack.requests) if missing[request]]
    store = context.held()
    rows = []
    for k in wanted:
        request, place = int(pack.requests[k]), int(pack.rows[k])
        own = np.flatnonzero((np.arange(len(pack.tokens)) <= place) & (place < pack.ends))
        seen = np.concatenate([np.arange(before), before + own])
        asked = prompts[request]
        most, random = asked.settings.max_tokens, generator(seed, asked)
        rows.append(Row(request, fed[request], most, random, store, 0, seen))
    context.crop(pack.trunk + pack.keep)
    return rows, logits[torch.from_numpy(which[wanted]).to(logits.device)]


def _advance(
    rows: list[Row],
    logits: torch.Tensor,
    chooser: Chooser,
    stopper: Stopper,
    prompts: Sequence[Prompt],
    ended: list[tuple[int, Continuation]],
) -> list[Row]:
    """Give every row its next token; move those that end with it to `ended` and return the others."""
    if not rows:
        return []
    # What a penalty looks at is only put together where there is one.
    ids = [row.ids for row in rows] if prompts[rows[0].request].settings.repetition_penalty != 1.0 else []
    for row, token in zip(rows, chooser.next(logits, ids, [row.random for row in rows]), strict=True):
        row.answer.append(token)
    stops = stopper.ended([row.request for row in rows], [row.answer for row in rows])
    going_on = []
    for row, stop in zip(rows, stops, strict=True):
        asked = prompts[row.request]
        if stop or len(row.answer) >= row.most:
            ended.append((row.request, stopper.finish(row.answer, thinking=asked.thinking)))
        else:
            going_on.append(row)
    return going_on


class Lanes:
    """Rows laid out in lanes, until they are laid out anew."""

    def __init__(self, model: Any, context: Context, rows: list[Row], spare: Buffers | None = None) -> None:
        """Copy what `rows` hold into new lanes, of `spare` memory where that is enough; neighbours share a lane."""
        self._model, self._context = model, context
        rows.sort(key=lambda row: row.prompt)  # so that neighbours share most
        self.rows = list(rows)
        shared = [_common(one.prompt, other.prompt) for one, other in pairwise(rows)]
        held = [len(row.places) - context.root_length for row in rows]
        self._width = per_lane(shared, held)
        groups = [rows[i : i + self._width] for i in range(0, len(rows), self._width)]
        self._steps = min(STEPS, max(row.most - len(row.answer) for row in rows))
        plan = _Copies()
        for lane, group in enumerate(groups):
            at = self._width * lane
            trunk = min([held[at], *shared[at : at + len(group) - 1]]) + context.root_length
            if len(group) == 1:
                trunk = len(group[0].places)
            plan.lay(lane, group, trunk)
        self._length = plan.longest
        room = self._length + self._width * self._steps
        self._cache, self.buffers = plan.carry_out(len(groups), self._length, room, spare)
        device = context.device
        self._seen = torch.zeros(len(groups), self._width, room, dtype=torch.bool, device=device)
        self._spots = torch.zeros(len(groups), room, dtype=torch.long, device=device)
        queries = [(lane, i, row) for lane, group in enumerate(groups) for i, row in enumerate(group)]
        seen = np.zeros((len(groups), self._width, self._length), bool)
        spots = np.zeros((len(groups), self._length), np.int64)
        for lane, i, row in queries:
            seen[lane, i, row.places] = True
            spots[lane, row.places] = np.arange(len(row.places))
        self._seen[:, :, : self._length] = torch.from_numpy(seen).to(device)
        self._spots[:, : self._length] = torch.from_numpy(spots).to(device)
        self._query = {id(row): lane * self._width + i for lane, i, row in queries}

    @property
    def is_full(self) -> bool:
        """No step is left."""
        return self._steps == 0

    def step(self, rows: Sequence[Row]) -> torch.Tensor:
        """Feed the last token of each of `rows` and return the float32 logits (len(rows), V) after it."""
        lanes, width, device = len(self._spots), self._width, self._context.device
        queries = [self._query[id(row)] for row in rows]
        ids, spots = np.zeros(lanes * width, np.int64), np.zeros(lanes * width, np.int64)
        ids[queries] = [row.answer[-1] for row in rows]
        spots[queries] = [len(row.places) for row in rows]
        begin, end = self._length, self._length + width
        own = torch.from_numpy(spots.reshape(lanes, width)).to(device)
        self._spots[:, begin:end] = own
        self._seen[:, :, begin:end] = torch.eye(width, dtype=torch.bool, device=device)
        mask = packs.masks(self._context.layout, self._seen[:, :, :end], self._spots[:, :end], own, self._context.dtype)
        fed = torch.from_numpy(ids.reshape(lanes, width)).to(device)
        everything = torch.arange(width, device=device)
        logits = packs.forward(self._model, fed, everything, mask, own - self._context.lag, self._cache)
        for row, query in zip(rows, queries, strict=True):
            row.places = np.append(row.places, begin + query % width)
        self._length, self._steps = end, self._steps - 1
        return logits.reshape(lanes * width, -1)[torch.tensor(queries, device=device)]


class _Copies:
    """Which places of which stores go where in new lanes."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._moves: dict[int, list[tuple[int, tree.Ints, int, tree.Ints]]] = {}
        self._stores: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        self._ends: list[int] = []

    @property
    def longest(self) -> int:
        """Tokens of the fullest lane."""
        return max(self._ends)

    def lay(self, lane: int, group: Sequence[Row], trunk: int) -> None:
        """Put the `trunk` places that `group` shares at the front of `lane`, and what each has of its own behind."""
        end = trunk
        self._move(group[0], lane, np.arange(trunk), group[0].places[:trunk])
        for row in group:
            own = row.places[trunk:]
            target = np.arange(end, end + len(own))
            self._move(row, lane, target, own)
            row.places = np.concatenate([np.arange(trunk), target])
            self._rows.append(row)
            end += len(own)
        for row in group:
            row.lane = lane
        self._ends.append(end)

    def carry_out(self, lanes: int, length: int, room: int, spare: Buffers | None) -> tuple[Cache, Buffers]:
        """Return a cache of `lanes` with room for `room` tokens, `length` of them there, which the rows now live in.

        Memory that was touched before is several times faster than new memory, hence `spare`, and what is returned to
        become it.
        """
        first = next(iter(self._stores.values()))
        index = {
            key: tuple(torch.from_numpy(np.concatenate(one)) for one in zip(*map(_spread, moves), strict=True))
            for key, moves in self._moves.items()
        }
        cache, buffers = Cache(layer_class_to_replicate=Layer), []
        for number, pair in enumerate(first):
            shapes = [(lanes, one.shape[1], room, one.shape[3]) for one in pair]
            held = spare[number] if spare else (None, None)
            flat = tuple(_enough(b, one, math.prod(s)) for b, one, s in zip(held, pair, shapes, strict=True))
            layer = Layer()
            layer.keys, layer.values = (b[: math.prod(s)].view(s) for b, s in zip(flat, shapes, strict=True))
            layer.is_initialized, layer.length = True, length
            for new in (layer.keys, layer.values):
                for lane, end in enumerate(self._ends):
                    new[lane, :, end:length] = 0  # even what no row sees is multiplied by its weight of 0
            for key, (to_lane, to, from_lane, source) in index.items():
                for new, old in zip((layer.keys, layer.values), self._stores[key][number], strict=True):
                    new[to_lane, :, to] = old[from_lane, :, source]
            cache.layers.append(layer)
            buffers.append(flat)
        store = [(layer.keys, layer.values) for layer in cache.layers]
        for row in self._rows:
            row.store = store
        return cache, buffers

    def _move(self, row: Row, lane: int, target: tree.Ints, source: tree.Ints) -> None:
        self._stores[id(row.store)] = row.store
        self._moves.setdefault(id(row.store), []).append((lane, target, row.lane, source))


def _enough(held: torch.Tensor | None, like: torch.Tensor, numbers: int) -> torch.Tensor:
    """Return flat memory for as many numbers like those of `like`, `held` where it is enough."""
    return held if held is not None and len(held) >= numbers else like.new_empty(numbers * 9 // 8)


def _spread(move: tuple[int, tree.Ints, int, tree.Ints]) -> tuple[tree.Ints, tree.Ints, tree.Ints, tree.Ints]:
    lane, target, old, source = move
    return np.full(len(target), lane), target, np.full(len(source), old), source


def _common(one: list[int], other: list[int]) -> int:
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))


def per_lane(shared: Sequence[int], held: Sequence[int]) -> int:
    """Return how many neighbouring rows should share a lane.

    `held` are the tokens each row holds, `shared[i]` how many of them rows i and i + 1 have in common. A step reads
    what every lane holds once, and each of its rows attends to all of it: lanes × longest × (READ_COST + rows a lane).
    """
    best, lowest = 1, float("inf")
    width = 1
    while True:
        longest = 0
        lanes = range(0, len(held), width)
        for at in lanes:
            group = held[at : at + width]
            trunk = min([*shared[at : at + len(group) - 1], *group])
            longest = max(longest, trunk + sum(one - trunk for one in group))
        cost = len(lanes) * longest * (READ_COST + width)
        if cost < lowest:
            best, lowest = width, cost
        if width >= len(held):
            return best
        width = min(2 * width, len(held))
