"""The cache of rows that are decoded side by side: rows are arranged in lanes, stepped, and arranged again.

A *lane* is one row of the batch. It holds the prefix that several answers share once, followed by the keys and values
of each answer, kept apart by the mask. With a lane for each answer, a shared prefix is read once for each answer; with
one lane for all, every answer has to skip the tokens of all others. `arrange` finds the cheapest arrangement that
memory has room for. Keys and values are moved layer by layer, so that at most one layer exists twice.

Not here: which rows there are, and when they are arranged again (`harness.engine.decoding.continuous`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from transformers import Cache

from harness.checkpoints.types import Model
from harness.engine.device_limits import device_limits
from harness.engine.packing import packs, tree
from harness.engine.packing.packs import Context, Layer

STEPS = 32
"""Steps after which lanes are arranged again at the latest, which frees the memory of rows that have ended."""
MIN_STEPS = 8
"""Steps that there is always room for, because rows that continue grow in any case."""
SLACK = 1.25
"""By how much a row may cost more beside others: lanes are padded, so that a row too many for one costs a whole one."""
MOVED_AT_ONCE = 1024
"""Tokens whose keys and values are moved at once, through memory of their own."""

FlatStates = tuple[torch.Tensor, ...]
"""One layer's memory for keys and for values, without a shape."""


class Reservation(NamedTuple):
    """Room to reserve for one row."""

    rank: int
    """Place of the row's prompt among all prompts in sorted order."""
    tokens: int
    """Tokens that the row holds and is expected to grow by, without the root cache."""


class Arrangement(NamedTuple):
    """How rows are arranged in lanes."""

    width: int
    """Number of neighbouring rows that share a lane."""
    tokens: int
    """Number of tokens that all lanes hold together."""
    cost: int
    """Cost of a step, in tokens attended to."""


class LaneBudget(NamedTuple):
    """What rows decoded side by side may take."""

    rows: int
    """Number of rows at most."""
    cache_bytes: int
    """Bytes of keys and values at most."""
    weight_bytes: int
    """Bytes of weights that every step reads besides."""


@dataclass(eq=False, slots=True)
class Row:
    """An answer that is being decoded."""

    request: int
    prompt: list[int]
    rank: int
    """Place of the prompt among all prompts in sorted order."""
    max_tokens: int
    """Tokens of the answer at most."""
    generator: torch.Generator | None
    """Random generator of the row; None if it is decoded greedily."""
    places: tree.Ints
    """Places of its keys and values in its lane or context: root cache first, then prompt and answer."""
    lane: int | None = None
    """Index of its lane; None while it is still in the context that read its prompt."""
    slot: int = 0
    """Number of this row among the rows of its lane."""
    answer: list[int] = field(default_factory=list)

    @property
    def ids(self) -> list[int]:
        """Token ids of prompt and answer."""
        return [*self.prompt, *self.answer]


