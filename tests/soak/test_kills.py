"""84 SIGKILLs at random moments of every verb that works for long lose nothing and change nothing (`make soak`)."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import killed_commands
from support.killed_commands import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("killed"))
    yield world
    world.commands.close()


@pytest.mark.soak
def test_a_run_killed_three_times_continues_to_the_same_reports(tmp_path: Path) -> None:
    world = World(tmp_path, questions=8)
    world.require_an_orderly_stop("two checkpoints", tmp_path / "output", 0.4, signal.SIGTERM)
    world.require_the_same_after_kills("two checkpoints", tmp_path / "output", [0.2, 0.4, 0.7])
    world.commands.close()


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("kind", killed_commands.KINDS)
def test_stops_at_random_moments_are_orderly(world: World, tmp_path: Path, kind: str, number: signal.Signals) -> None:
    draw = random.Random(f"{kind} {number}")
    for _ in range(2):
        world.require_an_orderly_stop(kind, tmp_path / "output", draw.random(), number)
    world.require_the_same_after_kills(kind, tmp_path / "output", [])


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", killed_commands.KINDS)
def test_kills_at_random_moments_change_nothing(world: World, tmp_path: Path, kind: str, seed: int) -> None:
    draw = random.Random(f"{kind} {seed}")
    world.require_the_same_after_kills(kind, tmp_path / "output", [draw.random() for _ in range(1 + seed % 2)])
