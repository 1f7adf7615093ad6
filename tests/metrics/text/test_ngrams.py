"""Shared runs against counting every run of every order (brute force)."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.text import ngrams

few = st.text("甲乙 a", max_size=30)


def counted(text: ngrams.Text, order: int) -> Counter[ngrams.Text]:
    return Counter(text[i : i + order] for i in range(len(text) - order + 1))


@given(few, few)
def test_shared_runs_are_counted_in_both(said: str, wanted: str) -> None:
    brute = [(counted(said, order) & counted(wanted, order)).total() for order in range(1, 7)]
    assert list(ngrams.shared_characters(said, wanted)) == brute
    tokens = (tuple(said), tuple(wanted))
    assert list(ngrams.shared(*tokens, 4)) == brute[:4]


@given(few)
def test_runs_are_one_a_place(text: str) -> None:
    for order in (1, 2, 3):
        assert ngrams.runs(list(text), order) == [
            tuple(text[i : i + order]) for i in range(max(0, len(text) - order + 1))
        ]
