"""The cache of rows (running answers) that are decoded side by side, several of which can share a lane.

A *lane* is one row of the batch. It holds, once, the prefix that several answers share, followed by the keys and values
of each answer; the attention mask keeps the answers apart. With a lane for each answer, a shared prefix is read once
for each answer; with one lane for all, every answer has to skip the tokens of all others. If every row has its own
lane, new rows are added without moving present ones.

Not here: which arrangement is the cheapest (`harness.engine.decoding.arrangement`), the memory
(`harness.engine.decoding.lane_memory`), which answers run, and when they are arranged anew
(`harness.engine.decoding.continuous`).
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from harness.checkpoints.types import Model
from harness.engine.decoding.arrangement import Arrangement, arrange
from harness.engine.decoding.drafts import Drafter
from harness.engine.decoding.lane_memory import LaneMemory, Moves
from harness.engine.device_limits import device_limits
from harness.engine.packing import packs, tree
from harness.engine.packing.packs import Context

STEPS = 32
"""Smallest number of tokens for which each row of newly arranged lanes has room, if memory allows."""
MIN_STEPS = 8
"""Number of tokens for which each row of newly arranged lanes has room in any case."""
SLACK = 1.25
"""New rows may raise the cost of a row to this multiple of its lowest cost. Some rise must be allowed: lanes are
padded, so that one new row may cost a whole lane."""


class Reservation(NamedTuple):
    """Room to reserve for one row, a running answer."""

    rank: int
    """Place of the row's prompt among all prompts in sorted order."""
    tokens: int
    """Tokens that the row holds or is expected to add, without the root cache (the tokens that start every prompt)."""


class LaneBudget(NamedTuple):
    """Limits on the answers (rows) that are decoded side by side."""

    rows: int
    """Largest number of rows."""
    cache_bytes: int
    """Largest number of bytes of keys and values."""
    weight_bytes: int
    """Bytes of weights, which every step reads in addition to keys and values."""
    step_tokens: int
    """Largest number of tokens in a step with drafts."""


@dataclass(eq=False, slots=True)
class Row:
    """An answer that is being decoded."""

    request: int
    prompt: list[int]
    rank: int
    """Place of the prompt among all prompts in sorted order."""
    max_tokens: int
    """Largest number of tokens of the answer."""
    generator: torch.Generator | None
    """Random generator of the answer's tokens; None for greedy decoding."""
    places: tree.Ints
    """Places of the row's keys and values in its lane or context: root cache first, then prompt and answer."""
    drafter: Drafter
    lane: int | None = None
    """Index of the row's lane; None while its states are still in the context that read its prompt."""
    slot: int = 0
    """Number of this row among the rows of its lane."""
    answer: list[int] = field(default_factory=list)
    fed: tree.Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """Places of the tokens that the last step fed: the answer's last one and its draft."""

    @property
    def ids(self) -> list[int]:
        """Token ids of prompt and answer."""
        return [*self.prompt, *self.answer]


@dataclass(eq=False, slots=True)
class _Lane:
    """Which places of one lane are free."""

    end: int
    """The first of the places that were never taken."""
    holes: list[int] = field(default_factory=list)
    """Places before `end` that may be written again, because they hold drafted tokens that the model did not choose."""

    def free(self, count: int) -> list[int]:
        """Return the first `count` free places."""
        holes = self.holes[:count]
        return [*holes, *range(self.end, self.end + count - len(holes))]

    def take(self, count: int) -> None:
        """Take the first `count` free places."""
        self.end += max(0, count - len(self.holes))
        del self.holes[:count]


