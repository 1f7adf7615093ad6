"""Bets keep what they promise: seldom wrong at any time, certain at the end, and soon done where much has changed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.verdicts.sequential import Evidence, confidence_sequence

ALPHA = 0.05


def population(n: int, mean: float, flips: float, seed: int) -> np.ndarray:
    """Differences of right and wrong answers in random order; their mean is `mean` exactly, as far as n allows."""
    gained = round(n * (flips + mean) / 2)
    lost = gained - round(n * mean)
    values = np.zeros(n)
    values[:gained], values[gained : gained + lost] = 1, -1
    return np.random.default_rng(seed).permutation(values)


def first_beyond(values: np.ndarray, null: float, falls: bool, block: int = 64) -> int | None:
    """Return after how many documents, at a block's end, the evidence suffices; None if never."""
    evidence = Evidence(null, falls, values.size, values.size)
    for start in range(0, values.size, block):
        evidence.bet(values[start : start + block])
        if evidence.p_value <= ALPHA:
            return min(start + block, values.size)
    return None


def most_by_chance(trials: int) -> float:
    """Of `trials` that err with probability α, what is exceeded once in a thousand times."""
    return float(stats.binom.ppf(0.999, trials, ALPHA))


@pytest.mark.parametrize(("null", "falls"), [(0.0, True), (-0.02, False)])
def test_a_true_hypothesis_is_seldom_ruled_out_at_any_time(null: float, falls: bool) -> None:
    wrong = sum(first_beyond(population(600, null, 0.2, seed), null, falls, 16) is not None for seed in range(200))
    assert wrong <= most_by_chance(200)


def test_at_the_end_nothing_is_uncertain() -> None:
    values = population(300, -0.05, 0.2, 1)
    for null, falls in ((-0.04, True), (-0.06, False)):
        evidence = Evidence(null, falls, 300, 300)
        evidence.bet(values)
        assert evidence.p_value <= ALPHA
    interval = confidence_sequence(values, total=300, documents=300, bound=1, alpha=ALPHA)
    assert interval.low <= -0.05 <= interval.high
    assert interval.high - interval.low < 0.02


def test_the_sequence_holds_the_mean_at_all_times() -> None:
    missed = 0
    for seed in range(60):
        values = population(300, 0.03, 0.3, seed)
        sequences = (
            confidence_sequence(values[:seen], total=300, documents=300, bound=1, alpha=ALPHA)
            for seen in range(30, 301, 45)
        )
        missed += any(not low <= 0.03 <= high for low, high in sequences)
    assert missed <= most_by_chance(60)


def test_evidence_and_sequence_agree() -> None:
    values = population(400, -0.2, 0.4, 3)[:150]
    evidence = Evidence(0.0, True, 400, 400)
    evidence.bet(values)
    interval = confidence_sequence(values, total=400, documents=400, bound=1, alpha=2 * ALPHA)
    assert (evidence.p_value <= ALPHA) == (interval.high < 0)


def test_a_cluster_is_one_draw() -> None:
    chance = np.random.default_rng(5)
    sums = chance.integers(-3, 4, 200).astype(float)
    mean = sums.sum() / 600
    wrong = 0
    for seed in range(100):
        evidence = Evidence(mean, True, 200, 600, bound=3)
        evidence.bet(np.random.default_rng(seed).permutation(sums))
        wrong += evidence.p_value <= ALPHA
    assert wrong <= most_by_chance(100)


@pytest.mark.parametrize(
    ("mean", "null", "falls", "most"), [(-0.05, 0.0, True, 400), (0.0, -0.02, False, 0.2 * 14_042)]
)
def test_what_is_plain_is_soon_decided(mean: float, null: float, falls: bool, most: float) -> None:
    stops = [first_beyond(population(14_042, mean, 0.12, seed), null, falls) for seed in range(15)]
    assert all(stop is not None for stop in stops)
    assert float(np.median([stop or math.inf for stop in stops])) <= most
