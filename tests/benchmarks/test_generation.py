"""`make bench`: generation beside lm-eval's HF model and vLLM, and the dated report of it.

Asserted is what needs no clock: a token of an answer, except its first, takes at most one row of one step, and long
prompts that share nothing are decoded in hardly more steps than one answer alone. Times are only shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import generation
from generation import LINES, Bench, Result

pytestmark = [pytest.mark.bench, pytest.mark.data]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Bench:
    return Bench(tmp_path_factory.mktemp("generation"), data)


@pytest.fixture(scope="module")
def results(bench: Bench) -> Iterator[dict[str, dict[str, Result]]]:
    entries: dict[str, dict[str, Result]] = {}
    yield entries
    text = generation.report(entries)
    print(f"\n{text}")
    if len(entries) == len(LINES):
        generation.write(text)


@pytest.mark.parametrize("name", LINES)
def test_steps_are_full(bench: Bench, results: dict[str, dict[str, Result]], name: str) -> None:
    line = LINES[name]
    results[name] = bench.line(name)
    ours = results[name]["ours"]
    answers = line.documents * len(line.tasks)
    assert ours.rows <= ours.generated - answers if line.limit else not ours.rows
    if line.model == "llama":  # all answers have one length, so that rows leave together
        assert ours.steps <= 1.1 * (line.limit - 1 + answers)
