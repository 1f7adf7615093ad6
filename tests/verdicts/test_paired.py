"""Paired statistics against scipy, statsmodels' definitions, brute force, and their own error rates."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from harness.verdicts import paired
from harness.verdicts.paired import Differences, loss, needed_to_pass, needed_to_tell, non_inferiority


def binary(both: int, lost: int, gained: int, neither: int) -> Differences:
    """Documents that both, only the baseline, only the candidate, or neither answered rightly."""
    baseline = [1.0] * both + [1.0] * lost + [0.0] * gained + [0.0] * neither
    candidate = [1.0] * both + [0.0] * lost + [1.0] * gained + [0.0] * neither
    return Differences(np.array(baseline), np.array(candidate))


tables = st.tuples(st.integers(0, 40), st.integers(0, 20), st.integers(0, 20), st.integers(0, 40)).filter(sum)
scores = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=30)


def graded(pairs: list[tuple[float, float]]) -> Differences:
    both = np.array(pairs)
    return Differences(both[:, 0], both[:, 1])


# --- loss -------------------------------------------------------------------------------------------------------------


@given(tables)
def test_of_right_and_wrong_loss_is_scipys_binomial_test(table: tuple[int, int, int, int]) -> None:
    _, lost, gained, _ = table
    expected = 1.0 if lost + gained == 0 else stats.binomtest(lost, lost + gained, 0.5, "greater").pvalue
    assert loss(binary(*table)) == pytest.approx(expected)


@given(st.lists(st.integers(-4, 4).filter(bool), min_size=1, max_size=9))
def test_few_signs_are_all_flipped(differences: list[int]) -> None:
    given = Differences(np.zeros(len(differences)), np.array(differences, dtype=float) / 7)
    sums = [
        sum(sign * value for sign, value in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    brute = sum(total <= sum(differences) for total in sums) / len(sums)
    assert loss(given) == pytest.approx(brute)


def test_more_signs_are_flipped_as_scipy_flips_them() -> None:
    chance = np.random.default_rng(1)
    given = Differences(chance.random(60), chance.random(60) - 0.1)
    theirs = stats.permutation_test(
        (given.candidate, given.baseline),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        alternative="less",
        vectorized=True,
        n_resamples=20_000,
        rng=2,
    )
    # Both are drawn: their difference has this standard deviation.
    spread = math.sqrt(theirs.pvalue * (1 - theirs.pvalue) * (1 / 20_000 + 1 / paired.FLIPS))
    assert abs(loss(given) - theirs.pvalue) < 5 * spread


def test_of_many_graded_documents_loss_is_scipys_paired_t_test() -> None:
    chance = np.random.default_rng(3)
    given = Differences(chance.random(500), chance.random(500))
    assert loss(given) == pytest.approx(stats.ttest_rel(given.candidate, given.baseline, alternative="less").pvalue)


def test_where_nothing_differs_there_is_no_loss() -> None:
    assert loss(binary(5, 0, 0, 5)) == 1
    assert loss(Differences(np.full(5, 0.3), np.full(5, 0.3))) == 1


# --- non-inferiority and intervals ------------------------------------------------------------------------------------


def score_statistic(table: tuple[int, int, int, int], difference: float) -> float:
    """The score statistic by maximising the likelihood numerically under the hypothesis, as Tango defines it."""
    both, lost, gained, neither = table
    n = sum(table)

    def worse(share_lost: float) -> float:
        terms = [
            (lost, share_lost),
            (gained, share_lost + difference),
            (both + neither, 1 - 2 * share_lost - difference),
        ]
        return -sum(count * math.log(max(share, 1e-300)) for count, share in terms if count)

    low, high = max(0.0, -difference), (1 - difference) / 2
    found = optimize.minimize_scalar(worse, bounds=(low, high), method="bounded", options={"xatol": 1e-12})
    at = min((found.x, low, high), key=worse)
    return (gained - lost - n * difference) / math.sqrt(n * (2 * at + difference - difference**2))


@given(tables, st.floats(0.01, 0.3))
def test_of_right_and_wrong_non_inferiority_is_tangos_score_test(
    table: tuple[int, int, int, int], margin: float
) -> None:
    expected = stats.norm.sf(score_statistic(table, -margin))
    assert non_inferiority(binary(*table), margin) == pytest.approx(expected, abs=1e-5)


@given(tables)
def test_tangos_interval_holds_what_the_score_test_does_not_rule_out(table: tuple[int, int, int, int]) -> None:
    given = binary(*table)
    interval = given.interval()
    assert interval is not None
    assert -1 <= interval.low <= given.mean <= interval.high <= 1
    for end, sign in ((interval.low, 1), (interval.high, -1)):
        if -1 < end < 1:
            assert sign * score_statistic(table, end) == pytest.approx(stats.norm.ppf(0.975), abs=1e-3)


@given(scores)
def test_graded_intervals_are_scipys(pairs: list[tuple[float, float]]) -> None:
    given = graded(pairs)
    if given.is_binary or not given.stderr:
        return
    theirs = stats.ttest_rel(given.candidate, given.baseline).confidence_interval(0.95)
    assert given.interval() == pytest.approx(tuple(theirs))
    shifted = stats.ttest_1samp(given.each, -0.1, alternative="greater")
    assert non_inferiority(given, 0.1) == pytest.approx(shifted.pvalue)


def test_without_any_flip_many_documents_are_needed_to_pass() -> None:
    assert non_inferiority(binary(50, 0, 0, 0), 0.02) > 0.05
    assert non_inferiority(binary(500, 0, 0, 0), 0.02) < 0.05
    same = Differences(np.full(50, 0.3), np.full(50, 0.3))
    assert non_inferiority(same, 0.02) == pytest.approx(0.98**50)


@pytest.mark.parametrize("size", [1, 2])
def test_one_document_decides_nothing(size: int) -> None:
    one = Differences(np.zeros(size), np.ones(size) * 0.5)
    assert loss(one) > 0.05
    assert non_inferiority(one, 0.02) > 0.05


# --- clusters ---------------------------------------------------------------------------------------------------------


def test_the_clustered_standard_error_is_the_closed_form() -> None:
    chance = np.random.default_rng(4)
    clusters = np.repeat(np.arange(20), chance.integers(1, 6, 20))
    given = Differences(chance.random(clusters.size), chance.random(clusters.size), clusters)
    total, n = 0.0, given.n
    for cluster in range(20):
        inside = [given.each[i] - given.mean for i in range(n) if clusters[i] == cluster]
        total += sum(a * b for a in inside for b in inside)
    assert given.stderr == pytest.approx(math.sqrt(total * 20 / 19) / n)


def test_clusters_of_one_document_are_no_clusters() -> None:
    chance = np.random.default_rng(5)
    alone = Differences(chance.random(40), chance.random(40))
    same = Differences(alone.baseline, alone.candidate, np.arange(40))
    assert same.interval() == pytest.approx(alone.interval())
    assert non_inferiority(same, 0.1) == pytest.approx(non_inferiority(alone, 0.1))
    assert loss(same) == loss(alone)


def test_copies_of_documents_add_nothing() -> None:
    chance = np.random.default_rng(6)
    alone = Differences(chance.random(30), chance.random(30))
    copied = Differences(np.repeat(alone.baseline, 5), np.repeat(alone.candidate, 5), np.repeat(np.arange(30), 5))
    assert copied.interval() == pytest.approx(alone.interval())
    assert loss(copied) == pytest.approx(loss(alone))


# --- sample sizes -----------------------------------------------------------------------------------------------------


def test_with_the_documents_needed_the_power_is_what_was_promised() -> None:
    chance, found = np.random.default_rng(7), []
    pilot = Differences(np.zeros(4000), chance.normal(0.05, 0.5, 4000))
    n = math.ceil(needed_to_tell(pilot))
    for _ in range(1500):
        again = chance.normal(pilot.mean, float(pilot.each.std()), n)
        found.append(stats.ttest_1samp(again, 0).pvalue < 0.05)
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)
    assert needed_to_tell(binary(3, 0, 0, 3)) == math.inf
    assert needed_to_pass(binary(3, 3, 0, 0), 0.02) == math.inf
