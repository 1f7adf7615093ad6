"""`make bench`: error rates, power and speed of verdicts, from thousands of gates on invented answers.

Limits on errors are set so that chance alone exceeds them once in a thousand times. A dated report is written to
reports/.
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
    FLIPS,
    IGNORING_CLUSTERS,
    SCENARIOS,
    TINY_MARGIN,
    UNEVEN_FLIPS,
    ErrorRates,
    Scenario,
    answers,
    draw_answers,
    false_verdicts,
    gate_complete,
    look_every,
    most_by_chance,
    pending_judgement,
    sequential,
    shifts,
)
from tolerances import PUBLISHED_POWER

pytestmark = pytest.mark.bench

REPORTS = Path(__file__).resolve().parents[2] / "reports"
GATES = 10_000
STOPS = 400
"""Number of gates per line of the speed table."""
MMLU = 14_042
SUBJECTS, EXAMPLES, QUESTION = 57, 566, 115
"""Number of MMLU's subjects, and mean tokens of a subject's five examples and of a question, with a tokenizer of 32,000
tokens."""


# --- the report -------------------------------------------------------------------------------------------------------

TEMPLATE = """# How often verdicts are wrong, {date}

`python -m pytest -m bench -s tests/benchmarks/test_verdict_errors.py` (part of `make bench`), {minutes:.0f} minutes on
one core. Answers are drawn from a population for which it is known whether the candidate is worse; verdicts come from
the functions that `harness gate` calls. Alpha is {alpha:.0%}.

## Wrong verdicts

Shares of {gates:,} gates per line: `regressed` although nothing got worse, with a margin so small that it hides no
loss; and `passed` although the candidate is worse by the margin (in points). A procedure with an error rate of
{alpha:.0%} exceeds the limit once in a thousand times. Answers are right or wrong; {flips:.0%} differ between the
checkpoints, and {uneven:.0%} in the averages of better and worse tasks.

| gate | margin | false `regressed` | false `passed` | limit |
|---|---|---|---|---|
[errors]

- *20 tasks* are corrected by Holm's procedure. If one of them is worse by the margin, the others are 10 points better,
  so that they pass and the one decides.
- *Watched* tasks are the members of a judged average; their losses share alpha with the average's.
- In *an average, 5 better and 5 worse*, tasks are 10 points better or worse than their average. All have the same
  weight and 60 to 420 documents (in blocks: 15 to 105, in random order over all tasks).
- In *clusters*, two documents of a cluster have the same difference with probability 0.3. A gate that treats them as
  independent documents is wrong far more often than alpha: see the last line.
- *Micro-F1* is resampled as a corpus metric, because single documents have no F1 that could be averaged.
- *In blocks*: a look every 64 documents or 20 clusters (at 1,346 documents as `--sequential` looks), stopped at the
  first look with a clear verdict. Bets are wrong less often than alpha because they are valid at any time.

## Power

Share of gates that find a loss of the given size, with {flips:.0%} of answers differing, and that pass an unchanged
candidate with a margin of 2 points; 2,000 gates of {mmlu:,} documents, {gates:,} of fewer. In brackets: McNemar's exact
test and the test of non-inferiority, simulated independently of this code.

| documents | 1 point | 2 points | 3 points | 5 points | unchanged passes |
|---|---|---|---|---|---|
[power]

## How soon

Documents read until the verdict is clear, {stops} gates per line, {flips:.0%} of answers differing: with looks every 64
documents, and with growing blocks as `--sequential` reads them. *Ended* is the share that `regressed` / `passed`; the
others read everything and are inconclusive. *Once* and *anew* are mean shares of the tokens of a run over all
documents, with MMLU's five examples before each question (57 subjects, {examples} tokens of examples, {question} per
question): if examples are read once, as when the engine keeps them between blocks, and if each look reads them again.

| documents | margin | truth | 64: median | mean | ended | once | anew | growing: median | mean | ended | once | anew |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
[speed]
"""


@pytest.fixture(scope="module")
def tables() -> Iterator[dict[str, list[str]]]:
    """Collect the lines of the report's tables, and write the report if all tests of this file were run."""
    lines_by_table: dict[str, list[str]] = {}
    started = time.perf_counter()
    yield lines_by_table
    for name, lines in lines_by_table.items():
        print(f"\n{name}", *lines, sep="\n")
    if len(lines_by_table.get("errors", [])) == len(SCENARIOS) + 1 and len(lines_by_table.get("speed", [])) == len(
        SPEEDS
    ):
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
        for name, lines in lines_by_table.items():
            text = text.replace(f"[{name}]", "\n".join(lines))
        (REPORTS / f"{date}-verdict-error-rates.md").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda item: item.name)
def test_verdicts_are_wrong_no_more_often_than_alpha(scenario: Scenario, tables: dict[str, list[str]]) -> None:
    wrong, limit = false_verdicts(scenario, GATES), most_by_chance(GATES)
    tables.setdefault("errors", []).append(line(scenario, wrong, f"{limit:.2%}"))
    assert max(wrong) <= limit


