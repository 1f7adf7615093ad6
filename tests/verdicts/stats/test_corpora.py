"""Resampled corpus metrics, checked with loops over drawn documents, scipy, and exact results."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.verdicts.stats import corpora
from harness.verdicts.stats.corpora import RESAMPLES, Corpora
from harness.verdicts.stats.means import Differences
from harness.verdicts.stats.sums import ratio


def pairs(count: int, seed: int, shift: float = 0.0) -> Corpora:
    """Return micro F1 statistics of documents with up to ten entities; the candidate's recall is lower by `shift`."""
    generator = np.random.default_rng(seed)
    expected, predicted = generator.integers(1, 10, count), generator.integers(1, 10, (2, count))
    hits = [
        generator.binomial(np.minimum(expected, predictions), 0.6 - loss)
        for predictions, loss in zip(predicted, (0.0, shift), strict=True)
    ]
    base, cand = (
        np.stack([2.0 * hit, 1.0 * predictions + expected], axis=1)
        for hit, predictions in zip(hits, predicted, strict=True)
    )
    return Corpora(base, cand, ratio)


def test_with_equal_denominators_a_ratio_is_a_mean() -> None:
    generator = np.random.default_rng(0)
    base, cand = generator.random(300), generator.random(300)
    compared = Corpora(np.stack([base, np.ones(300)], 1), np.stack([cand, np.ones(300)], 1), ratio)
    mean = Differences(base, cand)
    assert compared.difference == pytest.approx(mean.difference)
    assert mean.stderr is not None
    assert compared.resampled.std() == pytest.approx(mean.stderr, rel=0.03)
    assert compared.p_loss == pytest.approx(
        stats.permutation_test(
            (cand, base),
            lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
            permutation_type="samples",
            alternative="less",
            vectorized=True,
            n_resamples=20_000,
            rng=1,
        ).pvalue,
        abs=5 * math.sqrt(0.25 * (1 / 20_000 + 1 / RESAMPLES)),
    )


def test_the_interval_is_scipys_percentile_bootstrap() -> None:
    compared = pairs(60, 4, shift=0.1)

    def difference(indices: np.ndarray, axis: int) -> np.ndarray:
        before, after = (side[indices].sum(axis=axis - 1) for side in (compared.baseline, compared.candidate))
        return after[..., 0] / after[..., 1] - before[..., 0] / before[..., 1]

    scipy_result = stats.bootstrap(
        (np.arange(60),), difference, vectorized=True, method="percentile", n_resamples=20_000, rng=2
    )
    interval = compared.interval()
    assert interval is not None
    assert interval == pytest.approx(tuple(scipy_result.confidence_interval), abs=0.1 * scipy_result.standard_error)
    assert compared.stderr == pytest.approx(scipy_result.standard_error, rel=0.03)


def test_resampling_equals_drawing_documents_with_replacement() -> None:
    compared = pairs(40, 1)
    generator, differences = np.random.default_rng(9), []
    for _ in range(4000):
        indices = generator.integers(0, 40, 40)
        values = [
            float(side[indices, 0].sum() / side[indices, 1].sum()) for side in (compared.candidate, compared.baseline)
        ]
        differences.append(values[0] - values[1])
    low, high = np.quantile(differences, [0.025, 0.975])
    spread = 4 * float(np.std(differences)) / math.sqrt(4000 * 0.025 * 0.05)
    interval = compared.interval()
    assert abs(interval.low - low) < spread
    assert abs(interval.high - high) < spread


def test_clusters_are_resampled_as_a_whole() -> None:
    single = pairs(40, 2)
    clusters = np.repeat(np.arange(40), 3)
    copied = Corpora(np.repeat(single.baseline, 3, 0), np.repeat(single.candidate, 3, 0), ratio, clusters)
    assert copied.interval() == pytest.approx(single.interval())
    assert copied.p_loss == single.p_loss


def test_a_real_loss_is_significant_and_no_loss_is_not() -> None:
    assert pairs(400, 3, shift=0.15).p_loss < 0.01
    assert pairs(400, 3, shift=-0.15).p_loss > 0.99
    same = pairs(50, 4)
    assert Corpora(same.baseline, same.baseline, ratio).p_loss == 1
    assert pairs(400, 5, shift=-0.1).p_non_inferiority(0.02) < 0.01
    assert pairs(400, 5, shift=0.1).p_non_inferiority(0.02) > 0.9


def test_results_do_not_depend_on_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pairs(30, 6)
    expected = whole.p_loss, tuple(whole.resampled)
    monkeypatch.setattr(corpora, "CHUNK", 30 * 7)
    corpora._draws.cache_clear()
    corpora._swaps.cache_clear()
    repeated = pairs(30, 6)
    assert (repeated.p_loss, tuple(repeated.resampled)) == expected


# --- error rates ------------------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use few resamples, because many corpora are tested."""
    monkeypatch.setattr(corpora, "RESAMPLES", 400)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("groups", [corpora.GROUPS, 12])
def test_loss_tests_keep_their_error_rate_without_a_change(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "GROUPS", groups)
    results = [pairs(30, seed) for seed in range(400)]
    # Of 400 tests of size 0.1 this many are beyond by chance alone once in a thousand.
    for tail in ("p_loss", "p_gain"):
        assert sum(getattr(item, tail) <= 0.1 for item in results) <= stats.binom.ppf(0.999, 400, 0.1)