class Lanes:
    """Rows arranged in lanes, next to the `context` that reads their prompts."""

    def __init__(self, model: Model, context: Context, budget: LaneBudget, shared: tree.Ints, longest: int) -> None:
        """Start without rows.

        `shared` holds, for the prompts in sorted order, how many tokens each has in common with the next one. No row
        will ever hold more than `longest` tokens, root cache included.
        """
        self._model, self._context, self._budget = model, context, budget
        self._shared, self._longest = shared, longest
        self._read_cost = device_limits(context.device.type).read_cost
        self._cache = Cache(layer_class_to_replicate=Layer)
        self._memory: dict[int, FlatStates] = {}  # by layer
        self._spare: dict[tuple[int, ...], FlatStates] = {}  # by size of a token, which may differ between layers
        self._length = self._capacity = 0
        self.rows: list[Row] = []
        """The rows in the lanes, including those that have ended since."""

    def count_fitting(self, current: Sequence[Reservation], new: Sequence[Reservation]) -> int:
        """Return how many of the `new` rows, from the first on, fit beside `current` at little higher cost for each."""
        cost = min(SLACK * self._cost_of_a_row(current) if current else math.inf, sys.float_info.max)
        low, high = 0, min(len(new), self._budget.rows - len(current))
        while low < high:
            middle = (low + high + 1) // 2
            if self._cost_of_a_row([*current, *new[:middle]]) <= cost:
                low = middle
            else:
                high = middle - 1
        return max(0, low)

    def has_memory_for(self, reservations: Sequence[Reservation]) -> bool:
        """Return whether memory has room for these rows."""
        return self._arrange(reservations).tokens <= self._max_tokens

    @property
    def _max_tokens(self) -> int:
        """Number of tokens that memory has room for."""
        return self._budget.cache_bytes // self._context.token_bytes

    def _cost_of_a_row(self, reservations: Sequence[Reservation]) -> float:
        """Return the cost of a step for each row; infinite if memory has no room for all."""
        arrangement = self._arrange(reservations)
        if arrangement.tokens > self._max_tokens:
            return math.inf
        weights = self._budget.weight_bytes // self._context.token_bytes
        return (weights * self._read_cost + arrangement.cost) / len(reservations)

    def _arrange(self, reservations: Sequence[Reservation]) -> Arrangement:
        reservations = sorted(reservations)
        root = self._context.root_length
        shared = root + self._shared_tokens([reservation.rank for reservation in reservations])
        lengths = root + np.array([reservation.tokens for reservation in reservations])
        return arrange(shared, lengths, self._max_tokens, self._read_cost)

    def _shared_tokens(self, ranks: Sequence[int]) -> tree.Ints:
        """Return how many tokens each prompt of these `ranks`, in order, has in common with the next one."""
        if len(ranks) < 2:
            return np.zeros(0, np.int64)
        return np.minimum.reduceat(self._shared[: ranks[-1]], ranks[:-1])

    def lay_out(self, rows: Sequence[Row]) -> None:
        """Arrange `rows` in new lanes and drop all others.

        Rows whose keys and values are still in the context are copied into lanes.
        """
        root = self._context.root_length
        self.rows = sorted(rows, key=lambda row: row.rank)  # so that neighbours share most
        steps = min(STEPS, max(row.max_tokens - len(row.answer) for row in rows))
        while True:
            arrangement = self._arrange([Reservation(row.rank, len(row.places) - root + steps) for row in self.rows])
            if arrangement.tokens <= self._max_tokens or steps <= MIN_STEPS:
                break
            steps //= 2
        width = arrangement.width
        groups = [self.rows[start : start + width] for start in range(0, len(rows), width)]
        moves = _Moves()
        ends = []
        for lane, group in enumerate(groups):
            shared = self._shared_tokens([row.rank for row in group])
            trunk = root + int(shared.min()) if len(shared) else len(group[0].places)
            ends.append(moves.fill_lane(lane, group, trunk))
        self._length = max(ends)
        self._capacity = self._length + width * steps
        self._move_states(moves, ends)
        self._visible = torch.zeros(len(groups), width, self._capacity, dtype=torch.bool)
        self._distances = torch.zeros(len(groups), self._capacity, dtype=torch.long)
        for row in self.rows:
            places = torch.from_numpy(row.places)
            self._visible[row.lane, row.slot, places] = True
            self._distances[row.lane, places] = torch.arange(len(places))
        device = self._context.device
        self._visible, self._distances = self._visible.to(device), self._distances.to(device)

    def is_full(self, rows: Sequence[Row]) -> bool:
        """Return whether the lanes have no room for another step of `rows`."""
        return self._length + self._queries(rows)[0] > self._capacity

    def step(self, rows: Sequence[Row]) -> torch.Tensor:
        """Feed the last token of each of `rows`, which are in the lanes; return the float32 logits (R, V) after it."""
        device, lanes = self._context.device, len(self._distances)
        width, nth = self._queries(rows)
        lane = [row.lane or 0 for row in rows]
        # A lane with fewer running rows than another one is padded with a meaningless token that no row sees.
        ids, distances, slots = (np.zeros((lanes, width), np.int64) for _ in range(3))
        ids[lane, nth] = [row.answer[-1] for row in rows]
        distances[lane, nth] = [len(row.places) for row in rows]
        slots[lane, nth] = [row.slot for row in rows]
        begin, end = self._length, self._length + width
        for row, k in zip(rows, nth, strict=True):
            row.places = np.append(row.places, begin + k)
        at = torch.tensor([lane, nth, [row.slot for row in rows]], device=device)
        self._visible[at[0], at[2], begin + at[1]] = True
        new_distances = torch.from_numpy(distances).to(device)
        self._distances[:, begin:end] = new_distances
        lane_index = torch.arange(lanes, device=device)[:, None]
        visible = self._visible[lane_index, torch.from_numpy(slots).to(device), :end]
        mask = packs.masks(self._context.layout, visible, self._distances[:, :end], new_distances, self._context.dtype)
        fed, all_rows = torch.from_numpy(ids).to(device), torch.arange(width, device=device)
        positions = new_distances - self._context.position_lag
        logits = packs.forward(self._model, fed, all_rows, mask, positions, self._cache)
        self._length = end
        return logits[at[0], at[1]]

    @staticmethod
    def _queries(rows: Sequence[Row]) -> tuple[int, list[int]]:
        """Return how many tokens each lane is fed in a step of `rows`, and for each row its number among its lane's."""
        counts: dict[int | None, int] = {}
        nth = []
        for row in rows:
            nth.append(counts.get(row.lane, 0))
            counts[row.lane] = nth[-1] + 1
        return max(counts.values()), nth

    def _move_states(self, moves: _Moves, ends: Sequence[int]) -> None:
        """Move keys and values, one layer after another: the memory that one layer leaves is where the next one goes.

        Memory that was touched before is several times faster than new memory.
        """
        index = moves.index(self._context.device)
        spare = self._spare
        for number, source in enumerate(self._context.cache.layers):
            if number == len(self._cache.layers):
                self._cache.layers.append(Layer())
            if not source.is_initialized:
                continue
            layer, in_context = self._cache.layers[number], (source.keys, source.values)
            sizes = tuple(states.shape[1] * states.shape[3] for states in in_context)
            previous = self._memory.get(number, ())
            memory = self._memory[number] = self._allocate(spare.get(sizes, ()), in_context, len(ends) * self._capacity)
            spare[sizes] = previous
            in_lanes = (layer.keys, layer.values)
            shapes = [(len(ends), states.shape[1], self._capacity, states.shape[3]) for states in in_context]
            layer.keys, layer.values = (m[: math.prod(s)].view(s) for m, s in zip(memory, shapes, strict=True))
            layer.is_initialized, layer.length = True, self._length
            for k, target in enumerate((layer.keys, layer.values)):
                for lane, end in enumerate(ends):
                    target[lane, :, end : self._length] = 0  # invisible values are multiplied by a weight of 0, too
                for origin, places in zip((in_lanes, in_context), index, strict=True):
                    for to_lane, to, from_lane, place in torch.split(places, MOVED_AT_ONCE, 1):
                        if len(to):
                            target[to_lane, :, to] = origin[k][from_lane, :, place]

    def _allocate(self, spare: FlatStates, like: FlatStates, tokens: int) -> FlatStates:
        """Return flat memory for `tokens` keys and values of the shape of `like`: the spare one if it is large enough.

        New memory has the largest size that will ever be needed, so that it is never outgrown and leaves a hole. On a
        CPU, the part of it that is not touched takes no memory.
        """
        sizes = [states.shape[1] * states.shape[3] for states in like]
        if spare and all(len(states) >= tokens * size for states, size in zip(spare, sizes, strict=True)):
            return spare
        capacity = max(tokens, min(self._max_tokens, self._budget.rows * self._longest))
        return tuple(states.new_empty(capacity * size) for states, size in zip(like, sizes, strict=True))


