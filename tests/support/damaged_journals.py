"""Random damage to a journal, and the promise that it changes no answer: for short and long tests."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from harness.backends.journal import Journal

Random = random.Random


def flip_bits(content: bytearray, rng: Random) -> None:
    for _ in range(rng.choice([1, 10, 100, 300])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def flip_near_start(content: bytearray, rng: Random) -> None:
    content[rng.randrange(min(200, len(content)))] ^= 1 << rng.randrange(8)


def truncate(content: bytearray, rng: Random) -> None:
    del content[rng.randrange(len(content)) :]


def zero(content: bytearray, rng: Random) -> None:
    start = rng.randrange(len(content))
    end = min(len(content), start + rng.choice([1, 100, 4096, len(content)]))
    content[start:end] = bytes(end - start)


def overwrite(content: bytearray, rng: Random) -> None:
    start = rng.randrange(len(content))
    end = min(len(content), start + rng.choice([10, 4096]))
    content[start:end] = rng.randbytes(end - start)


def swap_pages(content: bytearray, rng: Random) -> None:
    first, second = (rng.randrange(max(1, len(content) // 4096)) * 4096 for _ in range(2))
    if first != second:
        pages = content[first : first + 4096], content[second : second + 4096]
        content[first : first + 4096], content[second : second + 4096] = pages[1], pages[0]


DAMAGES: tuple[Callable[[bytearray, Random], None], ...] = (
    *(flip_bits, flip_bits, flip_bits, flip_near_start, truncate, zero, overwrite, swap_pages),
)


def answers(rng: Random, count: int) -> dict[bytes, list[float | str | bool]]:
    """Return answers such as checkpoints give: log-likelihoods, and texts of which some exceed a page."""
    return {
        Journal.key("f", [number]): [-rng.random() * 9, True]
        if number % 3
        else ["答案" * rng.choice([3, 30, 300, 900]), False]
        for number in range(count)
    }


def build(folder: Path, rng: Random, count: int) -> dict[bytes, list[float | str | bool]]:
    """Write a journal as a killed process leaves it, with answers in the file, in the log and in both; return them."""
    original = answers(rng, count)
    keys = list(original)
    (folder / "living").mkdir(parents=True)
    journal = Journal(folder / "living" / "journal.sqlite")
    journal._database.execute("PRAGMA synchronous=OFF")
    stored = rng.choice([rng.randrange(count), count - 1])  # number of the last answer that is not only in the log
    for start in range(0, count, 16):
        journal.put({key: original[key] for key in keys[start : start + 16]}, "fingerprint")
        if start <= stored < start + 16:
            journal._database.execute("PRAGMA wal_checkpoint(PASSIVE)")
    for file in (folder / "living").iterdir():
        shutil.copy(file, folder / file.name)
    journal.close()
    shutil.rmtree(folder / "living")
    return original


def require_harmless(folder: Path, seed: int, count: int = 120) -> int:
    """Damage a journal at random, and require that each of its answers is right or missing, and that work goes on.

    Returns how many answers were lost.
    """
    rng = random.Random(seed)
    original = build(folder, rng, count)
    file = folder / "journal.sqlite"
    hurt = rng.choice(["", "", "", "-wal", "-wal", "-shm"]), rng.choice(DAMAGES)
    place = file.with_name(f"{file.name}{hurt[0]}")
    content = bytearray(place.read_bytes())
    hurt[1](content, rng)
    place.write_bytes(content)

    journal = Journal(file)
    stored = journal.get(original)
    wrong = {key: value for key, value in stored.items() if value != original[key]}
    assert not wrong, f"seed {seed}: {hurt} changed {len(wrong)} answers"
    missing = {key: value for key, value in original.items() if key not in stored}
    journal.put(missing, "fingerprint")
    assert journal.get(original) == original, f"seed {seed}: {hurt} stopped the journal from storing"
    journal.close()
    again = Journal(file)
    assert (again.get(original), again.notes, again.failed_rows) == (original, [], 0), f"seed {seed}: {hurt} stays"
    again.close()
    return len(missing)