def test_a_gate_that_ignores_clusters_is_wrong_too_often(tables: dict[str, list[str]]) -> None:
    wrong = false_verdicts(IGNORING_CLUSTERS, GATES)
    tables.setdefault("errors", []).append(line(IGNORING_CLUSTERS, wrong, "–"))
    assert min(wrong) > 2 * ALPHA


def line(scenario: Scenario, wrong: ErrorRates, limit: str) -> str:
    return f"| {scenario.name} | {100 * scenario.margin:g} | {wrong.regressed:.2%} | {wrong.passed:.2%} | {limit} |"


# --- power ------------------------------------------------------------------------------------------------------------

DROPS = (0.01, 0.02, 0.03, 0.05)
POWER = {346: (0.11, 0.23, 0.43, 0.84), 1_346: (0.25, 0.66, 0.94, 1.0), 1_319: (0.24, 0.66, 0.92, 1.0)}
POWER |= {4_000: (0.56, 0.97, 1.0, 1.0), MMLU: (0.96, 1.0, 1.0, 1.0)}
"""Power of McNemar's one-sided test at 5 % with 12 % of answers differing, simulated independently of this code."""
PASSES = {346: 0.28, 1_346: 0.68, 4_000: 0.98, MMLU: 1.0}
"""Power to show non-inferiority within 2 points for unchanged candidates, simulated in the same way."""


@pytest.mark.parametrize("n", POWER)
def test_power_equals_that_of_the_exact_tests(n: int, tables: dict[str, list[str]]) -> None:
    gates = GATES if n < MMLU else 2_000
    generator = np.random.default_rng(n)
    powers = [
        sum(
            gate_complete([pending_judgement(draw_answers(generator, n, -drop), TINY_MARGIN)]).verdict == "regressed"
            for _ in range(gates)
        )
        / gates
        for drop in DROPS
    ]
    passes = (
        sum(
            gate_complete([pending_judgement(draw_answers(generator, n, 0.0), 0.02)]).verdict == "passed"
            for _ in range(gates)
        )
        / gates
    )
    cells = [*(f"{power:.2f} ({published:.2f})" for power, published in zip(powers, POWER[n], strict=True))]
    published = f"{PASSES[n]:.2f}" if n in PASSES else "–"
    tables.setdefault("power", []).append(f"| {n:,} | {' | '.join(cells)} | {passes:.2f} ({published}) |")
    for power, published_power in zip(powers, POWER[n], strict=True):
        assert power >= published_power - PUBLISHED_POWER
    assert passes >= PASSES.get(n, 0.0) - PUBLISHED_POWER


# --- speed ------------------------------------------------------------------------------------------------------------


class Speed(NamedTuple):
    """A gate in blocks, and a limit for the median number of documents it reads."""

    n: int
    margin: float
    mean: float
    limit: float
    expected: str | None
    """The verdict of most gates; None if the true loss lies between 0 and the margin."""


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
    """Return the share of tokens read if examples are read once, and if they are read again at each look.

    `reads` are the numbers of documents read at the looks. Subjects have equal size; a block of n documents contains
    documents of SUBJECTS·(1 - (1 - 1/SUBJECTS)^n) subjects on average.
    """
    sizes = np.diff([0, *reads])
    met = SUBJECTS * (1 - (1 - 1 / SUBJECTS) ** sizes)
    whole = SUBJECTS * EXAMPLES + total * QUESTION
    once = min(SUBJECTS, float(met.sum())) * EXAMPLES + reads[-1] * QUESTION
    return once / whole, (float(met.sum()) * EXAMPLES + reads[-1] * QUESTION) / whole


@pytest.mark.parametrize("speed", SPEEDS, ids=lambda item: f"{item.n}, {100 * item.mean:+g}")
def test_clear_differences_are_decided_early(speed: Speed, tables: dict[str, list[str]]) -> None:
    cells = []
    for ends in (look_every(64, speed.n), np.cumsum(list(block_sizes(speed.n))).tolist()):
        generator = np.random.default_rng(speed.n)
        stops = [
            sequential([answers(shifts(generator, speed.n, speed.mean))], speed.margin, ends) for _ in range(STOPS)
        ]
        shares = [sum(stop.verdict == kind for stop in stops) / STOPS for kind in ("regressed", "passed")]
        reads = np.array([stop.read for stop in stops])
        median = float(np.median(reads))
        assert median <= speed.limit
        if speed.expected:
            assert shares[("regressed", "passed").index(speed.expected)] >= 0.5
        used = f"{median:,.0f} | {reads.mean():,.0f} | {shares[0]:.0%} / {shares[1]:.0%}"
        if speed.n == MMLU:
            once, repeated = np.mean([tokens(ends[: ends.index(stop.read) + 1], speed.n) for stop in stops], axis=0)
            used += f" | {once:.0%} | {repeated:.0%}"
            assert speed.mean != 0 or np.median(once) <= 0.35
        else:
            used += " | – | –"
        cells.append(used)
    first = f"| {speed.n:,} | {100 * speed.margin:g} | {100 * speed.mean:+g}"
    tables.setdefault("speed", []).append(f"{first} | {' | '.join(cells)} |")
