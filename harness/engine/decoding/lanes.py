"""The cache of rows that decode side by side: laid out in lanes, stepped, laid out anew.

A *lane* is one row of the batch. It holds the prefix that some answers share once, and after it the keys and values of
each of them, told apart by the mask. With a lane for each answer, a shared prefix is read once for each; with one lane
for all, every answer has to look past the tokens of all others. `arrange` finds the cheapest that memory has room for.
A layout is moved layer by layer: no more than one layer is ever there twice.

Not here: which rows there are, and when they are laid out (`harness.engine.decoding.continuous`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import Cache

from harness.engine.packing import packs, tree
from harness.engine.packing.packs import Context, Layer

STEPS = 32
"""Steps after which lanes are laid out anew at the latest, which drops what ended rows left behind."""
FEWEST_STEPS = 8
"""Those there is always room for: rows that go on grow in any case."""
# What reading one cached token costs, in terms of one token's attending to it: memory is slower than arithmetic.
READ_COST = {"cpu": 10}
READ_COST_ELSEWHERE = 40

AT_ONCE = 1024
"""Tokens that are moved at once, by way of memory of their own."""

Flat = tuple[torch.Tensor, ...]
"""One layer's memory for keys and for values."""


class Need(NamedTuple):
    """What a row takes: which prompt it has, in their order, and how many tokens to make room for."""

    rank: int
    tokens: int


class Arrangement(NamedTuple):
    """How rows are laid out."""

    width: int
    """Neighbours that share a lane."""
    tokens: int
    """Room that all lanes take together."""
    cost: int
    """Of a step, in tokens attended to."""


class Room(NamedTuple):
    """What rows that decode side by side may take."""

    rows: int
    cache: int
    """Bytes of keys and values."""
    weights: int
    """Bytes that every step reads besides."""


@dataclass(eq=False, slots=True)
class Row:
    """One answer in the making."""

    request: int
    prompt: list[int]
    rank: int
    """Where the prompt comes among all, when they are in order."""
    most: int
    """Tokens its answer may have."""
    random: torch.Generator | None
    places: tree.Ints
    """Where its keys and values are, root cache first, then prompt and answer: in its lane, or in the context."""
    lane: int | None = None
    """None while it is in the context that read its prompt."""
    slot: int = 0
    """Which of its lane's rows it is."""
    answer: list[int] = field(default_factory=list)

    @property
    def ids(self) -> list[int]:
        """Prompt and answer."""
        return [*self.prompt, *self.answer]


