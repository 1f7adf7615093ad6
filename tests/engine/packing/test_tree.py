"""Prefix trees and packs against brute force: sets of prefixes, and a cache simulated with lists."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine.packing import tree
from harness.engine.packing.tree import Limits, Pack

# Few different tokens, so that sequences share much, and some beyond 16 bits.
ids = st.lists(st.sampled_from([0, 1, 2, 70_000]), min_size=1, max_size=12)


@st.composite
def asked(draw: st.DrawFn) -> tuple[list[list[int]], list[int]]:
    sequences = draw(st.lists(ids, min_size=1, max_size=14))
    return sequences, [draw(st.integers(0, len(one))) for one in sequences]


limits = st.builds(Limits, st.integers(1, 40), st.integers(1, 40))
cuts = st.sampled_from([tree.plan, partial(tree.plan, siblings=False)])


def prefixes(sequences: Sequence[Sequence[int]]) -> set[tuple[int, ...]]:
    return {tuple(one[:end]) for one in sequences for end in range(1, len(one) + 1)}


def seen(packs: Sequence[Pack]) -> list[list[tuple[int, ...]]]:
    """Return for each token of each pack what it sees, itself last: in a cache that is cropped, filled and cropped."""
    cache: list[int] = []
    found = []
    for pack in packs:
        assert pack.trunk <= len(cache)
        cache = cache[: pack.trunk]
        tokens = pack.tokens.tolist()
        found.append([(*cache, *(tokens[i] for i in range(j + 1) if j < pack.ends[i])) for j in range(len(tokens))])
        cache += tokens[: pack.keep]
    return found


@given(asked=asked(), limits=limits, cut=cuts)
def test_packs_hold_every_token_once_each_seeing_its_own_prefix(
    asked: tuple[list[list[int]], list[int]], limits: Limits, cut: Callable[..., list[Pack]]
) -> None:
    sequences, wanted = asked
    grown = tree.grow(sequences, wanted)
    packs = cut(grown, limits)
    each = [one for pack in seen(packs) for one in pack]
    assert len(each) == len(set(each)) == grown.tokens
    assert set(each) == prefixes(sequences)
    for pack, contexts in zip(packs, seen(packs), strict=True):
        assert len(pack.tokens) <= limits.tokens
        assert len(set(pack.rows.tolist())) <= limits.rows
        assert pack.depths.tolist() == [len(one) - 1 for one in contexts]


@given(asked=asked(), limits=limits, cut=cuts)
def test_every_request_reads_its_last_tokens_once_and_in_order(
    asked: tuple[list[list[int]], list[int]], limits: Limits, cut: Callable[..., list[Pack]]
) -> None:
    sequences, wanted = asked
    packs = cut(tree.grow(sequences, wanted), limits)
    read: Counter[tuple[int, int]] = Counter()
    for pack, contexts in zip(packs, seen(packs), strict=True):
        for row, request, nth in zip(pack.rows, pack.requests, pack.nth, strict=True):
            sequence = sequences[request]
            assert contexts[row] == tuple(sequence[: len(sequence) - wanted[request] + nth + 1])
            read[int(request), int(nth)] += 1
    assert read == Counter((request, nth) for request, count in enumerate(wanted) for nth in range(count))


@given(asked=asked(), limits=limits, cut=cuts, shuffle=st.randoms(use_true_random=False))
def test_the_order_of_requests_changes_no_pack(
    asked: tuple[list[list[int]], list[int]],
    limits: Limits,
    cut: Callable[..., list[Pack]],
    shuffle: random.Random,
) -> None:
    sequences, wanted = asked
    order = list(range(len(sequences)))
    shuffle.shuffle(order)
    one = cut(tree.grow(sequences, wanted), limits)
    other = cut(tree.grow([sequences[i] for i in order], [wanted[i] for i in order]), limits)
    for a, b in zip(one, other, strict=True):
        assert (a.parent, a.trunk, a.keep) == (b.parent, b.trunk, b.keep)
        assert a.tokens.tolist() == b.tokens.tolist()
        reads = [sorted(zip(p.rows.tolist(), p.nth.tolist(), strict=True)) for p in (a, b)]
        assert reads[0] == reads[1]


@given(asked=asked(), limits=limits, cut=cuts, data=st.data())
def test_what_is_needed_is_what_missing_requests_read_and_all_it_stands_on(
    asked: tuple[list[list[int]], list[int]], limits: Limits, cut: Callable[..., list[Pack]], data: st.DataObject
) -> None:
    sequences, wanted = asked
    packs = cut(tree.grow(sequences, wanted), limits)
    missing = data.draw(st.lists(st.booleans(), min_size=len(sequences), max_size=len(sequences)))
    expected: set[int] = set()
    for index, pack in enumerate(packs):
        if any(missing[request] for request in pack.requests):
            while index >= 0:
                expected.add(index)
                index = packs[index].parent
    found = tree.needed(packs, missing)
    assert {i for i, one in enumerate(found) if one} == expected
    # What is left is a plan of its own: every trunk is in the cache when it is wanted.
    kept = [pack for pack, one in zip(packs, found, strict=True) if one]
    for pack, contexts in zip(kept, seen(kept), strict=True):
        for row, request, nth in zip(pack.rows, pack.requests, pack.nth, strict=True):
            if missing[request]:
                sequence = sequences[request]
                assert contexts[row] == tuple(sequence[: len(sequence) - wanted[request] + nth + 1])


@given(asked=asked(), limits=limits)
def test_without_siblings_every_pack_is_a_chain_that_stays(
    asked: tuple[list[list[int]], list[int]], limits: Limits
) -> None:
    for pack in tree.plan(tree.grow(*asked), limits, siblings=False):
        assert pack.keep == len(pack.tokens)
        assert set(pack.ends.tolist()) == {len(pack.tokens)}


def test_one_shared_prefix_is_a_trunk_and_its_questions_fill_packs() -> None:
    shots = list(range(100, 1100))
    questions = [[*shots, *range(2000 + 50 * i, 2050 + 50 * i)] for i in range(20)]
    packs = tree.plan(tree.grow(questions, [1] * 20), Limits(512, 512))
    assert [(len(pack.tokens), pack.trunk, pack.keep) for pack in packs] == [
        (512, 0, 512),
        (488, 512, 488),
        (500, 1000, 0),
        (500, 1000, 0),
    ]


def test_a_question_that_fits_joins_the_end_of_its_trunk() -> None:
    sequences = [[*range(600), 1000 + i, 2000] for i in range(10)]
    packs = tree.plan(tree.grow(sequences, [1] * 10), Limits(512, 512))
    assert [(len(pack.tokens), pack.keep) for pack in packs] == [(512, 512), (108, 88)]


@pytest.mark.parametrize("requests", [2_000, 8_000])
def test_planning_touches_each_token_a_fixed_number_of_times(requests: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear but for sorting: neighbours are compared once each, and no edge is measured twice."""
    chance = random.Random(0)
    shots = [chance.choices(range(30_000), k=50) for _ in range(20)]
    sequences = [[*shots[i % 20], *chance.choices(range(30_000), k=10)] for i in range(requests)]
    compared = []
    common = tree.common_prefix
    monkeypatch.setattr(tree, "common_prefix", lambda one, other: compared.append(1) or common(one, other))
    grown = tree.grow(sequences, [1] * requests)
    assert len(compared) == requests
    assert sum(1 for _ in tree.preorder(grown.root)) <= 2 * requests + 1
    assert sum(len(pack.tokens) for pack in tree.plan(grown, Limits(512, 512))) == grown.tokens
