"""Memory for the keys and values of rows (running answers) in lanes (rows of the batch), layer by layer.

When rows are arranged anew, keys and values are moved layer by layer, so that at most one layer exists twice. In each
lane, new tokens are written where this lane ends, so that a short lane has no gap up to the end of a longer one.

Not here: which row is in which lane, and what it sees (`harness.engine.decoding.lanes`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from transformers import Cache

from harness.engine.packing import tree
from harness.engine.packing.packs import Context, Layer

MOVED_AT_ONCE = 1024
"""Number of tokens whose keys and values are moved at once, through a temporary copy."""
CLEARED_AT_ONCE = 32
"""Number of places in every lane that are set to 0 at once when lanes grow."""

FlatStates = tuple[torch.Tensor, ...]
"""One layer's memory for keys and its memory for values, each a tensor of one dimension."""


class Moves:
    """Which places of the previous lanes and of the context go where in the new lanes."""

    def __init__(self) -> None:
        # (to lane, to place, from lane, from place): moves out of lanes, and moves out of the context.
        self._moves: tuple[list[tree.Ints], list[tree.Ints]] = [], []

    def add(self, to_lane: int, to: tree.Ints, from_lane: int | None, places: tree.Ints) -> None:
        """Add the move of `places` in a previous lane, or in the context (None), to the places `to` in a new lane."""
        target = np.full(len(to), to_lane)
        self._moves[from_lane is None].append(np.stack([target, to, np.full(len(to), from_lane or 0), places]))

    def index(self, device: torch.device) -> list[torch.Tensor]:
        """Return the moves out of lanes and the moves out of the context, both as (4, places)."""
        nothing = np.zeros((4, 0), np.int64)
        return [torch.from_numpy(np.concatenate([nothing, *moves], 1)).to(device) for moves in self._moves]


class _Target:
    """Where the next forward pass writes."""

    lanes: torch.Tensor
    """Index (lanes, 1) of every lane."""
    places: torch.Tensor
    """Places (lanes, T) of the tokens that are fed."""
    end: int
    """Number of places, from the first on, that are attended to."""


class _LaneLayer(Layer):
    """Keys and values of one layer (lanes, heads, capacity, size), written at the places that a `_Target` names."""

    def __init__(self, target: _Target) -> None:
        super().__init__()
        self._target = target

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write keys and values (lanes, heads, T, size) at the target's places; return all of them up to its end."""
        lanes, places, end = self._target.lanes, self._target.places, self._target.end
        self.keys[lanes, :, places] = key_states.transpose(1, 2)
        self.values[lanes, :, places] = value_states.transpose(1, 2)
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the length of an attention mask for `query_length` more tokens, and the mask's offset."""
        return self.length + query_length, 0