class Lanes:
    """Rows (running answers) arranged in lanes (rows of the batch), next to the `context` that reads their prompts."""

    def __init__(self, model: Model, context: Context, budget: LaneBudget, shared: tree.Ints, longest: int) -> None:
        """Start without rows.

        `shared` holds, for the prompts in sorted order, how many tokens each has in common with the next one. No row
        will ever hold more than `longest` tokens, root cache included.
        """
        self._model, self._context, self._budget = model, context, budget
        self._shared, self._longest = shared, longest
        self._read_cost = device_limits(context.device.type).read_cost
        self._memory = LaneMemory(context)
        self._lanes: list[_Lane] = []
        self._capacity = 0
        self._lowest_cost = math.inf  # of a row, since there were none
        self._visible = torch.zeros(0, 1, 0, dtype=torch.bool, device=context.device)
        self._distances = torch.zeros(0, 0, dtype=torch.long, device=context.device)

    @property
    def slots(self) -> int:
        """Number of rows that the lanes have slots for."""
        return len(self._lanes) * self._visible.shape[1]

    def count_fitting(self, current: Sequence[Reservation], new: Sequence[Reservation]) -> int:
        """Return how many of the `new` rows, from the first on, fit beside the `current` rows.

        The cost of a row may rise to `SLACK` times its lowest cost. If it is above that already, it must not rise.
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
        """Return whether memory has room for rows with these `reservations`."""
        return self._arrange(reservations).tokens <= self._max_tokens

    @property
    def _max_tokens(self) -> int:
        """Number of tokens that memory has room for."""
        return self._budget.cache_bytes // self._context.token_bytes

    @property
    def _reserved_tokens(self) -> int:
        """Number of tokens for which memory is reserved from the beginning."""
        return min(self._max_tokens, self._budget.rows * self._longest)

    def _cost_of_a_row(self, reservations: Sequence[Reservation]) -> float:
        """Return the cost of a step divided by the number of rows; infinite if memory has no room for all of them."""
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
        """Arrange `rows` in lanes and drop all rows that are not listed.

        Rows whose keys and values are still in the context are copied into lanes.
        """
        if self._can_add(rows):
            self.close_gaps([row for row in rows if row.lane is not None])
            self._add([row for row in rows if row.lane is None])
        else:
            self._arrange_anew(sorted(rows, key=lambda row: row.rank))  # so that neighbours share most

    def _can_add(self, rows: Sequence[Row]) -> bool:
        """Return whether the new ones among `rows` can get lanes of their own without moving the rows in lanes.

        They cannot if lanes hold several rows, or if a step would cost much more than in the best arrangement.
        """
        new = [row for row in rows if row.lane is None]
        if len(new) in (0, len(rows)) or self._visible.shape[1] > 1:
            return False
        lanes = len(rows)
        length = max([lane.end for lane in self._lanes] + [len(row.places) for row in new])
        if length + MIN_STEPS > self._capacity or lanes * self._capacity > self._reserved_tokens:
            return False
        root = self._context.root_length
        best = self._arrange([Reservation(row.rank, len(row.places) - root) for row in rows])
        return lanes * length * (self._read_cost + 1) <= SLACK * best.cost

    def _add(self, new: Sequence[Row]) -> None:
        """Copy each of the `new` rows into an additional lane of its own."""
        moves, before = Moves(), len(self._lanes)
        ends = [_fill_lane(moves, before + index, [row], len(row.places)) for index, row in enumerate(new)]
        self._memory.add(moves, ends)
        self._lanes += map(_Lane, ends)
        self._visible = functional.pad(self._visible, (0, 0, 0, 0, 0, len(new)))
        self._distances = functional.pad(self._distances, (0, 0, 0, len(new)))
        self._show(new)

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
        moves, ends = Moves(), []
        for lane, group in enumerate(groups):
            shared = self._shared_tokens([row.rank for row in group])
            trunk = root + int(shared.min()) if len(shared) else len(group[0].places)
            ends.append(_fill_lane(moves, lane, group, trunk))
        self._lanes = [_Lane(end) for end in ends]
        self._capacity = max(ends) + width * steps
        if width == 1 and self._budget.rows * self._longest <= self._max_tokens:
            self._capacity = max(self._capacity, self._longest)  # so that rows can be added
        self._memory.arrange(moves, ends, self._capacity, self._reserved_tokens)
        device = self._context.device
        self._visible = torch.zeros(len(groups), width, self._capacity, dtype=torch.bool, device=device)
        self._distances = torch.zeros(len(groups), self._capacity, dtype=torch.long, device=device)
        self._show(rows)

    def _show(self, rows: Sequence[Row]) -> None:
        """Make each of `rows` see its own places, and no others."""
        device = self._context.device
        for row in rows:
            places = torch.from_numpy(row.places).to(device)
            self._visible[row.lane, row.slot] = False
            self._visible[row.lane, row.slot, places] = True
            self._distances[row.lane, places] = torch.arange(len(places), device=device)

    def close_gaps(self, rows: Sequence[Row]) -> None:
        """Move lanes of the running `rows` to where lanes have no running row, so that no lane of the batch is idle."""
        used = {row.lane or 0 for row in rows}
        count = len(used)
        if count == len(self._lanes):
            return
        idle = (lane for lane in range(count) if lane not in used)
        moves = dict(zip((lane for lane in sorted(used) if lane >= count), idle, strict=True))
        self._memory.move_lanes({lane: (to, self._lanes[lane].end) for lane, to in moves.items()}, count)
        for lane, to in moves.items():
            self._lanes[to] = self._lanes[lane]
            self._visible[to], self._distances[to] = self._visible[lane], self._distances[lane]
        del self._lanes[count:]
        self._visible, self._distances = self._visible[:count], self._distances[:count]
        for row in rows:
            row.lane = moves.get(row.lane or 0, row.lane)

    def is_full(self, rows: Sequence[Row]) -> bool:
        """Return whether the lanes have no room for another step of `rows`."""
        return self._room() < self._most_rows(rows)

    def longest_draft(self, rows: Sequence[Row]) -> int:
        """Return how long drafts of `rows` may be without making a step much more expensive or filling the lanes.

        A lane with less to feed than another one is padded, so all rows count as if they had the longest draft.
        """
        tokens = min(self._budget.step_tokens // len(self._lanes), self._room())
        return max(0, tokens // self._most_rows(rows) - 1)

    def step(self, rows: Sequence[Row], drafts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Feed the last token of each of `rows`, which are in the lanes, followed by the row's draft.

        Returns float32 logits (R, 1 + longest draft, V) after each token; shorter drafts repeat their last logits. The
        tokens fed stay invisible until `keep` is called.
        """
        device, lanes = self._context.device, len(self._lanes)
        counts = [0] * lanes
        starts = []
        for row, draft in zip(rows, drafts, strict=True):
            lane = row.lane or 0
            starts.append(counts[lane])
            counts[lane] += 1 + len(draft)
        width, longest = max(counts), max(map(len, drafts))
        # A lane that is fed less than another one is padded with meaningless tokens that no row sees.
        places = np.array([lane.free(width) for lane in self._lanes])
        ids, distances, slots = (np.zeros((lanes, width), np.int64) for _ in range(3))
        owners, reads = np.full((lanes, width), -1), np.empty((len(rows), 1 + longest), np.int64)
        for index, (row, draft, start) in enumerate(zip(rows, drafts, starts, strict=True)):
            at = row.lane, slice(start, start + 1 + len(draft))
            row.fed = places[at]
            ids[at], slots[at], owners[at] = [row.answer[-1], *draft], row.slot, index
            distances[at] = len(row.places) + np.arange(len(row.fed))
            reads[index] = start + np.minimum(np.arange(1 + longest), len(draft))
        for free, count in zip(self._lanes, counts, strict=True):
            free.take(count)
        logits = self._forward(places, ids, distances, slots, owners)
        lane_index = torch.tensor([[row.lane] for row in rows], device=device)
        return logits[lane_index, torch.from_numpy(reads).to(device)]

    def keep(self, rows: Sequence[Row], counts: Sequence[int]) -> None:
        """Keep the first `counts[i]` of the tokens that the last step fed for row i, and forget the rest."""
        visible = []
        for row, count in zip(rows, counts, strict=True):
            self._lanes[row.lane or 0].holes += row.fed[count:].tolist()
            row.places = np.concatenate([row.places, row.fed[:count]])
            visible.append(np.stack([np.full(count, row.lane), np.full(count, row.slot), row.fed[:count]]))
        lanes, slots, places = torch.from_numpy(np.concatenate(visible, 1)).to(self._context.device)
        self._visible[lanes, slots, places] = True

    def _forward(
        self, places: tree.Ints, ids: tree.Ints, distances: tree.Ints, slots: tree.Ints, owners: tree.Ints
    ) -> torch.Tensor:
        """Feed `ids` (lanes, T) at free `places` and return float32 logits (lanes, T, V).

        A token sees the places that the row in its slot (`slots`) sees and, among the tokens fed, those of its own row
        (`owners`) up to itself.
        """
        device, width = self._context.device, places.shape[1]
        end = max([int(places.max()) + 1] + [lane.end for lane in self._lanes])
        at, fed, new_distances, of_row, owner = (
            torch.from_numpy(values).to(device) for values in (places, ids, distances, slots, owners)
        )
        lane_index = torch.arange(len(places), device=device)[:, None]
        visible = self._visible[lane_index, of_row, :end]
        earlier = torch.ones(width, width, dtype=torch.bool, device=device).tril()
        own = (owner[:, :, None] == owner[:, None, :]) & earlier
        visible.scatter_(2, at[:, None].expand(-1, width, -1), own)
        self._distances.scatter_(1, at, new_distances)
        mask = packs.masks(self._context.layout, visible, self._distances[:, :end], new_distances, self._context.dtype)
        self._memory.aim(at, end)
        positions = new_distances - self._context.position_lag
        rows = torch.arange(width, device=device)
        return packs.forward(self._model, fed, rows, mask, positions, self._memory.cache)

    def _room(self) -> int:
        """Return how many more tokens every lane has room for."""
        return min(self._capacity - lane.end + len(lane.holes) for lane in self._lanes)

    @staticmethod
    def _most_rows(rows: Sequence[Row]) -> int:
        """Return the largest number of `rows` that share a lane."""
        return max(Counter(row.lane for row in rows).values())


def _fill_lane(moves: Moves, lane: int, group: Sequence[Row], trunk: int) -> int:
    """Move the places of the rows of `group` to `lane`; return the lane's end.

    The first `trunk` places, which all these rows share, are moved only once.
    """
    end = trunk
    moves.add(lane, np.arange(trunk), group[0].lane, group[0].places[:trunk])
    for slot, row in enumerate(group):
        rest = row.places[trunk:]
        target = np.arange(end, end + len(rest))
        moves.add(lane, target, row.lane, rest)
        row.places, row.lane, row.slot = np.concatenate([np.arange(trunk), target]), lane, slot
        end += len(rest)
    return end
