"""`make bench`: how often verdicts are wrong, and how soon they are right, over thousands of gates on invented answers.

Limits on errors are such that chance alone exceeds them once in a thousand times. A dated table goes into reports/.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from harness.verdicts.stats.bets import block_sizes
from support.simulated import (
    ALPHA,
    BLIND,
    FLIPS,
    HIDES_NOTHING,
    SCENARIOS,
    UNEVEN_FLIPS,
    Scenario,
    Wrong,
    answers,
    drawn,
    every,
    false_verdicts,
    fixed,
    most_by_chance,
    sequential,
    shifts,
    unit,
)
from tolerances import PUBLISHED_POWER

pytestmark = pytest.mark.bench

REPORTS = Path(__file__).resolve().parents[2] / "reports"
GATES = 10_000
STOPS = 400
"""Gates whose median is taken."""
MMLU = 14_042
SUBJECTS, EXAMPLES, QUESTION = 57, 566, 115
"""MMLU's, and mean tokens of a subject's five examples and of a question, as a 32,000-word tokenizer makes them."""


# --- the report -------------------------------------------------------------------------------------------------------

TEMPLATE = """# How often verdicts are wrong, {date}

`python -m pytest -m bench -s tests/benchmarks/test_verdict_errors.py` (part of `make bench`), {minutes:.0f} minutes on
one core. Answers are invented, of a population of which it is known whether the candidate is worse; verdicts are those
of the functions that `harness gate` calls. Alpha is {alpha:.0%}.

## Wrong verdicts

Of {gates:,} gates a line: how many say `regressed` where nothing got worse, with a margin so small that it hides no
loss; and how many say `passed` where the candidate is worse by the margin (points). A procedure that is wrong in
{alpha:.0%} exceeds the limit once in a thousand times. Right and wrong answers, of which {flips:.0%} differ between the
checkpoints, but for the averages of better and worse tasks, where {uneven:.0%} do.

| gate | margin | false `regressed` | false `passed` | limit |
|---|---|---|---|---|
[errors]

- *20 tasks* are corrected by Holm's procedure. Where one of them is worse by the margin, the others are 10 points
  better, so that they pass and the one decides.
- *Watched* tasks are those of an average that is judged; their losses share alpha with its own.
- In *an average, 5 better and 5 worse*, tasks are 10 points better or worse than their average, all of one weight, of
  60 to 420 documents (in blocks 15 to 105, in random order over all of them).
- In *clusters*, two documents of one have the same difference with probability 0.3. A gate that takes them for
  independent documents is wrong far more often than it says: the last line.
- *Micro-F1* is resampled as a corpus; of F1 no document has its own.
- *In blocks*: a look every 64 documents or 20 clusters, at 1,346 documents as `--sequential` looks; stopped at the
  first whose verdict is clear. That bets are wrong less often than alpha is their price for being right at any time.

## Power

Share of gates that find a loss of so many points, {flips:.0%} of answers differing, and of gates that pass an unchanged
candidate with a margin of 2 points; 2,000 gates of {mmlu:,} documents, {gates:,} of fewer. In brackets: McNemar's exact
test and the test of non-inferiority, simulated before there was this code.

| documents | 1 point | 2 points | 3 points | 5 points | unchanged passes |
|---|---|---|---|---|---|
[power]

## How soon

Documents read until the verdict is clear, {stops} gates a line, {flips:.0%} of answers differing: with a look every 64
documents, and with growing blocks as `--sequential` reads them. *Ended* is the share that `regressed` / `passed`; the
others have read everything and are inconclusive. *Once* and *anew* are tokens, as a share of those of a run over all
documents, in the mean, with MMLU's five examples before each question (57 subjects, {examples} tokens of examples,
{question} of a question): where examples are read once, as the engine keeps them between blocks, and where each look
reads them anew.

| documents | margin | truth | 64: median | mean | ended | once | anew | growing: median | mean | ended | once | anew |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
[speed]
"""


@pytest.fixture(scope="module")
def tables() -> Iterator[dict[str, list[str]]]:
    """Lines of the report's tables; it is written if all tests of this file were run."""
    found: dict[str, list[str]] = {}
    started = time.perf_counter()
    yield found
    for name, lines in found.items():
        print(f"\n{name}", *lines, sep="\n")
    if len(found.get("errors", [])) == len(SCENARIOS) + 1 and len(found.get("speed", [])) == len(SPEEDS):
        date = f"{datetime.now(UTC):%Y-%m-%d}"
        text = TEMPLATE.format(
            date=date,
            minutes=(time.perf_counter() - started) / 60,
            alpha=ALPHA,
            gates=GATES,
            stops=STOPS,
            flips=FLIPS,
            uneven=UNEVEN_FLIPS,
            mmlu=MMLU,
            examples=EXAMPLES,
            question=QUESTION,
        )
        for name, lines in found.items():
            text = text.replace(f"[{name}]", "\n".join(lines))
        (REPORTS / f"{date}-verdict-error-rates.md").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_verdicts_are_wrong_no_more_often_than_alpha(scenario: Scenario, tables: dict[str, list[str]]) -> None:
    wrong, limit = false_verdicts(scenario, GATES), most_by_chance(GATES)
    tables.setdefault("errors", []).append(line(scenario, wrong, f"{limit:.2%}"))
    assert max(wrong) <= limit


def test_a_gate_that_ignores_clusters_is_wrong_too_often(tables: dict[str, list[str]]) -> None:
    wrong = false_verdicts(BLIND, GATES)
    tables.setdefault("errors", []).append(line(BLIND, wrong, "–"))
    assert min(wrong) > 2 * ALPHA


