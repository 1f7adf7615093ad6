"""Windows of long texts against lm-eval's own, and against their definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from harness.backends import windows

START = 7
texts = st.lists(st.lists(st.integers(10, 99), max_size=60), max_size=4)


@given(texts=texts, context=st.integers(1, 25))
def test_a_stride_of_the_context_gives_lm_evals_rolling_windows(texts: list[list[int]], context: int) -> None:
    expected = [
        (owner, *map(list, make_disjoint_window(pair)))
        for owner, ids in enumerate(texts)
        for pair in get_rolling_token_windows(ids, START, context, context_len=1)
    ]
    result = windows.cut(texts, [START], context, [context] * len(texts))
    assert [(owner, *pair[:2]) for owner, pair in zip(result.owners, result.pairs, strict=True)] == expected


@given(texts=texts, context=st.integers(1, 25), data=st.data())
def test_every_token_is_scored_once_after_at_least_the_context_minus_the_stride(
    texts: list[list[int]], context: int, data: st.DataObject
) -> None:
    strides = [data.draw(st.integers(1, context)) for _ in texts]
    result = windows.cut(texts, [START], context, strides)
    for owner, ids in enumerate(texts):
        pairs = [pair for pair_owner, pair in zip(result.owners, result.pairs, strict=True) if pair_owner == owner]
        assert [token for pair in pairs for token in pair.continuation] == ids
        done = 0
        for pair in pairs:
            before = [START, *ids[:done]]
            assert before[len(before) - len(pair.context) :] == pair.context
            assert len(pair.context) + len(pair.continuation) <= context + 1
            assert done == 0 or len(pair.context) >= min(len(before), context + 1 - strides[owner])
            done += len(pair.continuation)