def sparse(count: int, generator: np.random.Generator, share: float) -> Corpora:
    """Return a candidate that finds nothing in `share` of the documents and the baseline's entities in the others."""
    expected = generator.integers(1, 6, count)
    hits = generator.binomial(expected, 0.7)
    candidate_hits = hits * (generator.random(count) >= share)
    baseline, candidate = (np.stack([2.0 * counts, 2.0 * expected], axis=1) for counts in (hits, candidate_hits))
    return Corpora(baseline, candidate, ratio)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(("count", "groups"), [(40, 2000), (100, 2000), (300, 100)])
def test_few_candidates_at_the_margin_pass(count: int, groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "GROUPS", groups)
    generator = np.random.default_rng(count)
    # Of 0.7 that are found, 0.021 are lost.
    passed = sum(sparse(count, generator, 0.03).p_non_inferiority(0.021) <= 0.05 for _ in range(400))
    assert passed <= stats.binom.ppf(0.999, 400, 0.05)


@pytest.mark.usefixtures("few")
def test_intervals_contain_the_true_difference() -> None:
    generator, missed = np.random.default_rng(1), 0
    for seed in range(300):
        interval = pairs(int(generator.integers(60, 120)), seed).interval()
        assert interval is not None
        missed += not interval.low <= 0 <= interval.high
    assert missed <= stats.binom.ppf(0.999, 300, 0.07)  # percentiles of a few dozen documents are a little narrow


# --- groups -----------------------------------------------------------------------------------------------------------


def test_groups_of_documents_give_nearly_the_same_results(monkeypatch: pytest.MonkeyPatch) -> None:
    grouped = pairs(5000, 7, shift=0.02)
    expected = grouped.stderr, grouped.interval(), grouped.p_loss, grouped.p_non_inferiority(0.03)
    monkeypatch.setattr(corpora, "GROUPS", 5000)
    single = pairs(5000, 7, shift=0.02)
    assert grouped.stderr == pytest.approx(single.stderr, rel=0.05)
    assert expected[1] == pytest.approx(single.interval(), abs=0.1 * (single.stderr or 0))
    assert expected[2] == pytest.approx(single.p_loss, abs=0.01)
    assert expected[3] == pytest.approx(single.p_non_inferiority(0.03), abs=0.02)


def test_clusters_are_assigned_to_groups_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "GROUPS", 25)
    single = pairs(40, 2)
    copied = Corpora(
        np.repeat(single.baseline, 3, 0), np.repeat(single.candidate, 3, 0), ratio, np.repeat(np.arange(40), 3)
    )
    assert copied.stderr == pytest.approx(single.stderr)
    assert copied.p_loss == single.p_loss


# --- single documents and sample sizes --------------------------------------------------------------------------------


def test_with_equal_denominators_documents_predictionsas_in_a_mean() -> None:
    generator = np.random.default_rng(0)
    base, cand = generator.integers(0, 3, (2, 300)) / 2
    compared = Corpora(np.stack([base, np.ones(300)], 1), np.stack([cand, np.ones(300)], 1), ratio)
    mean = Differences(base, cand)
    assert (compared.n, compared.units, compared.lost, compared.gained) == (300, 300, mean.lost, mean.gained)
    assert compared.by_document * 300 == pytest.approx(mean.by_document)
    assert compared.scores == pytest.approx(mean.scores)
    assert compared.needed_to_tell() == pytest.approx(mean.needed_to_tell(), rel=0.06)
    assert compared.needed_to_pass(0.1) == pytest.approx(mean.needed_to_pass(0.1), rel=0.06)
    assert compared.p_non_inferiority(0.1) == pytest.approx(mean.p_non_inferiority(0.1), rel=0.1)


def test_a_wrong_prediction_where_none_is_expected_is_a_lost_document() -> None:
    # Each answer alone scores 0; within the corpus the second one is worse.
    compared = Corpora(np.array([[4.0, 5], [0, 0]]), np.array([[4.0, 5], [0, 2]]), ratio)
    assert (compared.lost, compared.gained) == (1, 0)


def test_without_differences_many_documents_are_needed() -> None:
    for count in (3, 60, 2000):
        statistics = np.full((count, 2), [3.0, 5.0])
        same = Corpora(statistics, statistics, ratio)
        assert (same.stderr, same.interval(), same.p_loss, same.p_gain) == (None, None, 1, 1)
        assert same.p_non_inferiority(0.02) == pytest.approx((1 - 0.02 / 0.6) ** count)
        assert same.needed_to_tell() == math.inf
    statistics = np.full((math.ceil(same.needed_to_pass(0.02)), 2), [3.0, 5.0])
    assert 0.04 < Corpora(statistics, statistics, ratio).p_non_inferiority(0.02) <= 0.05


@pytest.mark.parametrize("count", [1, 2])
def test_one_document_decides_nothing(count: int) -> None:
    compared = Corpora(np.full((count, 2), [1.0, 2]), np.full((count, 2), [0.0, 2]), ratio)
    assert compared.interval() is None
    assert compared.p_loss > 0.2
    better = compared.p_non_inferiority(0.02), Corpora(compared.candidate, compared.baseline, ratio).p_gain
    assert better[0] > 0.5
    assert better[1] > 0.2
