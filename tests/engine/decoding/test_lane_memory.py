"""The memory of lanes against a dictionary of what each place of each lane should hold."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.engine.decoding import lane_memory
from harness.engine.decoding.lane_memory import CLEARED_AT_ONCE, LaneMemory, Moves

SHAPES = ((2, 4), (1, 6))
"""Heads and sizes of keys and values, which differ as in latent attention."""
IN_CONTEXT = 40
CAPACITY = 90
Expected = list[dict[int, float]]
"""For each lane, the number that each place holds."""


@pytest.fixture(scope="module", autouse=True)
def nan_in_new_memory() -> Iterator[None]:
    """New memory may hold anything, such as NaN, which a weight of 0 does not remove."""
    allocate = lane_memory._allocate

    def allocate_nan(spare: Any, *args: Any) -> Any:
        memory = allocate(spare, *args)
        if memory is not spare:
            for states in memory:
                states.fill_(torch.nan)
        return memory

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(lane_memory, "_allocate", allocate_nan)
        yield


class Simulation:
    """Lanes of three layers, the second without states of its own, beside what they should hold.

    A token is a number: its keys and values in layer n are filled with the number plus n.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        numbers = torch.arange(IN_CONTEXT, dtype=torch.float32) + 1000
        layers = [
            SimpleNamespace(
                is_initialized=number != 1,
                keys=(numbers + number)[None, None, :, None].repeat(1, SHAPES[0][0], 1, SHAPES[0][1]),
                values=(numbers + number)[None, None, :, None].repeat(1, SHAPES[1][0], 1, SHAPES[1][1]),
            )
            for number in range(3)
        ]
        context: Any = SimpleNamespace(cache=SimpleNamespace(layers=layers), device=torch.device("cpu"))
        self.memory = LaneMemory(context)
        self.expected: Expected = []
        self.fed = 0

    def arrange(self, capacity: int) -> None:
        """Let each new lane begin with places of one old lane, or of the context, in another order."""
        moves, expected, ends = Moves(), list[dict[int, float]](), list[int]()
        for lane in range(self.random.randrange(1, 5)):
            source = self.random.choice([None, *range(len(self.expected))])
            tokens = dict(enumerate(1000.0 + np.arange(IN_CONTEXT))) if source is None else self.expected[source]
            places = self.random.sample(sorted(tokens), self.random.randrange(1, min(len(tokens), capacity - 20) + 1))
            moves.add(lane, np.arange(len(places)), source, np.array(places))
            expected.append({to: tokens[place] for to, place in enumerate(places)})
            ends.append(len(places))
        self.memory.arrange(moves, ends, capacity, reserved=40 * CAPACITY)
        self.expected = expected

    def add(self) -> None:
        """Fill one or two further lanes from the context."""
        moves, ends = Moves(), []
        for _ in range(self.random.randrange(1, 3)):
            count = self.random.randrange(1, IN_CONTEXT)
            moves.add(len(self.expected), np.arange(count), None, np.arange(count))
            self.expected.append({place: 1000.0 + place for place in range(count)})
            ends.append(count)
        self.memory.add(moves, ends)

    def close(self) -> None:
        """Drop a lane, and move the last one to where it was."""
        if len(self.expected) > 1:
            lane, last = self.random.randrange(len(self.expected)), len(self.expected) - 1
            moves = {} if lane == last else {last: (lane, 1 + max(self.expected[last]))}
            self.memory.move_lanes(moves, last)
            moved = self.expected.pop()
            if moves:
                self.expected[lane] = moved

    def write(self, capacity: int) -> None:
        """Write two tokens to every lane, at a hole if there is one and at its end."""
        places = []
        for tokens in self.expected:
            end = 1 + max(tokens)
            holes = [place for place in range(end) if place not in tokens]
            places.append([*holes, end, end + 1][:2])
        end = 1 + max(
            *(place for pair in places for place in pair), *(place for tokens in self.expected for place in tokens)
        )
        if end > capacity:
            return
        self.memory.aim(torch.tensor(places), end)
        numbers = torch.arange(self.fed, self.fed + 2 * len(places), dtype=torch.float32).view(len(places), 2)
        for number, layer in enumerate(self.memory.cache.layers):
            if layer.is_initialized:
                states = [
                    (numbers + number)[:, None, :, None].expand(-1, heads, -1, size).clone() for heads, size in SHAPES
                ]
                keys, values = layer.update(*states)
                assert keys.shape == (len(places), SHAPES[0][0], end, SHAPES[0][1])
                assert keys.isfinite().all()
                assert values.isfinite().all()
        for lane, pair in enumerate(places):
            first, second = numbers[lane].tolist()
            self.expected[lane] |= {pair[0]: first}
            if self.random.random() < 0.7:  # otherwise the second place is a hole again
                self.expected[lane] |= {pair[1]: second}
        self.fed += 2 * len(places)

    def check(self) -> None:
        for number, layer in enumerate(self.memory.cache.layers):
            if layer.is_initialized:
                for lane, tokens in enumerate(self.expected):
                    for place, token in tokens.items():
                        assert (layer.keys[lane, :, place] == token + number).all()
                        assert (layer.values[lane, :, place] == token + number).all()


@given(seed=st.integers(0, 10_000), turns=st.lists(st.sampled_from("rawwwwwc"), max_size=14))
@settings(deadline=None, max_examples=settings.default.max_examples)
def test_lanes_hold_what_was_moved_and_written(seed: int, turns: list[str]) -> None:
    simulation = Simulation(seed)
    capacity = CAPACITY
    simulation.arrange(capacity)
    for turn in turns:
        if turn == "r":
            capacity = simulation.random.choice([CAPACITY // 2, CAPACITY])
            simulation.arrange(capacity)
        elif turn == "a" and capacity == CAPACITY:
            simulation.add()
        elif turn == "c":
            simulation.close()
        elif turn == "w":
            simulation.write(capacity)
        simulation.check()


@pytest.mark.parametrize("fed", [1, CLEARED_AT_ONCE + 3])
def test_places_between_the_ends_of_lanes_are_finite(fed: int) -> None:
    simulation = Simulation(1)
    moves = Moves()
    for lane, count in enumerate((30, 2)):
        moves.add(lane, np.arange(count), None, np.arange(count))
    simulation.memory.arrange(moves, [30, 2], CAPACITY, reserved=4 * CAPACITY)
    simulation.expected = [{place: 1000.0 + place for place in range(count)} for count in (30, 2)]
    for _ in range(fed):
        simulation.write(CAPACITY)
    simulation.check()
