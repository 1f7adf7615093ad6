"""Corpus metrics, resampled: against a loop that draws documents, sacrebleu's own tests, and what is known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.verdicts.corpus import RESAMPLES, Corpora, ratio
from harness.verdicts.paired import Differences


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
    assert given.difference == pytest.approx(mean.mean)
    assert mean.stderr is not None
    assert given.resampled.std() == pytest.approx(mean.stderr, rel=0.03)
    assert given.loss == pytest.approx(
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
    assert copied.loss == alone.loss


def test_a_real_loss_is_seen_and_no_loss_is_none() -> None:
    assert pairs(400, 3, shift=0.15).loss < 0.01
    assert pairs(400, 3, shift=-0.15).loss > 0.99
    same = pairs(50, 4)
    assert Corpora(same.baseline, same.baseline, ratio).loss == 1
    assert pairs(400, 5, shift=-0.1).non_inferiority(0.02) < 0.01
    assert pairs(400, 5, shift=0.1).non_inferiority(0.02) > 0.9


def test_pieces_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pairs(30, 6)
    expected = whole.loss, tuple(whole.resampled)
    monkeypatch.setattr("harness.verdicts.corpus.CHUNK", 30 * 7)
    again = pairs(30, 6)
    assert (again.loss, tuple(again.resampled)) == expected


def test_loss_has_its_size_where_nothing_changed() -> None:
    found = [pairs(30, seed).loss for seed in range(300)]
    # Of 300 tests of size 0.1 this many are beyond by chance alone once in a thousand.
    assert sum(p <= 0.1 for p in found) <= stats.binom.ppf(0.999, 300, 0.1)
