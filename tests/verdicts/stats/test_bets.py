"""Bets keep what they promise: seldom wrong at any time, of the population, and soon done where much has changed."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.verdicts.stats.bets import (
    BOLDNESS,
    DOUBT,
    TRUST,
    SequentialTest,
    block_sizes,
    concatenated,
    share_of_looks,
)
from harness.verdicts.stats.means import Array, Differences
from tolerances import ALMOST_EQUAL, CLOSED_FORM

ALPHA = 0.05


def answers(n: int, mean: float, flips: float, seed: int) -> Differences:
    """Draw right and wrong answers of two checkpoints: of each document independently, `flips` of them differ."""
    drawn = np.random.default_rng(seed).random(n)
    gained = drawn < (flips + mean) / 2
    return Differences(1.0 - gained, 1.0 - ((drawn < flips) & ~gained))


def part(whole: Differences, start: int, stop: int) -> Differences:
    """Return some of the documents; clusters are theirs only."""
    clusters = None if whole.clusters is None else np.unique(whole.clusters[start:stop], return_inverse=True)[1]
    return Differences(whole.baseline[start:stop], whole.candidate[start:stop], clusters)


def watch(whole: Differences, margin: float = 0.02) -> SequentialTest:
    return SequentialTest(margin, whole.n, whole.n)


def stop(whole: Differences, margin: float, sizes: list[int]) -> tuple[str, int]:
    """Return how a gate ends that looks after each of `sizes` documents, and after how many."""
    seen, read = watch(whole, margin), 0
    for size in sizes:
        seen.add(part(whole, read, read + size))
        read += size
        if read == whole.n:
            seen.finish()
        if seen.p_loss <= ALPHA:
            return "regressed", read
        if seen.p_non_inferiority <= ALPHA:
            return "passed", read
    return "inconclusive", read


def most_by_chance(trials: int, rate: float = ALPHA) -> float:
    """Of `trials` that err with probability `rate`, what is exceeded once in a thousand times."""
    return float(stats.binom.ppf(0.999, trials, rate))


# --- what is bet ------------------------------------------------------------------------------------------------------


class Unit(NamedTuple):
    """A document or a cluster: the sum of its differences and of its weights."""

    difference: float
    weight: float = 1.0


def capitals(units: list[Unit], null: float, sign: int, heaviest: float = 1.0, usual: float = 1.0) -> list[float]:
    """The definition, unit by unit: aGRAPA with a running mean and variance of what was paid before."""
    capital, found, paid = 1.0, [], []
    low, expected = heaviest * (1 + sign * null), (TRUST if sign > 0 else DOUBT) / usual
    begun = -sign * null * expected * usual
    for unit in units:
        means = [(begun + sum(paid[:seen])) / (expected + seen) for seen in range(len(paid) + 1)]
        squares = usual**2 + sum((x - m) ** 2 for x, m in zip(paid, means[1:], strict=True))
        variance = squares / (1 + len(paid))
        stake = min(max(means[-1] / (variance + means[-1] ** 2), 0), BOLDNESS / low)
        paid.append(sign * (unit.difference - unit.weight * null))
        capital *= 1 + stake * paid[-1]
        found.append(capital)
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.0, 1.0]), min_size=1, max_size=30), st.sampled_from([0.02, 0.1]))
def test_a_p_value_is_one_by_the_largest_capital(differences: list[float], margin: float) -> None:
    seen = SequentialTest(margin, 100, 100)
    for value in differences:
        seen.add(Differences(np.zeros(1), np.array([value])))
    for p_value, null, sign in ((seen.p_loss, 0.0, -1), (seen.p_non_inferiority, -margin, 1)):
        largest = max([1.0, *capitals([Unit(value) for value in differences], null, sign)])
        assert p_value == pytest.approx(min(1.0, 1 / largest / share_of_looks(100)), rel=CLOSED_FORM)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=5), min_size=1, max_size=20))
def test_a_cluster_is_one_unit_that_loses_what_the_heaviest_can(clusters: list[list[float]]) -> None:
    weight, margin = 1.5, 0.1
    seen = SequentialTest(margin, 100, 300, heaviest=5 * weight)
    for values in clusters:
        each = weight * np.array(values)
        together = np.zeros(each.size, dtype=np.int64)
        seen.add(Differences(np.zeros(each.size), each, together), np.full(each.size, weight))
    units = [Unit(weight * sum(values), weight * len(values)) for values in clusters]
    for p_value, null, sign in ((seen.p_loss, 0.0, -1), (seen.p_non_inferiority, -margin, 1)):
        largest = max([1.0, *capitals(units, null, sign, heaviest=5 * weight, usual=3)])
        assert p_value == pytest.approx(min(1.0, 1 / largest / share_of_looks(100)), rel=CLOSED_FORM)


def test_a_fair_game_leaves_the_capital_as_it_was_on_average() -> None:
    chances = {-1.0: 0.08, 0.0: 0.86, 1.0: 0.06}  # of mean -0.02
    for null, sign in ((-0.02, 1), (-0.02, -1)):
        average = sum(
            math.prod(chances[value] for value in path) * capitals([Unit(value) for value in path], null, sign)[-1]
            for path in itertools.product(chances, repeat=6)
        )
        assert average == pytest.approx(1.0, rel=CLOSED_FORM)


def test_the_order_within_a_block_is_none() -> None:
    whole = answers(300, -0.1, 0.3, 2)
    found = set()
    for order in (np.arange(300), np.argsort(whole.by_document), np.argsort(-whole.by_document)):
        seen = watch(whole)
        seen.add(Differences(whole.baseline[order], whole.candidate[order]))
        found.add((seen.p_loss, seen.p_non_inferiority, seen.interval()))
    assert len(found) == 1


def test_what_comes_first_in_a_block_is_not_known_before() -> None:
    places = set()
    for number in range(1, 41):
        each = np.full(64, -0.01)
        each[0] = number / 50
        seen = SequentialTest(0.02, 640, 640)
        seen.add(Differences(np.maximum(-each, 0), np.maximum(each, 0)))
        places.add(int(seen._draws[0].sums.argmax()))
    assert len(places) > 20  # 30 of 64 if each is as likely; fewer than 21 happen once in ten thousand times


def test_the_unit_of_a_metric_changes_nothing() -> None:
    whole = answers(500, -0.06, 0.3, 4)
    plain, large = watch(whole), SequentialTest(2, 500, 500, bound=100)
    plain.add(whole)
    large.add(Differences(whole.baseline * 100, whole.candidate * 100))
    assert large.p_loss == pytest.approx(plain.p_loss, rel=ALMOST_EQUAL)
    assert large.p_non_inferiority == pytest.approx(plain.p_non_inferiority, rel=ALMOST_EQUAL)
    assert large.interval() == pytest.approx(100 * np.array(plain.interval()), rel=ALMOST_EQUAL)


# --- error rates: `tests/benchmarks/test_verdict_errors.py` has them exactly -----------------------------------------


@pytest.mark.parametrize(("mean", "wrong"), [(0.0, "regressed"), (-0.03, "passed")])
def test_gates_are_seldom_wrong(mean: float, wrong: str) -> None:
    ends = [stop(answers(346, mean, 0.12, seed), 0.03, [64] * 5 + [26])[0] for seed in range(400)]
    assert ends.count(wrong) <= most_by_chance(400)


def test_one_answer_lost_is_no_loss_at_the_end() -> None:
    whole = Differences(np.ones(346), np.r_[0.0, np.ones(345)])
    seen = watch(whole)
    seen.add(whole)
    seen.finish()
    assert seen.p_loss > ALPHA


def test_the_sequence_holds_the_mean_at_all_times() -> None:
    missed = 0
    for seed in range(40):
        whole = answers(400, 0.03, 0.3, seed)
        seen, out = watch(whole), False
        for start in range(0, 400, 100):
            seen.add(part(whole, start, start + 100))
            if start == 300:
                seen.finish()
            interval = seen.interval()
            assert interval is not None
            out |= not interval.low <= 0.03 <= interval.high
        missed += out
    assert missed <= most_by_chance(40)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 400), st.floats(-0.3, 0.3), st.integers(0, 2**16), st.booleans())
def test_p_values_and_sequence_agree(n: int, mean: float, seed: int, ended: bool) -> None:
    whole, margin = answers(n, mean, 0.4, seed), 0.1
    seen = watch(whole, margin)
    seen.add(whole)
    if ended:
        seen.finish()
    interval = seen.interval(1 - 2 * ALPHA)  # half of the error on either side
    assert interval is not None
    step = 1 / 2_000
    if interval.high < 0:
        assert seen.p_loss <= ALPHA or (ended and whole.p_loss < 2 * ALPHA)  # exact against score test
    if seen.p_loss <= ALPHA and not ended:
        assert interval.high <= step
    if interval.low > -margin + step:
        assert seen.p_non_inferiority <= ALPHA
    if seen.p_non_inferiority <= ALPHA:
        assert interval.low >= -margin - step


# --- units ------------------------------------------------------------------------------------------------------------


def test_a_cluster_is_one_draw() -> None:
    # Ten documents of a cluster tell no more than one of them does, and so ten times what it does.
    single = answers(200, -0.1, 0.3, 5)
    whole = Differences(single.baseline.repeat(10), single.candidate.repeat(10), np.arange(200).repeat(10))
    clustered = SequentialTest(0.02, 200, 2_000, heaviest=10)
    clustered.add(whole)
    blind = watch(whole)
    blind.add(Differences(whole.baseline, whole.candidate))
    assert blind.p_loss < 1e-6 < 1e-3 < clustered.p_loss


@pytest.mark.parametrize("heavy", [1, 20])
def test_clusters_of_no_difference_are_seldom_ruled_out(heavy: int) -> None:
    wrong = 0
    for seed in range(300):
        chance = np.random.default_rng(seed)
        sizes = chance.permutation(np.r_[np.full(5, 5 * heavy), np.ones(95, int), np.full(20, 5)])
        clusters = np.repeat(np.arange(120), sizes)
        shift = chance.normal(size=120)[clusters]
        scores = [(shift + chance.normal(size=clusters.size) > 0).astype(float) for _ in range(2)]
        seen = SequentialTest(0.05, 120, clusters.size, heaviest=5 * heavy)
        ends = np.r_[0, sizes.cumsum()]
        for start in range(0, 120, 30):
            documents = slice(ends[start], ends[start + 30])
            seen.add(Differences(scores[0][documents], scores[1][documents], clusters[documents] - start))
        seen.finish()
        wrong += seen.p_loss <= ALPHA
    assert wrong <= most_by_chance(300)


def test_weights_that_are_all_one_are_none() -> None:
    whole = answers(300, -0.1, 0.3, 7)
    plain, weighed = watch(whole), watch(whole)
    plain.add(whole)
    weighed.add(whole, np.ones(300))
    assert (plain.p_loss, plain.p_non_inferiority) == (weighed.p_loss, weighed.p_non_inferiority)


def test_an_average_of_tasks_whose_losses_and_gains_even_out_is_seldom_ruled_out() -> None:
    wrong = 0
    for seed in range(300):
        small, large = answers(60, -0.3, 0.4, 2 * seed), answers(300, 0.3, 0.4, 2 * seed + 1)
        weights = np.r_[np.full(60, 3.0), np.full(300, 0.6)]  # both tasks count the same
        order = np.random.default_rng(seed).permutation(360)
        both = concatenated([small, large])
        seen = SequentialTest(0.05, 360, 360, heaviest=3.0)
        for start in range(0, 360, 60):
            chosen = order[start : start + 60]
            block = Differences(*(scores[chosen] * weights[chosen] for scores in (both.baseline, both.candidate)))
            seen.add(block, weights[chosen])
        wrong += seen.p_loss <= ALPHA
    assert wrong <= most_by_chance(300)


def test_joined_clusters_stay_apart() -> None:
    def one(clusters: list[int] | None) -> Differences:
        scores: Array = np.array([0.0, 1.0])
        return Differences(scores, scores, None if clusters is None else np.array(clusters))

    together = concatenated([one([0, 0]), one([1, 0]), one(None)]).clusters
    assert together is not None
    assert together.tolist() == [0, 0, 2, 1, 3, 4]
    assert concatenated([one(None), one(None)]).clusters is None


def test_joined_documents_keep_what_they_can_lose() -> None:
    scores: Array = np.array([0.0, 1.0])
    assert concatenated([Differences(scores, scores, span=2.0), Differences(scores, scores)]).span == 2.0
    assert concatenated([Differences(scores, scores)]).span is None


# --- the end ----------------------------------------------------------------------------------------------------------


def test_at_the_end_the_fixed_tests_decide_too() -> None:
    whole = answers(346, -0.02, 0.12, 9)
    seen = watch(whole, 0.03)
    seen.add(whole)
    before = seen.p_loss, seen.p_non_inferiority
    seen.finish()
    share = 1 - share_of_looks(346)
    assert seen.p_loss == min(before[0], whole.p_loss / share)
    assert seen.p_non_inferiority == min(before[1], whole.p_non_inferiority(0.03) / share)
    with pytest.raises(ValueError, match="no documents can be added"):
        seen.add(whole)


def test_where_a_metric_has_no_bound_there_is_the_end_only() -> None:
    chance = np.random.default_rng(11)
    whole = Differences(chance.normal(size=300), chance.normal(size=300) - 1)
    seen = SequentialTest(0.1, 300, 300, bound=None)
    seen.add(whole)
    assert (seen.p_loss, seen.p_non_inferiority, seen.interval()) == (1.0, 1.0, None)
    seen.finish()
    assert seen.p_loss == whole.p_loss
    assert seen.p_non_inferiority == whole.p_non_inferiority(0.1)
    assert seen.interval() == whole.interval()


def test_nothing_seen_is_nothing_known() -> None:
    seen = SequentialTest(0.02, 10, 10)
    seen.add(Differences(np.zeros(0), np.zeros(0)))
    assert (seen.p_loss, seen.p_non_inferiority, seen.interval()) == (1.0, 1.0, None)
    seen.finish()
    assert (seen.p_loss, seen.p_non_inferiority, seen.interval()) == (1.0, 1.0, None)


def test_a_margin_beyond_what_can_be_lost_is_shown_at_once() -> None:
    seen = SequentialTest(2.0, 10, 10)
    seen.add(answers(10, 0.0, 0.2, 1))
    assert seen.p_non_inferiority <= ALPHA


def test_scores_beyond_the_bound_leave_the_last_look_only() -> None:
    """LawBench's scores of prison terms end at 1 and may be far below 0."""
    seen, better = SequentialTest(0.02, 400, 400), np.full(200, 0.5)
    seen.add(Differences(np.zeros(200), better))
    assert seen.p_non_inferiority <= ALPHA
    seen.add(Differences(np.zeros(200), np.append(better[1:], -1.5)))
    assert (seen.p_loss, seen.p_non_inferiority, seen.interval()) == (1.0, 1.0, None)
    seen.finish()
    whole = Differences(np.zeros(400), np.concatenate([better, better[1:], [-1.5]]))
    assert (seen.p_loss, seen.p_non_inferiority) == (whole.p_loss, whole.p_non_inferiority(0.02))


# --- how soon ---------------------------------------------------------------------------------------------------------


@given(st.integers(1, 200_000))
def test_blocks_are_all_documents(total: int) -> None:
    sizes = list(block_sizes(total))
    assert sum(sizes) == total
    assert min(sizes) > 0
    assert sizes[:8] == [64] * 8 or total < 512


def test_looks_at_many_documents_are_few() -> None:
    assert len(list(block_sizes(14_042))) == 37


@pytest.mark.parametrize(
    ("mean", "verdict", "most"),
    [(-0.1, "regressed", 128), (-0.05, "regressed", 400), (0.0, "passed", 0.2 * 14_042), (0.03, "passed", 448)],
)
def test_what_is_plain_is_soon_decided(mean: float, verdict: str, most: float) -> None:
    ends = [stop(answers(14_042, mean, 0.12, seed), 0.02, list(block_sizes(14_042))) for seed in range(25)]
    assert float(np.median([read for end, read in ends if end == verdict])) <= most
    assert sum(end == verdict for end, _ in ends) >= 23
