"""Sequential tests: error rates at any stopping time, statements about the population, and early decisions."""

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
    """Draw right and wrong answers of two checkpoints for independent documents; a share `flips` differs."""
    uniform = np.random.default_rng(seed).random(n)
    gained = uniform < (flips + mean) / 2
    return Differences(1.0 - gained, 1.0 - ((uniform < flips) & ~gained))


def part(whole: Differences, start: int, stop: int) -> Differences:
    """Return documents `start` to `stop`, with their clusters numbered from 0."""
    clusters = None if whole.clusters is None else np.unique(whole.clusters[start:stop], return_inverse=True)[1]
    return Differences(whole.baseline[start:stop], whole.candidate[start:stop], clusters)


def sequential_test(whole: Differences, margin: float = 0.02) -> SequentialTest:
    return SequentialTest(margin, whole.n, whole.n)


def stop(whole: Differences, margin: float, sizes: list[int]) -> tuple[str, int]:
    """Return the verdict of a gate that looks after each of `sizes` documents, and the number of documents read."""
    test, read = sequential_test(whole, margin), 0
    for size in sizes:
        test.add(part(whole, read, read + size))
        read += size
        if read == whole.n:
            test.finish()
        if test.p_loss <= ALPHA:
            return "regressed", read
        if test.p_non_inferiority <= ALPHA:
            return "passed", read
    return "inconclusive", read


def most_by_chance(trials: int, rate: float = ALPHA) -> float:
    """Return the number of errors that `trials` with an error rate of `rate` exceed once in a thousand times."""
    return float(stats.binom.ppf(0.999, trials, rate))


# --- bets -------------------------------------------------------------------------------------------------------------


class Unit(NamedTuple):
    """A document or a cluster: the sum of its differences and of its weights."""

    difference: float
    weight: float = 1.0


def capitals(
    units: list[Unit], null: float, sign: int, heaviest: float = 1.0, average_weight: float = 1.0
) -> list[float]:
    """Return the capital after each unit by definition: aGRAPA with running mean and variance of earlier payoffs."""
    capital, path, paid = 1.0, [], []
    low, prior_count = heaviest * (1 + sign * null), (TRUST if sign > 0 else DOUBT) / average_weight
    prior_sum = -sign * null * prior_count * average_weight
    for unit in units:
        means = [(prior_sum + sum(paid[:count])) / (prior_count + count) for count in range(len(paid) + 1)]
        squares = average_weight**2 + sum((x - m) ** 2 for x, m in zip(paid, means[1:], strict=True))
        variance = squares / (1 + len(paid))
        stake = min(max(means[-1] / (variance + means[-1] ** 2), 0), BOLDNESS / low)
        paid.append(sign * (unit.difference - unit.weight * null))
        capital *= 1 + stake * paid[-1]
        path.append(capital)
    return path


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.0, 1.0]), min_size=1, max_size=30), st.sampled_from([0.02, 0.1]))
def test_a_p_value_is_the_inverse_of_the_largest_capital(differences: list[float], margin: float) -> None:
    test = SequentialTest(margin, 100, 100)
    for value in differences:
        test.add(Differences(np.zeros(1), np.array([value])))
    for p_value, null, sign in ((test.p_loss, 0.0, -1), (test.p_non_inferiority, -margin, 1)):
        largest = max([1.0, *capitals([Unit(value) for value in differences], null, sign)])
        assert p_value == pytest.approx(min(1.0, 1 / largest / share_of_looks(100)), rel=CLOSED_FORM)


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(st.lists(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=5), min_size=1, max_size=20))
def test_a_cluster_is_one_unit_bounded_by_the_heaviest(clusters: list[list[float]]) -> None:
    weight, margin = 1.5, 0.1
    test = SequentialTest(margin, 100, 300, heaviest=5 * weight)
    for values in clusters:
        differences = weight * np.array(values)
        numbers = np.zeros(differences.size, dtype=np.int64)
        test.add(Differences(np.zeros(differences.size), differences, numbers), np.full(differences.size, weight))
    units = [Unit(weight * sum(values), weight * len(values)) for values in clusters]
    for p_value, null, sign in ((test.p_loss, 0.0, -1), (test.p_non_inferiority, -margin, 1)):
        largest = max([1.0, *capitals(units, null, sign, heaviest=5 * weight, average_weight=3)])
        assert p_value == pytest.approx(min(1.0, 1 / largest / share_of_looks(100)), rel=CLOSED_FORM)


