"""Arrangements of rows in lanes against brute force."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, takewhile

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.engine.decoding import arrangement
from harness.engine.decoding.arrangement import Arrangement


def common_prefix(rows: Sequence[list[int]]) -> int:
    return len(list(takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))))


def arrange(rows: list[list[int]], max_tokens: int, read_cost: int) -> Arrangement:
    shared = [common_prefix(pair) for pair in pairwise(rows)]
    return arrangement.arrange(np.array(shared, np.int64), np.array([len(row) for row in rows]), max_tokens, read_cost)


@given(
    st.lists(st.lists(st.integers(1, 2), min_size=1, max_size=9), min_size=1, max_size=20),
    st.integers(1, 200),
    st.sampled_from([1, 10, 100]),
)
def test_the_cheapest_arrangement_that_fits_into_memory_is_chosen(
    rows: list[list[int]], max_tokens: int, read_cost: int
) -> None:
    rows.sort()
    best = arrange(rows, max_tokens, read_cost)
    tokens = {}
    for width in {*(2**i for i in range(6) if 2**i < len(rows)), len(rows)}:
        groups = [rows[start : start + width] for start in range(0, len(rows), width)]
        lengths = [sum(map(len, group)) - (len(group) - 1) * common_prefix(group) for group in groups]
        tokens[width] = len(groups) * max(lengths)
    costs = [tokens[width] * (read_cost + width) for width in tokens if tokens[width] <= max_tokens]
    assert best.tokens == tokens[best.width]
    assert best.cost == (min(costs) if costs else best.tokens * (read_cost + best.width))
    assert best.tokens <= max_tokens or best.tokens == min(tokens.values())


SHARING = [[*range(1000), *[row] * 100] for row in range(32)]


def test_rows_share_lanes_if_they_have_a_long_common_prefix() -> None:
    assert arrange(SHARING, 10**6, 10).width > 4
    assert arrange([[row] * 100 for row in range(32)], 10**6, 10).width == 1


def test_more_rows_share_a_lane_if_memory_is_scarce() -> None:
    free = arrange(SHARING, 10**6, 10)
    assert arrange(SHARING, free.tokens - 1, 10).width > free.width
