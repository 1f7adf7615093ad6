"""Krippendorff's alpha against its author's examples and a brute-force computation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.stats.agreement import Level, alpha
from tolerances import PUBLISHED_ALPHA

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section D: twelve units, four observers, gaps.
_OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)
UNITS = [[value for value in unit if value is not None] for unit in zip(*_OBSERVERS, strict=True)]


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_equals_the_published_values(level: Level, published: float) -> None:
    assert alpha(UNITS, level) == pytest.approx(published, abs=PUBLISHED_ALPHA)


def test_perfect_agreement_is_one_and_systematic_disagreement_below_zero() -> None:
    assert alpha([[1, 1], [5, 5], [3, 3]]) == 1
    assert alpha([[1, 5], [5, 1], [1, 5]]) < 0


@pytest.mark.parametrize("items", [[], [[3]], [[3], [4]], [[2, 2], [2, 2]]])
def test_without_possible_disagreement_alpha_is_nan(items: list[list[float]]) -> None:
    assert math.isnan(alpha(items))


@given(st.lists(st.lists(st.integers(1, 5), min_size=2, max_size=4), min_size=2, max_size=12), st.integers(-3, 3))
def test_shifting_and_reordering_ratings_changes_nothing(items: list[list[int]], shift: int) -> None:
    shifted = alpha([[rating + shift for rating in reversed(ratings)] for ratings in reversed(items)])
    assert alpha(items) == pytest.approx(shifted, nan_ok=True)


@given(st.lists(st.lists(st.integers(1, 5), min_size=2, max_size=4), min_size=2, max_size=10))
def test_interval_alpha_equals_brute_force(items: list[list[int]]) -> None:
    values = [rating for ratings in items for rating in ratings]
    within = [
        (a - b) ** 2 / (len(ratings) - 1)
        for ratings in items
        for i, a in enumerate(ratings)
        for j, b in enumerate(ratings)
        if i != j
    ]
    among = [(a - b) ** 2 for i, a in enumerate(values) for j, b in enumerate(values) if i != j]
    if sum(among):
        brute_force = 1 - (sum(within) / len(values)) / (sum(among) / (len(values) * (len(values) - 1)))
        assert alpha(items) == pytest.approx(brute_force)
    else:
        assert math.isnan(alpha(items))
