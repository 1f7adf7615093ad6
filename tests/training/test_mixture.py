"""The order of examples: proportions at every beginning, corpora that are read whole, and nothing but the seed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.training import mixture
from harness.training.mixture import Place

SHARES = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.01, 20), min_size=1)


@given(SHARES, st.integers(0, 2**32), st.booleans())
def test_every_beginning_of_a_mixture_has_the_declared_shares(shares, seed, by_tokens):
    rng = np.random.default_rng(seed)
    lengths = {name: rng.integers(1, 100, size=rng.integers(1, 9)) for name in shares}
    names = list(shares)
    bound = max(int(values.max()) for values in lengths.values()) if by_tokens else 1
    drawn = dict.fromkeys(names, 0)
    for corpus, row in itertools.islice(mixture.order(lengths, shares, "seed", by_tokens=by_tokens), 120):
        drawn[names[corpus]] += int(lengths[names[corpus]][row]) if by_tokens else 1
        for name, share in shares.items():
            declared = sum(drawn.values()) * share / sum(shares.values())
            assert abs(drawn[name] - declared) <= bound + 1e-6


@given(st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_corpora_without_weights_are_read_once_an_epoch(first, second, by_tokens):
    lengths = {"a": np.full(first, 7), "b": np.full(second, 7)}
    shares = {name: float(values.sum() if by_tokens else len(values)) for name, values in lengths.items()}
    stream = mixture.order(lengths, shares, "seed", by_tokens=by_tokens)
    everything = sorted([*(Place(0, row) for row in range(first)), *(Place(1, row) for row in range(second))])
    for _ in range(3):
        assert sorted(itertools.islice(stream, first + second)) == everything


def test_a_corpus_is_read_whole_before_it_is_read_again_in_another_order():
    lengths = {"a": np.ones(10, int), "b": np.ones(3, int)}
    drawn = list(itertools.islice(mixture.order(lengths, {"a": 1, "b": 1}, "seed", by_tokens=False), 60))
    rows = [row for corpus, row in drawn if corpus == 0]
    rounds = [tuple(rows[start : start + 10]) for start in (0, 10, 20)]
    assert all(sorted(part) == list(range(10)) for part in rounds)
    assert len(set(rounds)) == 3


def test_the_order_is_a_function_of_the_seed():
    lengths = {"a": np.arange(1, 30), "b": np.arange(1, 20)}

    def order(seed: str, **shares: float) -> list[Place]:
        return list(itertools.islice(mixture.order(lengths, shares, seed, by_tokens=True), 50))

    assert order("one", a=1, b=2) == order("one", a=1, b=2) == order("one", a=2, b=4)
    assert order("one", a=1, b=2) != order("two", a=1, b=2)


@pytest.mark.parametrize("by_tokens", [False, True])
def test_a_corpus_keeps_its_order_if_another_joins(by_tokens):
    alone = mixture.order({"a": np.arange(1, 30)}, {"a": 1}, "seed", by_tokens=by_tokens)
    both = mixture.order({"a": np.arange(1, 30), "b": np.ones(4, int)}, {"a": 1, "b": 1}, "seed", by_tokens=by_tokens)
    shared = (row for corpus, row in both if corpus == 0)
    assert list(itertools.islice(shared, 40)) == [row for _, row in itertools.islice(alone, 40)]
