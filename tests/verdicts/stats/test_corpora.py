"""Corpus metrics, resampled: against a loop that draws documents, sacrebleu's own tests, and what is known exactly."""

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
    """Micro F1 of documents with up to ten entities; the candidate finds `shift` fewer of them."""
    chance = np.random.default_rng(seed)
    wanted, said = chance.integers(1, 10, count), chance.integers(1, 10, (2, count))
    hits = [chance.binomial(np.minimum(wanted, one), 0.6 - less) for one, less in zip(said, (0.0, shift), strict=True)]
    base, cand = (np.stack([2.0 * hit, 1.0 * one + wanted], axis=1) for hit, one in zip(hits, said, strict=True))
    return Corpora(base, cand, ratio)


def test_with_equal_denominators_a_ratio_is_a_mean() -> None:
    chance = np.random.default_rng(0)
    base, cand = chance.random(300), chance.random(300)
    given = Corpora(np.stack([base, np.ones(300)], 1), np.stack([cand, np.ones(300)], 1), ratio)
    mean = Differences(base, cand)
    assert given.difference == pytest.approx(mean.difference)
    assert mean.stderr is not None
    assert given.resampled.std() == pytest.approx(mean.stderr, rel=0.03)
    assert given.p_loss == pytest.approx(
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
    given = pairs(60, 4, shift=0.1)

    def difference(drawn: np.ndarray, axis: int) -> np.ndarray:
        was, now = (side[drawn].sum(axis=axis - 1) for side in (given.baseline, given.candidate))
        return now[..., 0] / now[..., 1] - was[..., 0] / was[..., 1]

    theirs = stats.bootstrap(
        (np.arange(60),), difference, vectorized=True, method="percentile", n_resamples=20_000, rng=2
    )
    interval = given.interval()
    assert interval is not None
    assert interval == pytest.approx(tuple(theirs.confidence_interval), abs=0.1 * theirs.standard_error)
    assert given.stderr == pytest.approx(theirs.standard_error, rel=0.03)


def test_resampling_is_drawing_documents_again() -> None:
    given = pairs(40, 1)
    chance, brute = np.random.default_rng(9), []
    for _ in range(4000):
        drawn = chance.integers(0, 40, 40)
        values = [float(one[drawn, 0].sum() / one[drawn, 1].sum()) for one in (given.candidate, given.baseline)]
        brute.append(values[0] - values[1])
    low, high = np.quantile(brute, [0.025, 0.975])
    spread = 4 * float(np.std(brute)) / math.sqrt(4000 * 0.025 * 0.05)
    interval = given.interval()
    assert abs(interval.low - low) < spread
    assert abs(interval.high - high) < spread


def test_clusters_are_drawn_whole() -> None:
    alone = pairs(40, 2)
    clusters = np.repeat(np.arange(40), 3)
    copied = Corpora(np.repeat(alone.baseline, 3, 0), np.repeat(alone.candidate, 3, 0), ratio, clusters)
    assert copied.interval() == pytest.approx(alone.interval())
    assert copied.p_loss == alone.p_loss


def test_a_real_loss_is_seen_and_no_loss_is_none() -> None:
    assert pairs(400, 3, shift=0.15).p_loss < 0.01
    assert pairs(400, 3, shift=-0.15).p_loss > 0.99
    same = pairs(50, 4)
    assert Corpora(same.baseline, same.baseline, ratio).p_loss == 1
    assert pairs(400, 5, shift=-0.1).p_non_inferiority(0.02) < 0.01
    assert pairs(400, 5, shift=0.1).p_non_inferiority(0.02) > 0.9


def test_pieces_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pairs(30, 6)
    expected = whole.p_loss, tuple(whole.resampled)
    monkeypatch.setattr(corpora, "CHUNK", 30 * 7)
    corpora._draws.cache_clear()
    corpora._swaps.cache_clear()
    again = pairs(30, 6)
    assert (again.p_loss, tuple(again.resampled)) == expected


# --- error rates ------------------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few resamples, as of many corpora each counts little."""
    monkeypatch.setattr(corpora, "RESAMPLES", 400)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("groups", [corpora.GROUPS, 12])
def test_loss_has_its_size_where_nothing_changed(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "GROUPS", groups)
    found = [pairs(30, seed) for seed in range(400)]
    # Of 400 tests of size 0.1 this many are beyond by chance alone once in a thousand.
    for tail in ("p_loss", "p_gain"):
        assert sum(getattr(one, tail) <= 0.1 for one in found) <= stats.binom.ppf(0.999, 400, 0.1)


def sparse(count: int, chance: np.random.Generator, share: float) -> Corpora:
    """The candidate finds nothing in `share` of the documents, and the same in all others."""
    wanted = chance.integers(1, 6, count)
    hits = chance.binomial(wanted, 0.7)
    kept = hits * (chance.random(count) >= share)
    baseline, candidate = (np.stack([2.0 * one, 2.0 * wanted], axis=1) for one in (hits, kept))
    return Corpora(baseline, candidate, ratio)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(("count", "groups"), [(40, 2000), (100, 2000), (300, 100)])
def test_at_the_margin_few_pass(count: int, groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "GROUPS", groups)
    chance = np.random.default_rng(count)
    # Of 0.7 that are found, 0.021 are lost.
    passed = sum(sparse(count, chance, 0.03).p_non_inferiority(0.021) <= 0.05 for _ in range(400))
    assert passed <= stats.binom.ppf(0.999, 400, 0.05)


@pytest.mark.usefixtures("few")
def test_intervals_hold_what_is_true() -> None:
    chance, missed = np.random.default_rng(1), 0
    for seed in range(300):
        interval = pairs(int(chance.integers(60, 120)), seed).interval()
        assert interval is not None
        missed += not interval.low <= 0 <= interval.high
    assert missed <= stats.binom.ppf(0.999, 300, 0.07)  # percentiles of a few dozen documents are a little narrow


# --- groups -----------------------------------------------------------------------------------------------------------


def test_dealt_into_groups_the_answers_are_about_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    dealt = pairs(5000, 7, shift=0.02)
    expected = dealt.stderr, dealt.interval(), dealt.p_loss, dealt.p_non_inferiority(0.03)
    monkeypatch.setattr(corpora, "GROUPS", 5000)
    alone = pairs(5000, 7, shift=0.02)
    assert dealt.stderr == pytest.approx(alone.stderr, rel=0.05)
    assert expected[1] == pytest.approx(alone.interval(), abs=0.1 * (alone.stderr or 0))
    assert expected[2] == pytest.approx(alone.p_loss, abs=0.01)
    assert expected[3] == pytest.approx(alone.p_non_inferiority(0.03), abs=0.02)


def test_clusters_are_dealt_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "GROUPS", 25)
    alone = pairs(40, 2)
    copied = Corpora(
        np.repeat(alone.baseline, 3, 0), np.repeat(alone.candidate, 3, 0), ratio, np.repeat(np.arange(40), 3)
    )
    assert copied.stderr == pytest.approx(alone.stderr)
    assert copied.p_loss == alone.p_loss


