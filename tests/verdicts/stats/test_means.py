"""Paired statistics, checked with scipy, definitions, brute force and simulated error rates."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from harness.verdicts.stats import means
from harness.verdicts.stats.means import Differences, with_one_more_loss


def binary(both: int, lost: int, gained: int, neither: int) -> Differences:
    """Return documents answered right by both, only the baseline, only the candidate, or neither."""
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
def test_binary_loss_is_scipys_binomial_test(table: tuple[int, int, int, int]) -> None:
    _, lost, gained, _ = table
    expected = 1.0 if lost + gained == 0 else stats.binomtest(lost, lost + gained, 0.5, "greater").pvalue
    assert binary(*table).p_loss == pytest.approx(expected)


@given(st.lists(st.integers(-4, 4).filter(bool), min_size=1, max_size=9))
def test_all_flips_of_few_signs_are_enumerated(differences: list[int]) -> None:
    compared = Differences(np.zeros(len(differences)), np.array(differences, dtype=float) / 7)
    sums = [
        sum(sign * value for sign, value in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    expected = sum(total <= sum(differences) for total in sums) / len(sums)
    assert compared.p_loss == pytest.approx(expected)


def test_more_signs_are_flipped_as_scipy_flips_them() -> None:
    generator = np.random.default_rng(1)
    compared = Differences(generator.random(60), generator.random(60) - 0.1)
    scipy_result = stats.permutation_test(
        (compared.candidate, compared.baseline),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        alternative="less",
        vectorized=True,
        n_resamples=20_000,
        rng=2,
    )
    # Both are random: their difference has this standard deviation.
    spread = math.sqrt(scipy_result.pvalue * (1 - scipy_result.pvalue) * (1 / 20_000 + 1 / means.FLIPS))
    assert abs(compared.p_loss - scipy_result.pvalue) < 5 * spread


def test_a_loss_too_large_for_random_flips_gets_a_smaller_p_value() -> None:
    """All of 60 units lose, as in 1 of 2^60 flips; among 300 tasks a p-value of 1/10,000 would not be significant."""
    clear = Differences(np.repeat(0.9, 60), np.linspace(0.1, 0.8, 60))
    assert 0.5**60 <= clear.p_loss < 1e-9
    assert clear.p_gain == 1
    generator = np.random.default_rng(12)
    for _ in range(20):
        changes = generator.normal(-0.1, 0.3, 14)
        compared = Differences(np.zeros(14), changes)
        signs = np.array(list(itertools.product((1, -1), repeat=14)))
        assert compared.p_loss == pytest.approx((signs @ changes <= changes.sum() + 1e-9).mean(), abs=0.02)


def test_loss_of_many_graded_documents_is_scipys_paired_t_test() -> None:
    generator = np.random.default_rng(3)
    compared = Differences(generator.random(500), generator.random(500))
    assert compared.p_loss == pytest.approx(
        stats.ttest_rel(compared.candidate, compared.baseline, alternative="less").pvalue
    )


def test_without_differences_the_p_value_is_one() -> None:
    assert binary(5, 0, 0, 5).p_loss == 1
    assert Differences(np.full(5, 0.3), np.full(5, 0.3)).p_loss == 1


@given(tables)
def test_the_gain_is_the_loss_with_sides_exchanged(table: tuple[int, int, int, int]) -> None:
    both, lost, gained, neither = table
    assert binary(*table).p_gain == binary(both, gained, lost, neither).p_loss


def test_equal_losses_of_all_documents_count_as_sign_flips() -> None:
    compared = Differences(np.full(300, 0.75), np.full(300, 0.25))
    assert compared.p_loss == 0.5**300
    assert compared.p_gain == 1


# --- non-inferiority and intervals ------------------------------------------------------------------------------------


def score_statistic(table: tuple[int, int, int, int], difference: float) -> float:
    """Return the score statistic with the likelihood maximised numerically under the hypothesis (Tango)."""
    both, lost, gained, neither = table
    n = sum(table)

    def negative_log_likelihood(share_lost: float) -> float:
        terms = [
            (lost, share_lost),
            (gained, share_lost + difference),
            (both + neither, 1 - 2 * share_lost - difference),
        ]
        return -sum(count * math.log(max(share, 1e-300)) for count, share in terms if count)

    low, high = max(0.0, -difference), (1 - difference) / 2
    optimum = optimize.minimize_scalar(
        negative_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    )
    share = min((optimum.x, low, high), key=negative_log_likelihood)
    return (gained - lost - n * difference) / math.sqrt(n * (2 * share + difference - difference**2))


@given(tables.filter(lambda table: table[1] + table[2]), st.floats(0.01, 0.3))
def test_binary_non_inferiority_is_tangos_score_test(table: tuple[int, int, int, int], margin: float) -> None:
    expected = stats.norm.sf(score_statistic(table, -margin))
    assert binary(*table).p_non_inferiority(margin) == pytest.approx(expected, abs=1e-5)


@given(tables)
def test_tangos_interval_contains_what_the_score_test_does_not_reject(table: tuple[int, int, int, int]) -> None:
    compared = binary(*table)
    interval = compared.interval()
    assert interval is not None
    assert -1 <= interval.low <= compared.difference <= interval.high <= 1
    for end, sign in ((interval.low, 1), (interval.high, -1)):
        if -1 < end < 1:
            assert sign * score_statistic(table, end) == pytest.approx(stats.norm.ppf(0.975), abs=1e-3)


@given(scores)
def test_graded_intervals_are_scipys(pairs: list[tuple[float, float]]) -> None:
    compared = graded(pairs)
    if compared.is_binary or not compared.stderr:
        return
    scipy_result = stats.ttest_rel(compared.candidate, compared.baseline).confidence_interval(0.95)
    assert compared.interval() == pytest.approx(tuple(scipy_result))


def test_one_more_loss_gives_scipys_t_test_with_one_more_document() -> None:
    compared = Differences(*np.random.default_rng(8).random((2, 400)))
    extra_loss = math.sqrt(((compared.by_document**2).sum() + 1) / 401)  # all changed, and one lost all of 1
    extended = np.append(compared.by_document, -extra_loss)
    adjusted = with_one_more_loss(compared.difference, compared.stderr or 0, compared.by_document, 1)
    assert adjusted.difference == pytest.approx(extended.mean())
    scipy_result = stats.ttest_1samp(extended, -0.02, alternative="greater").pvalue
    assert compared.p_non_inferiority(0.02) == pytest.approx(scipy_result, rel=0.01)
    assert scipy_result > stats.ttest_1samp(compared.by_document, -0.02, alternative="greater").pvalue


@pytest.mark.parametrize("size", [1, 5])
def test_a_real_loss_in_few_documents_rarely_passes(size: int) -> None:
    generator, clusters = np.random.default_rng(9), None if size == 1 else np.repeat(np.arange(100), size)
    passed = naive = 0
    for _ in range(400):  # one unit in 25 changes, and loses half of a document's score on average: 2 % in all
        lost = np.repeat(generator.random(100) * (generator.random(100) < 0.04), size)
        compared = Differences(np.ones(100 * size), 1 - lost, clusters)
        passed += compared.p_non_inferiority(0.02) <= 0.05
        naive += stats.ttest_1samp(lost[::size], 0.02, alternative="less").pvalue <= 0.05
    assert passed <= stats.binom.ppf(0.999, 400, 0.05)
    assert naive > stats.binom.ppf(0.999, 400, 0.05)


@given(
    st.lists(st.tuples(st.integers(1, 60), st.floats(0.1, 1), st.floats(0.01, 1)), min_size=1, max_size=4),
)
def test_the_p_value_of_unseen_losses_of_weighted_documents_is_not_too_small(
    tasks: list[tuple[int, float, float]],
) -> None:
    sizes, importance, losing = np.array(tasks).T
    importance /= importance.sum()
    weights = importance * sizes.sum() / sizes
    documents = np.repeat(weights, sizes.astype(int))
    compared = Differences(documents, documents, span=float(weights.max()))
    probability = float(((1 - losing) ** sizes).prod())  # in each task, this share of documents loses everything
    assert compared.p_non_inferiority(float(importance @ losing)) >= probability - 1e-12


def test_a_large_cluster_can_lose_more() -> None:
    alike = Differences(np.ones(100), np.ones(100), np.repeat(np.arange(20), 5))
    sizes = [24, *[4] * 19]
    one_large = Differences(np.ones(100), np.ones(100), np.repeat(np.arange(20), sizes))
    assert alike.p_non_inferiority(0.1) == pytest.approx(0.9**20)
    assert one_large.p_non_inferiority(0.1) > 0.6


def test_equal_losses_of_all_documents_count_against_the_margin() -> None:
    compared = Differences(np.full(100, 0.5), np.full(100, 0.48))
    assert compared.p_non_inferiority(0.02) == 1
    assert compared.p_non_inferiority(0.03) == pytest.approx((1 - 0.01 / 0.98) ** 100)
    assert compared.p_non_inferiority(1) == 0


def test_a_document_with_a_score_of_100_can_lose_100() -> None:
    for span in (None, 1.5):
        compared = Differences(np.full(20, 100.0), np.full(20, 100.0), span=span)
        assert compared.p_non_inferiority(2) == pytest.approx(0.98**20)


def test_without_flips_many_documents_are_needed_to_pass() -> None:
    # The probability of seeing no loss if 2 % of documents are lost.
    for n in (1, 50, 500):
        assert binary(n - n // 2, 0, 0, n // 2).p_non_inferiority(0.02) == pytest.approx(0.98**n)
    same = Differences(np.full(50, 0.3), np.full(50, 0.3))
    assert same.p_non_inferiority(0.02) == pytest.approx(0.98**50)


@pytest.mark.parametrize("size", [1, 2])
def test_one_document_decides_nothing(size: int) -> None:
    single = Differences(np.zeros(size), np.ones(size) * 0.5)
    assert single.p_loss > 0.05
    assert single.p_non_inferiority(0.02) > 0.05
    assert single.interval() is None
    lost = binary(0, size, 0, 0)
    assert lost.p_loss > 0.05
    assert lost.interval() == pytest.approx((-1, lost.interval().high))


def test_weighted_documentsare_not_binary() -> None:
    compared = Differences(np.array([1.0, 0, 1, 1]), np.array([1.0, 1, 0, 1]), span=2.5)
    assert not compared.is_binary
    assert Differences(compared.baseline, compared.candidate).is_binary


def test_few_clusters_decide_little() -> None:
    generator = np.random.default_rng(10)
    scores = generator.random((2, 60))
    one_cluster, two_clusters = (Differences(*scores, np.arange(60) % count) for count in (1, 2))
    assert (one_cluster.interval(), one_cluster.stderr) == (None, None)
    assert one_cluster.p_non_inferiority(0.02) > 0.9
    assert one_cluster.needed_to_tell() > 60
    interval = two_clusters.interval()
    assert interval is not None
    assert interval == pytest.approx(tuple(stats.ttest_1samp(two_clusters.sums / 30, 0).confidence_interval(0.95)))
    assert min(two_clusters.p_loss, two_clusters.p_gain) >= 0.25


# --- clusters ---------------------------------------------------------------------------------------------------------


def test_the_clustered_standard_error_is_the_closed_form() -> None:
    generator = np.random.default_rng(4)
    clusters = np.repeat(np.arange(20), generator.integers(1, 6, 20))
    compared = Differences(generator.random(clusters.size), generator.random(clusters.size), clusters)
    total, n = 0.0, compared.n
    for cluster in range(20):
        inside = [compared.by_document[i] - compared.difference for i in range(n) if clusters[i] == cluster]
        total += sum(a * b for a in inside for b in inside)
    assert compared.stderr == pytest.approx(math.sqrt(total * 20 / 19) / n)


def test_one_big_cluster_among_small_ones_leaves_few_degrees_of_freedom() -> None:
    generator = np.random.default_rng(13)
    clusters = np.repeat(np.arange(31), [30, *[1] * 30])
    compared = Differences(*generator.random((2, 60)), clusters)
    interval = compared.interval()
    assert interval is not None
    assert compared.stderr is not None
    freedom = 60**2 / (30**2 + 30) - 1  # by Kish's effective number of clusters, 3.9 of the 31
    assert interval.high - compared.difference == pytest.approx(stats.t.ppf(0.975, freedom) * compared.stderr)


def test_clusters_of_one_document_change_nothing() -> None:
    generator = np.random.default_rng(5)
    alone = Differences(generator.random(40), generator.random(40))
    same = Differences(alone.baseline, alone.candidate, np.arange(40))
    assert same.interval() == pytest.approx(alone.interval())
    assert same.p_non_inferiority(0.1) == pytest.approx(alone.p_non_inferiority(0.1))
    assert same.p_loss == alone.p_loss


def test_copies_of_documents_add_nothing() -> None:
    generator = np.random.default_rng(6)
    alone = Differences(generator.random(30), generator.random(30))
    copied = Differences(np.repeat(alone.baseline, 5), np.repeat(alone.candidate, 5), np.repeat(np.arange(30), 5))
    assert copied.interval() == pytest.approx(alone.interval())
    assert copied.p_loss == pytest.approx(alone.p_loss)


# --- sample sizes -----------------------------------------------------------------------------------------------------


def test_with_the_documents_needed_the_power_is_as_promised() -> None:
    generator = np.random.default_rng(7)
    pilot = Differences(np.zeros(4000), generator.normal(0.05, 0.5, 4000))
    n = math.ceil(pilot.needed_to_tell())
    samples = generator.normal(pilot.difference, float(pilot.by_document.std()), (1500, n))
    assert np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.04)
    assert binary(3, 0, 0, 3).needed_to_tell() == math.inf


def test_no_loss_is_significant_with_very_few_documents() -> None:
    assert binary(0, 1, 0, 0).needed_to_tell() == pytest.approx(math.log2(40))
    n = math.ceil(binary(0, 3, 0, 0).needed_to_tell())
    verdicts = [2 * binary(0, count, 0, 0).p_loss <= 0.05 for count in (n - 1, n)]
    assert verdicts == [False, True]
    clusters = np.repeat(np.arange(3), 4)
    assert Differences(np.ones(12), np.zeros(12), clusters).needed_to_tell() >= 4 * math.log2(40)


@pytest.mark.parametrize("identical", [binary(2000, 0, 0, 9), Differences(np.full(2000, 0.3), np.full(2000, 0.3))])
def test_identical_answers_pass_with_the_documents_needed(identical: Differences) -> None:
    n = math.ceil(identical.needed_to_pass(0.02))
    enough = [
        Differences(np.full(count, identical.baseline[0]), np.full(count, identical.baseline[0]))
        for count in (n, n - 1)
    ]
    assert enough[0].p_non_inferiority(0.02) <= 0.05 < enough[1].p_non_inferiority(0.02)


def test_with_the_documents_needed_to_pass_the_power_is_as_promised() -> None:
    generator, n = np.random.default_rng(11), 1000
    pilot = binary(n // 2, n // 20, n // 20, n - n // 2 - n // 10)
    n = math.ceil(pilot.needed_to_pass(0.03))
    passed = 0
    for _ in range(500):
        both, lost, gained, neither = generator.multinomial(n, [0.5, 0.05, 0.05, 0.4])
        passed += binary(both, lost, gained, neither).p_non_inferiority(0.03) <= 0.05
    assert passed / 500 == pytest.approx(0.8, abs=0.06)
