"""Paired statistics against scipy, statsmodels' definitions, brute force, and their own error rates."""

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
    assert binary(*table).p_loss == pytest.approx(expected)


@given(st.lists(st.integers(-4, 4).filter(bool), min_size=1, max_size=9))
def test_few_signs_are_all_flipped(differences: list[int]) -> None:
    given = Differences(np.zeros(len(differences)), np.array(differences, dtype=float) / 7)
    sums = [
        sum(sign * value for sign, value in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    brute = sum(total <= sum(differences) for total in sums) / len(sums)
    assert given.p_loss == pytest.approx(brute)


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
    spread = math.sqrt(theirs.pvalue * (1 - theirs.pvalue) * (1 / 20_000 + 1 / means.FLIPS))
    assert abs(given.p_loss - theirs.pvalue) < 5 * spread


def test_a_loss_too_clear_for_random_flips_is_told_from_one_that_is_just_clear() -> None:
    """All of 60 clusters lose: 1 of 2^60 flips does so. Among 300 tasks a p-value of 1/10,000 would be no loss."""
    clear = Differences(np.repeat(0.9, 60), np.linspace(0.1, 0.8, 60))
    assert 0.5**60 <= clear.p_loss < 1e-9
    assert clear.p_gain == 1
    chance = np.random.default_rng(12)
    for _ in range(20):
        each = chance.normal(-0.1, 0.3, 14)
        given = Differences(np.zeros(14), each)
        signs = np.array(list(itertools.product((1, -1), repeat=14)))
        assert given.p_loss == pytest.approx((signs @ each <= each.sum() + 1e-9).mean(), abs=0.02)


def test_of_many_graded_documents_loss_is_scipys_paired_t_test() -> None:
    chance = np.random.default_rng(3)
    given = Differences(chance.random(500), chance.random(500))
    assert given.p_loss == pytest.approx(stats.ttest_rel(given.candidate, given.baseline, alternative="less").pvalue)


def test_where_nothing_differs_there_is_no_loss() -> None:
    assert binary(5, 0, 0, 5).p_loss == 1
    assert Differences(np.full(5, 0.3), np.full(5, 0.3)).p_loss == 1


@given(tables)
def test_gain_is_the_loss_of_the_other(table: tuple[int, int, int, int]) -> None:
    both, lost, gained, neither = table
    assert binary(*table).p_gain == binary(both, gained, lost, neither).p_loss


def test_where_all_lost_alike_the_loss_is_that_of_all_signs() -> None:
    given = Differences(np.full(300, 0.75), np.full(300, 0.25))
    assert given.p_loss == 0.5**300
    assert given.p_gain == 1


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


@given(tables.filter(lambda table: table[1] + table[2]), st.floats(0.01, 0.3))
def test_of_right_and_wrong_non_inferiority_is_tangos_score_test(
    table: tuple[int, int, int, int], margin: float
) -> None:
    expected = stats.norm.sf(score_statistic(table, -margin))
    assert binary(*table).p_non_inferiority(margin) == pytest.approx(expected, abs=1e-5)


@given(tables)
def test_tangos_interval_holds_what_the_score_test_does_not_rule_out(table: tuple[int, int, int, int]) -> None:
    given = binary(*table)
    interval = given.interval()
    assert interval is not None
    assert -1 <= interval.low <= given.difference <= interval.high <= 1
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


def test_with_one_loss_more_non_inferiority_is_scipys_t_test_of_one_document_more() -> None:
    given = Differences(*np.random.default_rng(8).random((2, 400)))
    worth = math.sqrt(((given.by_document**2).sum() + 1) / 401)  # all changed, and one lost all of 1
    more = np.append(given.by_document, -worth)
    found = with_one_more_loss(given.difference, given.stderr or 0, given.by_document, 1)
    assert found.difference == pytest.approx(more.mean())
    theirs = stats.ttest_1samp(more, -0.02, alternative="greater").pvalue
    assert given.p_non_inferiority(0.02) == pytest.approx(theirs, rel=0.01)
    assert theirs > stats.ttest_1samp(given.by_document, -0.02, alternative="greater").pvalue


@pytest.mark.parametrize("size", [1, 5])
def test_where_few_documents_changed_chance_does_not_pass_a_real_loss(size: int) -> None:
    chance, clusters = np.random.default_rng(9), None if size == 1 else np.repeat(np.arange(100), size)
    passed = naive = 0
    for _ in range(400):  # one unit in 25 changes, and loses half of a document's score on average: 2 % in all
        lost = np.repeat(chance.random(100) * (chance.random(100) < 0.04), size)
        given = Differences(np.ones(100 * size), 1 - lost, clusters)
        passed += given.p_non_inferiority(0.02) <= 0.05
        naive += stats.ttest_1samp(lost[::size], 0.02, alternative="less").pvalue <= 0.05
    assert passed <= stats.binom.ppf(0.999, 400, 0.05)
    assert naive > stats.binom.ppf(0.999, 400, 0.05)


@given(
    st.lists(st.tuples(st.integers(1, 60), st.floats(0.1, 1), st.floats(0.01, 1)), min_size=1, max_size=4),
)
def test_of_weighted_documents_none_seen_to_lose_is_at_least_as_likely_as_it_is(
    tasks: list[tuple[int, float, float]],
) -> None:
    sizes, importance, losing = np.array(tasks).T
    importance /= importance.sum()
    weights = importance * sizes.sum() / sizes
    each = np.repeat(weights, sizes.astype(int))
    given = Differences(each, each, span=float(weights.max()))
    really = float(((1 - losing) ** sizes).prod())  # that share of each task's documents loses everything
    assert given.p_non_inferiority(float(importance @ losing)) >= really - 1e-12


def test_a_cluster_that_is_large_may_lose_much() -> None:
    alike = Differences(np.ones(100), np.ones(100), np.repeat(np.arange(20), 5))
    sizes = [24, *[4] * 19]
    one_large = Differences(np.ones(100), np.ones(100), np.repeat(np.arange(20), sizes))
    assert alike.p_non_inferiority(0.1) == pytest.approx(0.9**20)
    assert one_large.p_non_inferiority(0.1) > 0.6


def test_what_all_lost_alike_counts() -> None:
    given = Differences(np.full(100, 0.5), np.full(100, 0.48))
    assert given.p_non_inferiority(0.02) == 1
    assert given.p_non_inferiority(0.03) == pytest.approx((1 - 0.01 / 0.98) ** 100)
    assert given.p_non_inferiority(1) == 0


def test_of_scores_up_to_100_a_document_may_lose_100() -> None:
    for span in (None, 1.5):
        given = Differences(np.full(20, 100.0), np.full(20, 100.0), span=span)
        assert given.p_non_inferiority(2) == pytest.approx(0.98**20)


def test_without_any_flip_many_documents_are_needed_to_pass() -> None:
    # As likely as it is that none is seen, if 2 % of documents are lost.
    for n in (1, 50, 500):
        assert binary(n - n // 2, 0, 0, n // 2).p_non_inferiority(0.02) == pytest.approx(0.98**n)
    same = Differences(np.full(50, 0.3), np.full(50, 0.3))
    assert same.p_non_inferiority(0.02) == pytest.approx(0.98**50)


@pytest.mark.parametrize("size", [1, 2])
def test_one_document_decides_nothing(size: int) -> None:
    one = Differences(np.zeros(size), np.ones(size) * 0.5)
    assert one.p_loss > 0.05
    assert one.p_non_inferiority(0.02) > 0.05
    assert one.interval() is None
    lost = binary(0, size, 0, 0)
    assert lost.p_loss > 0.05
    assert lost.interval() == pytest.approx((-1, lost.interval().high))


def test_weighted_scores_are_not_right_or_wrong() -> None:
    given = Differences(np.array([1.0, 0, 1, 1]), np.array([1.0, 1, 0, 1]), span=2.5)
    assert not given.is_binary
    assert Differences(given.baseline, given.candidate).is_binary


def test_few_clusters_decide_little() -> None:
    chance = np.random.default_rng(10)
    scores = chance.random((2, 60))
    one, two = (Differences(*scores, np.arange(60) % count) for count in (1, 2))
    assert (one.interval(), one.stderr) == (None, None)
    assert one.p_non_inferiority(0.02) > 0.9
    assert one.needed_to_tell() > 60
    interval = two.interval()
    assert interval is not None
    assert interval == pytest.approx(tuple(stats.ttest_1samp(two.sums / 30, 0).confidence_interval(0.95)))
    assert min(two.p_loss, two.p_gain) >= 0.25


# --- clusters ---------------------------------------------------------------------------------------------------------


def test_the_clustered_standard_error_is_the_closed_form() -> None:
    chance = np.random.default_rng(4)
    clusters = np.repeat(np.arange(20), chance.integers(1, 6, 20))
    given = Differences(chance.random(clusters.size), chance.random(clusters.size), clusters)
    total, n = 0.0, given.n
    for cluster in range(20):
        inside = [given.by_document[i] - given.difference for i in range(n) if clusters[i] == cluster]
        total += sum(a * b for a in inside for b in inside)
    assert given.stderr == pytest.approx(math.sqrt(total * 20 / 19) / n)


def test_one_big_cluster_among_small_ones_leaves_few_degrees_of_freedom() -> None:
    chance = np.random.default_rng(13)
    clusters = np.repeat(np.arange(31), [30, *[1] * 30])
    given = Differences(*chance.random((2, 60)), clusters)
    interval = given.interval()
    assert interval is not None
    assert given.stderr is not None
    freedom = 60**2 / (30**2 + 30) - 1  # by Kish's effective number of clusters, 3.9 of the 31
    assert interval.high - given.difference == pytest.approx(stats.t.ppf(0.975, freedom) * given.stderr)


def test_clusters_of_one_document_are_no_clusters() -> None:
    chance = np.random.default_rng(5)
    alone = Differences(chance.random(40), chance.random(40))
    same = Differences(alone.baseline, alone.candidate, np.arange(40))
    assert same.interval() == pytest.approx(alone.interval())
    assert same.p_non_inferiority(0.1) == pytest.approx(alone.p_non_inferiority(0.1))
    assert same.p_loss == alone.p_loss


def test_copies_of_documents_add_nothing() -> None:
    chance = np.random.default_rng(6)
    alone = Differences(chance.random(30), chance.random(30))
    copied = Differences(np.repeat(alone.baseline, 5), np.repeat(alone.candidate, 5), np.repeat(np.arange(30), 5))
    assert copied.interval() == pytest.approx(alone.interval())
    assert copied.p_loss == pytest.approx(alone.p_loss)


# --- sample sizes -----------------------------------------------------------------------------------------------------


def test_with_the_documents_needed_the_power_is_what_was_promised() -> None:
    chance, found = np.random.default_rng(7), []
    pilot = Differences(np.zeros(4000), chance.normal(0.05, 0.5, 4000))
    n = math.ceil(pilot.needed_to_tell())
    for _ in range(1500):
        again = chance.normal(pilot.difference, float(pilot.by_document.std()), n)
        found.append(stats.ttest_1samp(again, 0).pvalue < 0.05)
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)
    assert binary(3, 0, 0, 3).needed_to_tell() == math.inf


def test_no_loss_is_so_clear_that_chance_could_not_make_it_of_a_few_documents() -> None:
    assert binary(0, 1, 0, 0).needed_to_tell() == pytest.approx(math.log2(40))
    n = math.ceil(binary(0, 3, 0, 0).needed_to_tell())
    verdicts = [2 * binary(0, count, 0, 0).p_loss <= 0.05 for count in (n - 1, n)]
    assert verdicts == [False, True]
    clusters = np.repeat(np.arange(3), 4)
    assert Differences(np.ones(12), np.zeros(12), clusters).needed_to_tell() >= 4 * math.log2(40)


@pytest.mark.parametrize("one", [binary(2000, 0, 0, 9), Differences(np.full(2000, 0.3), np.full(2000, 0.3))])
def test_with_the_documents_needed_what_never_differs_passes(one: Differences) -> None:
    n = math.ceil(one.needed_to_pass(0.02))
    enough = [Differences(np.full(count, one.baseline[0]), np.full(count, one.baseline[0])) for count in (n, n - 1)]
    assert enough[0].p_non_inferiority(0.02) <= 0.05 < enough[1].p_non_inferiority(0.02)


def test_with_the_documents_needed_to_pass_the_power_is_what_was_promised() -> None:
    chance, n = np.random.default_rng(11), 1000
    pilot = binary(n // 2, n // 20, n // 20, n - n // 2 - n // 10)
    n = math.ceil(pilot.needed_to_pass(0.03))
    passed = 0
    for _ in range(500):
        both, lost, gained, neither = chance.multinomial(n, [0.5, 0.05, 0.05, 0.4])
        passed += binary(both, lost, gained, neither).p_non_inferiority(0.03) <= 0.05
    assert passed / 500 == pytest.approx(0.8, abs=0.06)