class Lanes:
    """Rows laid out in lanes, behind one `context` that reads their prompts."""

    def __init__(self, model: Any, context: Context, room: Room, shared: tree.Ints, longest: int) -> None:
        """Begin without rows.

        Of the prompts in order, `shared` tells how many tokens each has in common with the next. No row will ever hold
        more than `longest` tokens, root cache included.
        """
        self._model, self._context, self._room = model, context, room
        self._shared, self._longest = shared, longest
        self._read_cost = READ_COST.get(context.device.type, READ_COST_ELSEWHERE)
        self._cache = Cache(layer_class_to_replicate=Layer)
        self._memory: dict[int, Flat] = {}  # of each layer
        self._spare: dict[tuple[int, ...], Flat] = {}  # by what a token takes, which may differ between layers
        self._length = self._space = 0
        self.rows: list[Row] = []
        """Those laid out, the ended ones among them."""

    def fitting(self, there: Sequence[Need], more: Sequence[Need]) -> int:
        """Return how many of `more`, the first ones, find room beside `there` without making a step dearer a row."""
        now = min(self._a_row(there) if there else math.inf, sys.float_info.max)
        low, high = 0, min(len(more), self._room.rows - len(there))
        while low < high:
            middle = (low + high + 1) // 2
            if self._a_row([*there, *more[:middle]]) <= now:
                low = middle
            else:
                high = middle - 1
        return max(0, low)

    def holds(self, needs: Sequence[Need]) -> bool:
        """Tell whether memory has room for rows that need so much."""
        return self._arrange(needs).tokens <= self._most

    @property
    def _most(self) -> int:
        """Tokens that memory has room for."""
        return self._room.cache // self._context.token_bytes

    def _a_row(self, needs: Sequence[Need]) -> float:
        """Return what a step costs a row; infinite where memory has no room for so many."""
        found = self._arrange(needs)
        if found.tokens > self._most:
            return math.inf
        weights = self._room.weights // self._context.token_bytes
        return (weights * self._read_cost + found.cost) / len(needs)

    def _arrange(self, needs: Sequence[Need]) -> Arrangement:
        needs = sorted(needs)
        root = self._context.root_length
        shared = root + self._common([one.rank for one in needs])
        return arrange(shared, root + np.array([one.tokens for one in needs]), self._most, self._read_cost)

    def _common(self, ranks: Sequence[int]) -> tree.Ints:
        """Return how many tokens each of these prompts, in order, has in common with the next."""
        if len(ranks) < 2:
            return np.zeros(0, np.int64)
        return np.minimum.reduceat(self._shared[: ranks[-1]], ranks[:-1])

    def lay(self, rows: Sequence[Row]) -> None:
        """Lay out `rows`, and drop all others; those in the context leave it."""
        root = self._context.root_length
        self.rows = sorted(rows, key=lambda row: row.rank)  # so that neighbours share most
        steps = min(STEPS, max(row.most - len(row.answer) for row in rows))
        while True:
            found = self._arrange([Need(row.rank, len(row.places) - root + steps) for row in self.rows])
            if found.tokens <= self._most or steps <= FEWEST_STEPS:
                break
            steps //= 2
        width = found.width
        groups = [self.rows[at : at + width] for at in range(0, len(rows), width)]
        moves = _Moves()
        ends = []
        for lane, group in enumerate(groups):
            shared = self._common([row.rank for row in group])
            ends.append(moves.lay(lane, group, root + int(shared.min()) if len(shared) else len(group[0].places)))
        self._length = max(ends)
        self._space = self._length + width * steps
        self._carry_out(moves, ends)
        self._seen = torch.zeros(len(groups), width, self._space, dtype=torch.bool)
        self._spots = torch.zeros(len(groups), self._space, dtype=torch.long)
        for row in self.rows:
            places = torch.from_numpy(row.places)
            self._seen[row.lane, row.slot, places] = True
            self._spots[row.lane, places] = torch.arange(len(places))
        self._seen, self._spots = (one.to(self._context.device) for one in (self._seen, self._spots))

    def is_full(self, rows: Sequence[Row]) -> bool:
        """Tell whether there is no room for a step of `rows`."""
        return self._length + self._queries(rows)[0] > self._space

    def step(self, rows: Sequence[Row]) -> torch.Tensor:
        """Feed the last token of each of `rows`, some of those laid out; return the float32 logits (R, V) after it."""
        device, lanes = self._context.device, len(self._spots)
        width, nth = self._queries(rows)
        lane = [row.lane or 0 for row in rows]
        # Where a lane has fewer rows going on than another, a token of no meaning fills up; nobody sees it.
        ids, spots, slots = (np.zeros((lanes, width), np.int64) for _ in range(3))
        ids[lane, nth] = [row.answer[-1] for row in rows]
        spots[lane, nth] = [len(row.places) for row in rows]
        slots[lane, nth] = [row.slot for row in rows]
        begin, end = self._length, self._length + width
        for row, k in zip(rows, nth, strict=True):
            row.places = np.append(row.places, begin + k)
        at = torch.tensor([lane, nth, [row.slot for row in rows]], device=device)
        self._seen[at[0], at[2], begin + at[1]] = True
        own = torch.from_numpy(spots).to(device)
        self._spots[:, begin:end] = own
        seen = self._seen[torch.arange(lanes, device=device)[:, None], torch.from_numpy(slots).to(device), :end]
        mask = packs.masks(self._context.layout, seen, self._spots[:, :end], own, self._context.dtype)
        fed, everything = torch.from_numpy(ids).to(device), torch.arange(width, device=device)
        logits = packs.forward(self._model, fed, everything, mask, own - self._context.lag, self._cache)
        self._length = end
        return logits[at[0], at[1]]

    @staticmethod
    def _queries(rows: Sequence[Row]) -> tuple[int, list[int]]:
        """Return how many tokens a lane is fed in a step of `rows`, and which of its lane's each row's is."""
        counts: dict[int | None, int] = {}
        nth = []
        for row in rows:
            nth.append(counts.get(row.lane, 0))
            counts[row.lane] = nth[-1] + 1
        return max(counts.values()), nth

    def _carry_out(self, moves: _Moves, ends: Sequence[int]) -> None:
        """Move keys and values, a layer at a time: the memory that one leaves is where the next one goes.

        Memory that was touched before is several times faster than new memory.
        """
        index = moves.index(self._context.device)
        spare = self._spare
        for number, source in enumerate(self._context.cache.layers):
            if number == len(self._cache.layers):
                self._cache.layers.append(Layer())
            if not source.is_initialized:
                continue
            layer, read = self._cache.layers[number], (source.keys, source.values)
            sizes = tuple(one.shape[1] * one.shape[3] for one in read)
            left = self._memory.get(number, ())
            memory = self._memory[number] = self._enough(spare.get(sizes, ()), read, len(ends) * self._space)
            spare[sizes] = left
            before = (layer.keys, layer.values)
            shapes = [(len(ends), one.shape[1], self._space, one.shape[3]) for one in read]
            layer.keys, layer.values = (m[: math.prod(s)].view(s) for m, s in zip(memory, shapes, strict=True))
            layer.is_initialized, layer.length = True, self._length
            for k, target in enumerate((layer.keys, layer.values)):
                for lane, end in enumerate(ends):
                    target[lane, :, end : self._length] = 0  # even what no row sees is multiplied by its weight of 0
                for origin, places in zip((before, read), index, strict=True):
                    for to_lane, to, from_lane, place in torch.split(places, AT_ONCE, 1):
                        if len(to):
                            target[to_lane, :, to] = origin[k][from_lane, :, place]

    def _enough(self, spare: Flat, like: Flat, tokens: int) -> Flat:
        """Return flat memory for `tokens` keys and values such as those of `like`: the spare one where it is enough.

        New memory is as large as it can ever have to be, lest it be outgrown and leave a hole; on a CPU, what is not
        touched of it takes nothing.
        """
        sizes = [one.shape[1] * one.shape[3] for one in like]
        if spare and all(len(one) >= tokens * size for one, size in zip(spare, sizes, strict=True)):
            return spare
        room = max(tokens, min(self._most, self._room.rows * self._longest))
        return tuple(one.new_empty(room * size) for one, size in zip(like, sizes, strict=True))


