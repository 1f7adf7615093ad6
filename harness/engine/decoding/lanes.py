"""The cache of rows that are decoded side by side: rows are arranged in lanes, stepped, and arranged again.

A *lane* is one row of the batch. It holds the prefix that several answers share once, followed by the keys and values
of each answer, kept apart by the mask. With a lane for each answer, a shared prefix is read once for each answer; with
one lane for all, every answer has to skip the tokens of all others. Keys and values are moved layer by layer, so that
at most one layer exists twice; where every row has a lane, new rows are added without moving the others.

Not here: which arrangement is the cheapest (`harness.engine.decoding.arrangement`), which rows there are, and when they
are arranged again (`harness.engine.decoding.continuous`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional
from transformers import Cache

from harness.checkpoints.types import Model
from harness.engine.decoding.arrangement import Arrangement, arrange
from harness.engine.device_limits import device_limits
from harness.engine.packing import packs, tree
from harness.engine.packing.packs import Context, Layer

STEPS = 32
"""Steps after which lanes are arranged again at the latest, which frees the memory of rows that have ended."""
MIN_STEPS = 8
"""Steps that there is always room for, because rows that continue grow in any case."""
SLACK = 1.25
"""What a row may cost beside new ones, by its cost at best: lanes are padded, so that one row may cost a whole lane."""
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
        self._lowest_cost = math.inf  # of a row, since there were none
        self._visible = torch.zeros(0, 1, 0, dtype=torch.bool, device=context.device)
        self._distances = torch.zeros(0, 0, dtype=torch.long, device=context.device)
        self.slots = 0
        """Number of rows that a step computes: those in the lanes, and those that have ended since."""

    def count_fitting(self, current: Sequence[Reservation], new: Sequence[Reservation]) -> int:
        """Return how many of the `new` rows, from the first on, fit beside `current`.

        They may not make a row more expensive than it is, except a little more than it was at best.
        """
        present = self._cost_of_a_row(current) if current else math.inf
        self._lowest_cost = min(self._lowest_cost, present) if current else math.inf
        cost = min(max(present, SLACK * self._lowest_cost), sys.float_info.max)
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

    @property
    def _reserved_tokens(self) -> int:
        """Number of tokens that there is memory for from the beginning."""
        return min(self._max_tokens, self._budget.rows * self._longest)

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
        """Arrange `rows` in lanes and drop all others.

        Rows whose keys and values are still in the context are copied into lanes.
        """
        if self._can_add(rows):
            self._add([row for row in rows if row.lane is None], {row.lane for row in rows})
        else:
            self._arrange_anew(sorted(rows, key=lambda row: row.rank))  # so that neighbours share most

    def _can_add(self, rows: Sequence[Row]) -> bool:
        """Return whether the new ones of `rows` can have lanes beside the others', without moving these.

        That is not so if lanes hold several rows, or if a step would cost much more than in the best arrangement.
        """
        new = [row for row in rows if row.lane is None]
        if len(new) in (0, len(rows)) or self._visible.shape[1] > 1:
            return False
        lanes = max(len(self._distances), len(rows))
        length = max(self._length, *(len(row.places) for row in new))
        if length + MIN_STEPS > self._capacity or lanes * self._capacity > self._reserved_tokens:
            return False
        root = self._context.root_length
        best = self._arrange([Reservation(row.rank, len(row.places) - root) for row in rows])
        return lanes * length * (self._read_cost + 1) <= SLACK * best.cost

    def _add(self, new: Sequence[Row], taken: set[int | None]) -> None:
        """Copy the `new` rows into lanes of their own that are not `taken`."""
        before, previous = len(self._distances), self._length
        lanes = max(before, len(new) + len(taken - {None}))
        free = [lane for lane in range(lanes) if lane not in taken]
        moves = _Moves()
        ends = [previous] * lanes
        for row, lane in zip(new, free, strict=False):
            ends[lane] = moves.fill_lane(lane, [row], len(row.places))
        self._length = max(ends)
        _, places = moves.index(self._context.device)
        for number, layer in enumerate(self._cache.layers):
            if layer.is_initialized:
                shape = (lanes, layer.keys.shape[1], self._capacity)
                layer.keys, layer.values = (
                    _view(memory, (*shape, states.shape[3]))
                    for memory, states in zip(self._memory[number], (layer.keys, layer.values), strict=True)
                )
                layer.length = self._length
                source = self._context.cache.layers[number]
                _fill((layer.keys, layer.values), ends, self._length, [(places, (source.keys, source.values))])
        self._visible = functional.pad(self._visible, (0, 0, 0, 0, 0, lanes - before))
        self._distances = functional.pad(self._distances, (0, 0, 0, lanes - before))
        self._show(new)
        self.slots = lanes

    def _arrange_anew(self, rows: list[Row]) -> None:
        """Move the sorted `rows` into new lanes, in the arrangement that costs least."""
        root = self._context.root_length
        steps = min(STEPS, max(row.max_tokens - len(row.answer) for row in rows))
        while True:
            arrangement = self._arrange([Reservation(row.rank, len(row.places) - root + steps) for row in rows])
            if arrangement.tokens <= self._max_tokens or steps <= MIN_STEPS:
                break
            steps //= 2
        width = arrangement.width
        groups = [rows[start : start + width] for start in range(0, len(rows), width)]
        moves = _Moves()
        ends = []
        for lane, group in enumerate(groups):
            shared = self._shared_tokens([row.rank for row in group])
            trunk = root + int(shared.min()) if len(shared) else len(group[0].places)
            ends.append(moves.fill_lane(lane, group, trunk))
        self._length = max(ends)
        self._capacity = self._length + width * steps
        if width == 1 and self._budget.rows * self._longest <= self._max_tokens:
            self._capacity = max(self._capacity, self._longest)  # so that rows can be added
        self._move_states(moves, ends)
        device = self._context.device
        self._visible = torch.zeros(len(groups), width, self._capacity, dtype=torch.bool, device=device)
        self._distances = torch.zeros(len(groups), self._capacity, dtype=torch.long, device=device)
        self._show(rows)
        self.slots = len(rows)

    def _show(self, rows: Sequence[Row]) -> None:
        """Make the places of `rows` visible to them, and no others."""
        device = self._context.device
        for row in rows:
            places = torch.from_numpy(row.places).to(device)
            self._visible[row.lane, row.slot] = False
            self._visible[row.lane, row.slot, places] = True
            self._distances[row.lane, places] = torch.arange(len(places), device=device)

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
            layer.keys, layer.values = map(_view, memory, shapes)
            layer.is_initialized, layer.length = True, self._length
            _fill((layer.keys, layer.values), ends, self._length, [(index[0], in_lanes), (index[1], in_context)])

    def _allocate(self, spare: FlatStates, like: FlatStates, tokens: int) -> FlatStates:
        """Return flat memory for `tokens` keys and values of the shape of `like`: the spare one if it is large enough.

        New memory has the largest size that will ever be needed, so that it is never outgrown and leaves a hole. On a
        CPU, the part of it that is not touched takes no memory.
        """
        sizes = [states.shape[1] * states.shape[3] for states in like]
        if spare and all(len(states) >= tokens * size for states, size in zip(spare, sizes, strict=True)):
            return spare
        capacity = max(tokens, self._reserved_tokens)
        return tuple(states.new_empty(capacity * size) for states, size in zip(like, sizes, strict=True))


def _view(memory: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the beginning of flat `memory` in `shape`."""
    return memory[: math.prod(shape)].view(shape)


def _fill(
    targets: tuple[torch.Tensor, ...],
    ends: Sequence[int],
    length: int,
    origins: Sequence[tuple[torch.Tensor, tuple[torch.Tensor, ...]]],
) -> None:
    """Copy keys and values into lanes (`targets`) of `length` places, from the places of each of the `origins`."""
    for k, target in enumerate(targets):
        for lane, end in enumerate(ends):
            target[lane, :, end:length] = 0  # invisible values are multiplied by a weight of 0, too
        for places, origin in origins:
            for to_lane, to, from_lane, place in torch.split(places, MOVED_AT_ONCE, 1):
                if len(to):
                    target[to_lane, :, to] = origin[k][from_lane, :, place]


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
