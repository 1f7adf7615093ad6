"""The scores of chosen letters."""

from __future__ import annotations

import pytest

from harness.metrics.answers import letter_scores


@pytest.mark.parametrize(
    ("chosen", "right", "exact", "partial"),
    [
        ("AC", "AC", 1, 1),
        ("A", "AC", 0, 0.5),
        ("AB", "AC", 0, 0),
        ("", "AC", 0, 0),
        ("ABC", "AC", 0, 0),
        ("B", "B", 1, 1),
        ("AB", "ABD", 0, 2 / 3),
    ],
)
def test_credit(chosen: str, right: str, exact: float, partial: float) -> None:
    assert letter_scores.exact_set(chosen, right) == exact
    assert letter_scores.partial_credit(chosen, right) == partial