def line(scenario: Scenario, wrong: Wrong, limit: str) -> str:
    return f"| {scenario.name} | {100 * scenario.margin:g} | {wrong.regressed:.2%} | {wrong.passed:.2%} | {limit} |"


# --- power ------------------------------------------------------------------------------------------------------------

DROPS = (0.01, 0.02, 0.03, 0.05)
POWER = {346: (0.11, 0.23, 0.43, 0.84), 1_346: (0.25, 0.66, 0.94, 1.0), 1_319: (0.24, 0.66, 0.92, 1.0)}
POWER |= {4_000: (0.56, 0.97, 1.0, 1.0), MMLU: (0.96, 1.0, 1.0, 1.0)}
"""Of McNemar's one-sided test at 5 %, where 12 % of answers differ, simulated once before this project was begun."""
PASSES = {346: 0.28, 1_346: 0.68, 4_000: 0.98, MMLU: 1.0}
"""Of showing non-inferiority within 2 points where nothing has changed, likewise."""


@pytest.mark.parametrize("n", POWER)
def test_losses_are_found_as_often_as_the_test_can(n: int, tables: dict[str, list[str]]) -> None:
    gates = GATES if n < MMLU else 2_000
    chance = np.random.default_rng(n)
    found = [
        sum(fixed([unit(drawn(chance, n, -drop), HIDES_NOTHING)]).verdict == "regressed" for _ in range(gates)) / gates
        for drop in DROPS
    ]
    passes = sum(fixed([unit(drawn(chance, n, 0.0), 0.02)]).verdict == "passed" for _ in range(gates)) / gates
    cells = [*(f"{one:.2f} ({told:.2f})" for one, told in zip(found, POWER[n], strict=True))]
    told = f"{PASSES[n]:.2f}" if n in PASSES else "–"
    tables.setdefault("power", []).append(f"| {n:,} | {' | '.join(cells)} | {passes:.2f} ({told}) |")
    for one, told_loss in zip(found, POWER[n], strict=True):
        assert one >= told_loss - PUBLISHED_POWER
    assert passes >= PASSES.get(n, 0.0) - PUBLISHED_POWER


# --- speed ------------------------------------------------------------------------------------------------------------


class Speed(NamedTuple):
    """A gate in blocks, and after how many documents its median may end at most."""

    n: int
    margin: float
    mean: float
    most: float
    wanted: str | None
    """What most of them find; None where the truth is between."""


SPEEDS = [
    Speed(MMLU, 0.02, -0.10, 128, "regressed"),
    Speed(MMLU, 0.02, -0.05, 400, "regressed"),
    Speed(MMLU, 0.02, -0.03, 1_250, "regressed"),
    Speed(MMLU, 0.02, -0.01, MMLU, None),
    Speed(MMLU, 0.02, 0.00, 0.2 * MMLU, "passed"),
    Speed(MMLU, 0.02, 0.03, 448, "passed"),
    Speed(1_346, 0.03, -0.05, 512, "regressed"),
    Speed(1_346, 0.03, 0.00, 1_346, "passed"),
    Speed(1_346, 0.03, 0.03, 320, "passed"),
    Speed(346, 0.05, -0.10, 192, "regressed"),
    Speed(346, 0.05, 0.00, 346, "passed"),
]


def tokens(reads: list[int], total: int) -> tuple[float, float]:
    """Return tokens read, as a share of all: examples once, or anew at each of the looks that end at `reads`.

    Of `SUBJECTS` of one size; a block of n documents has documents of SUBJECTS·(1 - (1 - 1/SUBJECTS)^n) of them.
    """
    sizes = np.diff([0, *reads])
    met = SUBJECTS * (1 - (1 - 1 / SUBJECTS) ** sizes)
    whole = SUBJECTS * EXAMPLES + total * QUESTION
    once = min(SUBJECTS, float(met.sum())) * EXAMPLES + reads[-1] * QUESTION
    return once / whole, (float(met.sum()) * EXAMPLES + reads[-1] * QUESTION) / whole


@pytest.mark.parametrize("speed", SPEEDS, ids=lambda one: f"{one.n}, {100 * one.mean:+g}")
def test_what_is_plain_is_decided_soon(speed: Speed, tables: dict[str, list[str]]) -> None:
    cells = []
    for ends in (every(64, speed.n), np.cumsum(list(block_sizes(speed.n))).tolist()):
        chance = np.random.default_rng(speed.n)
        stops = [sequential([answers(shifts(chance, speed.n, speed.mean))], speed.margin, ends) for _ in range(STOPS)]
        shares = [sum(stop.verdict == kind for stop in stops) / STOPS for kind in ("regressed", "passed")]
        reads = np.array([stop.read for stop in stops])
        median = float(np.median(reads))
        assert median <= speed.most
        if speed.wanted:
            assert shares[("regressed", "passed").index(speed.wanted)] >= 0.5
        used = f"{median:,.0f} | {reads.mean():,.0f} | {shares[0]:.0%} / {shares[1]:.0%}"
        if speed.n == MMLU:
            once, anew = np.mean([tokens(ends[: ends.index(stop.read) + 1], speed.n) for stop in stops], axis=0)
            used += f" | {once:.0%} | {anew:.0%}"
            assert speed.mean != 0 or np.median(once) <= 0.35
        else:
            used += " | – | –"
        cells.append(used)
    first = f"| {speed.n:,} | {100 * speed.margin:g} | {100 * speed.mean:+g}"
    tables.setdefault("speed", []).append(f"{first} | {' | '.join(cells)} |")