class LaneMemory:
    """The cache that holds all lanes, next to the `context` in which prompts are read."""

    def __init__(self, context: Context) -> None:
        self._context, self._target = context, _Target()
        self.cache = Cache(layers=[])
        self._memory: dict[int, FlatStates] = {}  # by layer
        self._spare: dict[tuple[int, ...], FlatStates] = {}  # by size of a token, which may differ between layers
        self._count = self._capacity = self._cleared = 0

    def arrange(self, moves: Moves, ends: Sequence[int], capacity: int, reserved: int) -> None:
        """Move keys and values into lanes of `capacity` places; `ends` says how many places each lane holds.

        Each layer moves into the memory that the previous layer leaves, because memory that was touched before is
        several times faster than new memory. New memory has room for `reserved` tokens.
        """
        self._count, self._capacity, self._cleared = len(ends), capacity, max(ends)
        index = moves.index(self._context.device)
        for number, source in enumerate(self._context.cache.layers):
            if number == len(self.cache.layers):
                self.cache.layers.append(_LaneLayer(self._target))
            if not source.is_initialized:
                continue
            layer, in_context = self.cache.layers[number], (source.keys, source.values)
            sizes = tuple(states.shape[1] * states.shape[3] for states in in_context)
            previous = self._memory.get(number, ())
            spare = self._spare.get(sizes, ())
            self._memory[number] = _allocate(spare, in_context, len(ends) * capacity, reserved)
            self._spare[sizes] = previous
            in_lanes = (layer.keys, layer.values)
            self._shape(number, in_context)
            _fill((layer.keys, layer.values), ends, self._cleared, [(index[0], in_lanes), (index[1], in_context)])

    def add(self, moves: Moves, ends: Sequence[int]) -> None:
        """Fill new lanes from the context without moving present ones; `ends` says how many places each one holds."""
        cleared = max(self._cleared, *ends)
        starts = [self._cleared] * self._count + list(ends)
        self._count, self._cleared = self._count + len(ends), cleared
        _, places = moves.index(self._context.device)
        for number, layer in enumerate(self.cache.layers):
            if layer.is_initialized:
                source = self._context.cache.layers[number]
                self._shape(number, (layer.keys, layer.values))
                _fill((layer.keys, layer.values), starts, cleared, [(places, (source.keys, source.values))])

    def move_lanes(self, moves: Mapping[int, tuple[int, int]], lanes: int) -> None:
        """Move each lane in `moves`, {lane: (new lane, places that it holds)}, and keep only `lanes` lanes."""
        self._count = lanes
        for number, layer in enumerate(self.cache.layers):
            if layer.is_initialized:
                for lane, (to, end) in moves.items():
                    for states in (layer.keys, layer.values):
                        states[to, :, :end] = states[lane, :, :end]
                self._shape(number, (layer.keys, layer.values))

    def aim(self, places: torch.Tensor, end: int) -> None:
        """Let the next forward pass write its tokens (lanes, T) at `places` and attend to the first `end` places."""
        target = self._target
        target.lanes = torch.arange(self._count, device=places.device)[:, None]
        target.places, target.end = places, end
        cleared = self._cleared if end <= self._cleared else min(self._capacity, end + CLEARED_AT_ONCE)
        for layer in self.cache.layers:
            if layer.is_initialized:
                if cleared > self._cleared:
                    layer.keys[:, :, self._cleared : cleared] = 0
                    layer.values[:, :, self._cleared : cleared] = 0
                layer.length = end - places.shape[1]
        self._cleared = cleared

    def _shape(self, number: int, like: FlatStates) -> None:
        """Make keys and values of layer `number` views of its memory as lanes, with heads and sizes as in `like`."""
        layer = self.cache.layers[number]
        layer.keys, layer.values = (
            _view(memory, (self._count, states.shape[1], self._capacity, states.shape[3]))
            for memory, states in zip(self._memory[number], like, strict=True)
        )
        layer.is_initialized = True


def _allocate(spare: FlatStates, like: FlatStates, tokens: int, reserved: int) -> FlatStates:
    """Return flat memory for keys and values of `tokens` tokens, shaped as in `like`.

    This is `spare` if `spare` is large enough, else new memory. New memory has room for `reserved` tokens, the most
    that will ever be needed, because outgrown memory would leave a hole. On a CPU, the part of the reserved memory that
    is not touched takes no space.
    """
    sizes = [states.shape[1] * states.shape[3] for states in like]
    if spare and all(len(states) >= tokens * size for states, size in zip(spare, sizes, strict=True)):
        return spare
    return tuple(states.new_empty(max(tokens, reserved) * size) for states, size in zip(like, sizes, strict=True))


def _view(memory: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the beginning of flat `memory` as a view of this `shape`."""
    return memory[: math.prod(shape)].view(shape)


def _fill(
    targets: FlatStates,
    ends: Sequence[int],
    cleared: int,
    origins: Sequence[tuple[torch.Tensor, FlatStates]],
) -> None:
    """Copy keys and values into lanes (`targets`) from the places of each of the `origins`.

    Places from a lane's end up to `cleared` become 0, because even invisible values are multiplied by a weight of 0 and
    must be finite.
    """
    for k, target in enumerate(targets):
        for lane, end in enumerate(ends):
            target[lane, :, end:cleared] = 0
        for places, origin in origins:
            for to_lane, to, from_lane, place in torch.split(places, MOVED_AT_ONCE, 1):
                if len(to):
                    target[to_lane, :, to] = origin[k][from_lane, :, place]