class _Moves:
    """Which places of the lanes before, and of the context, go where in new lanes."""

    def __init__(self) -> None:
        # (to lane, to place, from lane, from place), out of lanes and out of the context.
        self._moves: tuple[list[tree.Ints], list[tree.Ints]] = [], []

    def lay(self, lane: int, group: Sequence[Row], trunk: int) -> int:
        """Put the `trunk` places that `group` shares at the front of `lane`, others behind; return where it ends."""
        end = trunk
        self._move(group[0], lane, np.arange(trunk), group[0].places[:trunk])
        for slot, row in enumerate(group):
            own = row.places[trunk:]
            target = np.arange(end, end + len(own))
            self._move(row, lane, target, own)
            row.places, row.lane, row.slot = np.concatenate([np.arange(trunk), target]), lane, slot
            end += len(own)
        return end

    def index(self, device: torch.device) -> list[torch.Tensor]:
        """Return the moves (4, places) out of lanes, and those out of the context."""
        nothing = np.zeros((4, 0), np.int64)
        return [torch.from_numpy(np.concatenate([nothing, *some], 1)).to(device) for some in self._moves]

    def _move(self, row: Row, lane: int, target: tree.Ints, source: tree.Ints) -> None:
        here = np.full(len(target), lane)
        if row.lane is None:
            self._moves[1].append(np.stack([here, target, np.zeros_like(source), source]))
        else:
            self._moves[0].append(np.stack([here, target, np.full(len(source), row.lane), source]))


def arrange(shared: tree.Ints, held: tree.Ints, most: int, read_cost: int) -> Arrangement:
    """Return the cheapest arrangement that takes at most `most` tokens, or that which takes fewest.

    `held` are the tokens of each row, `shared[i]` how many of them rows i and i + 1 have in common. A step reads what
    every lane holds once, and each of its rows attends to all of it: lanes × longest × (`read_cost` + rows a lane).
    """
    found = []
    width = 1
    while True:
        starts = np.arange(0, len(held), width)
        inside = np.append(shared, held[-1])
        inside[starts[1:] - 1] = held.max()  # the last of a lane shares nothing with the next lane's first
        trunks = np.minimum(np.minimum.reduceat(held, starts), np.minimum.reduceat(inside, starts))
        rows = np.diff(starts, append=len(held))
        tokens = len(starts) * int((np.add.reduceat(held, starts) - (rows - 1) * trunks).max())
        found.append(Arrangement(width, tokens, tokens * (read_cost + width)))
        if width >= len(held):
            break
        width = min(2 * width, len(held))
    fitting = [one for one in found if one.tokens <= most]
    return min(fitting, key=lambda one: one.cost) if fitting else min(found, key=lambda one: one.tokens)