def test_a_fair_game_keeps_the_capital_on_average() -> None:
    chances = {-1.0: 0.08, 0.0: 0.86, 1.0: 0.06}  # of mean -0.02
    for null, sign in ((-0.02, 1), (-0.02, -1)):
        average = sum(
            math.prod(chances[value] for value in path) * capitals([Unit(value) for value in path], null, sign)[-1]
            for path in itertools.product(chances, repeat=6)
        )
        assert average == pytest.approx(1.0, rel=CLOSED_FORM)


def test_the_order_within_a_block_does_not_matter() -> None:
    whole = answers(300, -0.1, 0.3, 2)
    results = set()
    for order in (np.arange(300), np.argsort(whole.by_document), np.argsort(-whole.by_document)):
        test = sequential_test(whole)
        test.add(Differences(whole.baseline[order], whole.candidate[order]))
        results.add((test.p_loss, test.p_non_inferiority, test.interval()))
    assert len(results) == 1


def test_the_first_unit_of_a_block_is_not_predictable() -> None:
    places = set()
    for number in range(1, 41):
        differences = np.full(64, -0.01)
        differences[0] = number / 50
        test = SequentialTest(0.02, 640, 640)
        test.add(Differences(np.maximum(-differences, 0), np.maximum(differences, 0)))
        places.add(int(test._draws[0].sums.argmax()))
    assert len(places) > 20  # 30 of 64 are expected if all are equally likely; fewer than 21 occur once in 10,000 times


def test_the_scale_of_a_metric_does_not_matter() -> None:
    whole = answers(500, -0.06, 0.3, 4)
    plain, large = sequential_test(whole), SequentialTest(2, 500, 500, bound=100)
    plain.add(whole)
    large.add(Differences(whole.baseline * 100, whole.candidate * 100))
    assert large.p_loss == pytest.approx(plain.p_loss, rel=ALMOST_EQUAL)
    assert large.p_non_inferiority == pytest.approx(plain.p_non_inferiority, rel=ALMOST_EQUAL)
    assert large.interval() == pytest.approx(100 * np.array(plain.interval()), rel=ALMOST_EQUAL)


# --- error rates: `tests/benchmarks/test_verdict_errors.py` has them exactly -----------------------------------------


@pytest.mark.parametrize(("mean", "wrong"), [(0.0, "regressed"), (-0.03, "passed")])
def test_sequential_gates_are_rarely_wrong(mean: float, wrong: str) -> None:
    ends = [stop(answers(346, mean, 0.12, seed), 0.03, [64] * 5 + [26])[0] for seed in range(400)]
    assert ends.count(wrong) <= most_by_chance(400)


def test_one_lost_answer_is_not_a_significant_loss() -> None:
    whole = Differences(np.ones(346), np.r_[0.0, np.ones(345)])
    test = sequential_test(whole)
    test.add(whole)
    test.finish()
    assert test.p_loss > ALPHA


def test_the_confidence_sequence_contains_the_mean_at_all_times() -> None:
    missed = 0
    for seed in range(40):
        whole = answers(400, 0.03, 0.3, seed)
        test, was_outside = sequential_test(whole), False
        for start in range(0, 400, 100):
            test.add(part(whole, start, start + 100))
            if start == 300:
                test.finish()
            interval = test.interval()
            assert interval is not None
            was_outside |= not interval.low <= 0.03 <= interval.high
        missed += was_outside
    assert missed <= most_by_chance(40)


