"""`make bench`: the engine beside lm-eval's HF model, and the dated report of it.

Asserted is what is exact: that no token goes through the model twice, and that memory never exceeds lm-eval's. Times
are only shown. A report is written of all lines whole; `python tests/benchmarks/versus.py LINE` runs one line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import versus
from versus import LINES, Bench, Result

pytestmark = [pytest.mark.bench, pytest.mark.data]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"), data)


@pytest.fixture(scope="module")
def results(bench: Bench) -> Iterator[list[Result]]:
    found: list[Result] = []
    yield found
    text = versus.report(found, bench.matmul(), bench.profile(), bench.planner())
    print(f"\n{text}")
    if len(found) == len(LINES) and not os.environ.get("HARNESS_BENCH_DOCUMENTS"):
        versus.write(text)


@pytest.mark.parametrize("name", LINES)
def test_every_token_once_in_no_more_memory(bench: Bench, results: list[Result], name: str) -> None:
    line, found = LINES[name], bench.line(name)
    results.append(found)
    print(f"\n{found}")
    assert found.ours.tokens >= found.needed
    if line.token_ratio:
        assert found.ours.tokens - versus.PROBE <= line.token_ratio * found.needed
    assert found.ours.generated == found.to_generate
    assert found.ours.peak <= found.theirs.peak
    assert versus.above(found.ours) <= line.memory_share * versus.above(found.theirs)
    assert found.forecast_kept or name == "perplexity"
