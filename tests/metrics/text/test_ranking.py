"""Recall, hits and reciprocal ranks: by hand, and over all rankings against combinatorial formulas."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import comb

import pytest

from harness.metrics.text.ranking import hit_at, recall_at, reciprocal_rank_at

IDS = "abcde"


def test_by_hand():
    ranked, gold = ["c", "a", "d", "b"], {"a", "b", "z"}
    assert [recall_at(ranked, gold, k) for k in (1, 2, 3, 4, 9)] == [0, 1 / 3, 1 / 3, 2 / 3, 2 / 3]
    assert [hit_at(ranked, gold, k) for k in (1, 2, 9)] == [0, 1, 1]
    assert [reciprocal_rank_at(ranked, gold, k) for k in (1, 2, 9)] == [0, 1 / 2, 1 / 2]
    assert (recall_at([], gold, 3), hit_at([], gold, 3), reciprocal_rank_at([], gold, 3)) == (0, 0, 0)


@pytest.mark.parametrize("right", [1, 2, 3, 5])
@pytest.mark.parametrize("k", [1, 2, 4, 5])
def test_means_over_all_rankings_equal_the_formulas_of_chance(right, k):
    """For n ids in random order, recall@k is k/n; the first k miss all g right ids in C(n-g, k) of C(n, k) cases."""
    n, gold = len(IDS), set(IDS[:right])
    rankings = list(itertools.permutations(IDS))

    def mean(measure):
        return sum(measure(ranked, gold, k) for ranked in rankings) / len(rankings)

    assert mean(recall_at) == pytest.approx(k / n)
    assert mean(hit_at) == pytest.approx(1 - comb(n - right, k) / comb(n, k))
    # The first right id has rank r if the r - 1 ids before it are wrong.
    first = [Fraction(comb(n - r, right - 1), comb(n, right)) for r in range(1, n - right + 2)]
    assert mean(reciprocal_rank_at) == pytest.approx(float(sum(p / r for r, p in enumerate(first[:k], 1))))


@pytest.mark.parametrize("measure", [recall_at, hit_at, reciprocal_rank_at])
def test_invalid_input_is_an_error(measure):
    with pytest.raises(ValueError, match="leave it out"):
        measure(["a"], set(), 1)
    with pytest.raises(ValueError, match="at least 1"):
        measure(["a"], {"a"}, 0)
    with pytest.raises(ValueError, match="twice"):
        measure(["a", "a"], {"a"}, 1)