class _Moves:
    """Which places of the previous lanes and of the context go where in the new lanes."""

    def __init__(self) -> None:
        # (to lane, to place, from lane, from place): moves out of lanes, and moves out of the context.
        self._moves: tuple[list[tree.Ints], list[tree.Ints]] = [], []

    def fill_lane(self, lane: int, group: Sequence[Row], trunk: int) -> int:
        """Put the `trunk` places that `group` shares at the front of `lane`, then all others; return the lane's end."""
        end = trunk
        self._move(group[0], lane, np.arange(trunk), group[0].places[:trunk])
        for slot, row in enumerate(group):
            rest = row.places[trunk:]
            target = np.arange(end, end + len(rest))
            self._move(row, lane, target, rest)
            row.places, row.lane, row.slot = np.concatenate([np.arange(trunk), target]), lane, slot
            end += len(rest)
        return end

    def index(self, device: torch.device) -> list[torch.Tensor]:
        """Return the moves (4, places) out of lanes, and those out of the context."""
        nothing = np.zeros((4, 0), np.int64)
        return [torch.from_numpy(np.concatenate([nothing, *moves], 1)).to(device) for moves in self._moves]

    def _move(self, row: Row, lane: int, target: tree.Ints, source: tree.Ints) -> None:
        to_lane = np.full(len(target), lane)
        if row.lane is None:
            self._moves[1].append(np.stack([to_lane, target, np.zeros_like(source), source]))
        else:
            self._moves[0].append(np.stack([to_lane, target, np.full(len(source), row.lane), source]))


def arrange(shared: tree.Ints, lengths: tree.Ints, max_tokens: int, read_cost: int) -> Arrangement:
    """Return the cheapest arrangement of at most `max_tokens` tokens; if there is none, the one with the fewest tokens.

    Row i has `lengths[i]` tokens, of which rows i and i + 1 have `shared[i]` in common. A step reads everything in
    every lane once, and each row of a lane attends to all of it: lanes × longest × (`read_cost` + rows of a lane).
    """
    arrangements = []
    width = 1
    while True:
        starts = np.arange(0, len(lengths), width)
        within = np.append(shared, lengths[-1])
        within[starts[1:] - 1] = lengths.max()  # the last row of a lane shares nothing with the next lane's first row
        trunks = np.minimum(np.minimum.reduceat(lengths, starts), np.minimum.reduceat(within, starts))
        rows = np.diff(starts, append=len(lengths))
        tokens = len(starts) * int((np.add.reduceat(lengths, starts) - (rows - 1) * trunks).max())
        arrangements.append(Arrangement(width, tokens, tokens * (read_cost + width)))
        if width >= len(lengths):
            break
        width = min(2 * width, len(lengths))
    fitting = [arrangement for arrangement in arrangements if arrangement.tokens <= max_tokens]
    if fitting:
        return min(fitting, key=lambda arrangement: arrangement.cost)
    return min(arrangements, key=lambda arrangement: arrangement.tokens)
