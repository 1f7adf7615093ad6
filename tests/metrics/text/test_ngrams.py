"""Shared runs against a count of every run of every order (brute force)."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.text import ngrams

short_texts = st.text("甲乙 a", max_size=30)


def run_counts(text: ngrams.Text, order: int) -> Counter[ngrams.Text]:
    return Counter(text[i : i + order] for i in range(len(text) - order + 1))


@given(short_texts, short_texts)
def test_shared_runs_equal_the_brute_force_count(prediction: str, reference: str) -> None:
    brute_force = [(run_counts(prediction, order) & run_counts(reference, order)).total() for order in range(1, 7)]
    assert list(ngrams.shared_characters(prediction, reference)) == brute_force
    assert list(ngrams.shared(tuple(prediction), tuple(reference), 4)) == brute_force[:4]


@given(short_texts)
def test_a_run_begins_at_every_place(text: str) -> None:
    for order in (1, 2, 3):
        assert ngrams.runs(list(text), order) == [
            tuple(text[i : i + order]) for i in range(max(0, len(text) - order + 1))
        ]