# --- what is told of documents, and sample sizes ----------------------------------------------------------------------


def test_with_equal_denominators_documents_tell_what_they_tell_of_a_mean() -> None:
    chance = np.random.default_rng(0)
    base, cand = chance.integers(0, 3, (2, 300)) / 2
    given = Corpora(np.stack([base, np.ones(300)], 1), np.stack([cand, np.ones(300)], 1), ratio)
    mean = Differences(base, cand)
    assert (given.n, given.units, given.lost, given.gained) == (300, 300, mean.lost, mean.gained)
    assert given.by_document * 300 == pytest.approx(mean.by_document)
    assert given.scores == pytest.approx(mean.scores)
    assert given.needed_to_tell() == pytest.approx(mean.needed_to_tell(), rel=0.06)
    assert given.needed_to_pass(0.1) == pytest.approx(mean.needed_to_pass(0.1), rel=0.06)
    assert given.p_non_inferiority(0.1) == pytest.approx(mean.p_non_inferiority(0.1), rel=0.1)


def test_saying_what_is_wrong_where_nothing_is_wanted_is_a_document_lost() -> None:
    # By itself either is worth 0; in the corpus the second is worse.
    given = Corpora(np.array([[4.0, 5], [0, 0]]), np.array([[4.0, 5], [0, 2]]), ratio)
    assert (given.lost, given.gained) == (1, 0)


def test_where_nothing_differs_many_documents_are_needed() -> None:
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
    given = Corpora(np.full((count, 2), [1.0, 2]), np.full((count, 2), [0.0, 2]), ratio)
    assert given.interval() is None
    assert given.p_loss > 0.2
    better = given.p_non_inferiority(0.02), Corpora(given.candidate, given.baseline, ratio).p_gain
    assert better[0] > 0.5
    assert better[1] > 0.2