@settings(max_examples=settings.default.max_examples // 2, deadline=None)
@given(st.integers(1, 400), st.floats(-0.3, 0.3), st.integers(0, 2**16), st.booleans())
def test_p_values_and_sequence_agree(n: int, mean: float, seed: int, is_finished: bool) -> None:
    whole, margin = answers(n, mean, 0.4, seed), 0.1
    test = sequential_test(whole, margin)
    test.add(whole)
    if is_finished:
        test.finish()
    interval = test.interval(1 - 2 * ALPHA)  # half of the error on either side
    assert interval is not None
    step = 1 / 2_000
    if interval.high < 0:
        assert test.p_loss <= ALPHA or (is_finished and whole.p_loss < 2 * ALPHA)  # exact against score test
    if test.p_loss <= ALPHA and not is_finished:
        assert interval.high <= step
    if interval.low > -margin + step:
        assert test.p_non_inferiority <= ALPHA
    if test.p_non_inferiority <= ALPHA:
        assert interval.low >= -margin - step


# --- units ------------------------------------------------------------------------------------------------------------


def test_a_cluster_counts_as_one_unit() -> None:
    # Ten equal documents of a cluster carry no more information than one of them.
    single = answers(200, -0.1, 0.3, 5)
    whole = Differences(single.baseline.repeat(10), single.candidate.repeat(10), np.arange(200).repeat(10))
    clustered = SequentialTest(0.02, 200, 2_000, heaviest=10)
    clustered.add(whole)
    blind = sequential_test(whole)
    blind.add(Differences(whole.baseline, whole.candidate))
    assert blind.p_loss < 1e-6 < 1e-3 < clustered.p_loss


@pytest.mark.parametrize("heavy", [1, 20])
def test_clusters_without_a_difference_are_rarely_significant(heavy: int) -> None:
    wrong = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        sizes = generator.permutation(np.r_[np.full(5, 5 * heavy), np.ones(95, int), np.full(20, 5)])
        clusters = np.repeat(np.arange(120), sizes)
        shift = generator.normal(size=120)[clusters]
        scores = [(shift + generator.normal(size=clusters.size) > 0).astype(float) for _ in range(2)]
        test = SequentialTest(0.05, 120, clusters.size, heaviest=5 * heavy)
        ends = np.r_[0, sizes.cumsum()]
        for start in range(0, 120, 30):
            documents = slice(ends[start], ends[start + 30])
            test.add(Differences(scores[0][documents], scores[1][documents], clusters[documents] - start))
        test.finish()
        wrong += test.p_loss <= ALPHA
    assert wrong <= most_by_chance(300)


def test_weights_of_one_change_nothing() -> None:
    whole = answers(300, -0.1, 0.3, 7)
    plain, weighted = sequential_test(whole), sequential_test(whole)
    plain.add(whole)
    weighted.add(whole, np.ones(300))
    assert (plain.p_loss, plain.p_non_inferiority) == (weighted.p_loss, weighted.p_non_inferiority)


def test_an_average_with_balanced_losses_and_gains_is_rarely_significant() -> None:
    wrong = 0
    for seed in range(300):
        small, large = answers(60, -0.3, 0.4, 2 * seed), answers(300, 0.3, 0.4, 2 * seed + 1)
        weights = np.r_[np.full(60, 3.0), np.full(300, 0.6)]  # both tasks count the same
        order = np.random.default_rng(seed).permutation(360)
        both = concatenated([small, large])
        test = SequentialTest(0.05, 360, 360, heaviest=3.0)
        for start in range(0, 360, 60):
            places = order[start : start + 60]
            block = Differences(*(scores[places] * weights[places] for scores in (both.baseline, both.candidate)))
            test.add(block, weights[places])
        wrong += test.p_loss <= ALPHA
    assert wrong <= most_by_chance(300)


def test_concatenated_clusters_stay_separate() -> None:
    def block(clusters: list[int] | None) -> Differences:
        scores: Array = np.array([0.0, 1.0])
        return Differences(scores, scores, None if clusters is None else np.array(clusters))

    numbers = concatenated([block([0, 0]), block([1, 0]), block(None)]).clusters
    assert numbers is not None
    assert numbers.tolist() == [0, 0, 2, 1, 3, 4]
    assert concatenated([block(None), block(None)]).clusters is None


def test_concatenated_documents_keep_the_largest_span() -> None:
    scores: Array = np.array([0.0, 1.0])
    assert concatenated([Differences(scores, scores, span=2.0), Differences(scores, scores)]).span == 2.0
    assert concatenated([Differences(scores, scores)]).span is None


# --- the end ----------------------------------------------------------------------------------------------------------


def test_at_the_end_the_fixed_tests_decide_as_well() -> None:
    whole = answers(346, -0.02, 0.12, 9)
    test = sequential_test(whole, 0.03)
    test.add(whole)
    before = test.p_loss, test.p_non_inferiority
    test.finish()
    share = 1 - share_of_looks(346)
    assert test.p_loss == min(before[0], whole.p_loss / share)
    assert test.p_non_inferiority == min(before[1], whole.p_non_inferiority(0.03) / share)
    with pytest.raises(ValueError, match="no documents can be added"):
        test.add(whole)


def test_an_unbounded_metric_has_only_the_last_look() -> None:
    generator = np.random.default_rng(11)
    whole = Differences(generator.normal(size=300), generator.normal(size=300) - 1)
    test = SequentialTest(0.1, 300, 300, bound=None)
    test.add(whole)
    assert (test.p_loss, test.p_non_inferiority, test.interval()) == (1.0, 1.0, None)
    test.finish()
    assert test.p_loss == whole.p_loss
    assert test.p_non_inferiority == whole.p_non_inferiority(0.1)
    assert test.interval() == whole.interval()


def test_without_documents_nothing_is_known() -> None:
    test = SequentialTest(0.02, 10, 10)
    test.add(Differences(np.zeros(0), np.zeros(0)))
    assert (test.p_loss, test.p_non_inferiority, test.interval()) == (1.0, 1.0, None)
    test.finish()
    assert (test.p_loss, test.p_non_inferiority, test.interval()) == (1.0, 1.0, None)


def test_a_margin_larger_than_any_loss_is_shown_at_once() -> None:
    test = SequentialTest(2.0, 10, 10)
    test.add(answers(10, 0.0, 0.2, 1))
    assert test.p_non_inferiority <= ALPHA


def test_scores_beyond_the_bound_leave_only_the_last_look() -> None:
    """LawBench's scores of prison terms are at most 1 and may be far below 0."""
    test, better = SequentialTest(0.02, 400, 400), np.full(200, 0.5)
    test.add(Differences(np.zeros(200), better))
    assert test.p_non_inferiority <= ALPHA
    test.add(Differences(np.zeros(200), np.append(better[1:], -1.5)))
    assert (test.p_loss, test.p_non_inferiority, test.interval()) == (1.0, 1.0, None)
    test.finish()
    whole = Differences(np.zeros(400), np.concatenate([better, better[1:], [-1.5]]))
    assert (test.p_loss, test.p_non_inferiority) == (whole.p_loss, whole.p_non_inferiority(0.02))


# --- how soon ---------------------------------------------------------------------------------------------------------


@given(st.integers(1, 200_000))
def test_blocks_cover_all_documents(total: int) -> None:
    sizes = list(block_sizes(total))
    assert sum(sizes) == total
    assert min(sizes) > 0
    assert sizes[:8] == [64] * 8 or total < 512


def test_looks_at_many_documents_are_few() -> None:
    assert len(list(block_sizes(14_042))) == 37


@pytest.mark.parametrize(
    ("mean", "verdict", "limit"),
    [(-0.1, "regressed", 128), (-0.05, "regressed", 400), (0.0, "passed", 0.2 * 14_042), (0.03, "passed", 448)],
)
def test_clear_differences_are_decided_early(mean: float, verdict: str, limit: float) -> None:
    ends = [stop(answers(14_042, mean, 0.12, seed), 0.02, list(block_sizes(14_042))) for seed in range(25)]
    assert float(np.median([read for end, read in ends if end == verdict])) <= limit
    assert sum(end == verdict for end, _ in ends) >= 23
