"""Which parametrizations `make test` runs of a test that is sampled."""

from __future__ import annotations

import pytest

from support.sampled import spread


@pytest.mark.parametrize(
    ("count", "kept", "expected"),
    [(9, 3, {0, 4, 8}), (3, 5, {0, 1, 2}), (21, 1, {0}), (10, 2, {0, 9}), (1, 1, {0})],
)
def test_what_is_kept_is_spread_over_all(count: int, kept: int, expected: set[int]) -> None:
    assert spread(count, kept) == expected


@pytest.mark.sampled(2)
@pytest.mark.parametrize("number", range(9))
def test_the_others_are_left_to_make_oracle(number: int, request: pytest.FixtureRequest) -> None:
    assert (request.node.get_closest_marker("oracle") is None) == (number in (0, 8))
