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

# Few different tokens, so that sequences share long prefixes; one needs more than 16 bits.
ids = st.lists(st.sampled_from([0, 1, 2, 70_000]), min_size=1, max_size=12)


@st.composite
def requests(draw: st.DrawFn) -> tuple[list[list[int]], list[int]]:
    """Draw sequences, and how many tokens at the end of each are read."""
    sequences = draw(st.lists(ids, min_size=1, max_size=14))
    return sequences, [draw(st.integers(0, len(sequence))) for sequence in sequences]


limits = st.builds(Limits, st.integers(1, 40), st.integers(1, 40))
planners = st.sampled_from([tree.plan, partial(tree.plan, siblings=False)])


def prefixes(sequences: Sequence[Sequence[int]]) -> set[tuple[int, ...]]:
    return {tuple(sequence[:end]) for sequence in sequences for end in range(1, len(sequence) + 1)}


def visible(packs: Sequence[Pack]) -> list[list[tuple[int, ...]]]:
    """Return for each token of each pack the tokens it sees, itself last, from a simulated cache that is cropped."""
    cache: list[int] = []
    contexts = []
    for pack in packs:
        assert pack.trunk <= len(cache)
        cache = cache[: pack.trunk]
        tokens = pack.tokens.tolist()
        contexts.append([(*cache, *(tokens[i] for i in range(j + 1) if j < pack.ends[i])) for j in range(len(tokens))])
        cache += tokens[: pack.keep]
    return contexts


@given(requests=requests(), limits=limits, plan=planners)
def test_packs_hold_every_token_once_and_each_sees_its_own_prefix(
    requests: tuple[list[list[int]], list[int]], limits: Limits, plan: Callable[..., list[Pack]]
) -> None:
    sequences, read_counts = requests
    grown = tree.grow(sequences, read_counts)
    packs = plan(grown, limits)
    contexts_of_all = [context for contexts in visible(packs) for context in contexts]
    assert len(contexts_of_all) == len(set(contexts_of_all)) == grown.tokens
    assert set(contexts_of_all) == prefixes(sequences)
    for pack, contexts in zip(packs, visible(packs), strict=True):
        assert len(pack.tokens) <= limits.tokens
        assert len(set(pack.rows.tolist())) <= limits.rows
        assert pack.depths.tolist() == [len(context) - 1 for context in contexts]


@given(requests=requests(), limits=limits, plan=planners)
def test_every_request_reads_its_last_tokens_once_and_in_order(
    requests: tuple[list[list[int]], list[int]], limits: Limits, plan: Callable[..., list[Pack]]
) -> None:
    sequences, read_counts = requests
    packs = plan(tree.grow(sequences, read_counts), limits)
    reads: Counter[tuple[int, int]] = Counter()
    for pack, contexts in zip(packs, visible(packs), strict=True):
        for row, request, nth in zip(pack.rows, pack.requests, pack.nth, strict=True):
            sequence = sequences[request]
            assert contexts[row] == tuple(sequence[: len(sequence) - read_counts[request] + nth + 1])
            reads[int(request), int(nth)] += 1
    assert reads == Counter((request, nth) for request, count in enumerate(read_counts) for nth in range(count))


@given(requests=requests(), limits=limits, plan=planners, shuffle=st.randoms(use_true_random=False))
def test_packs_do_not_depend_on_the_order_of_requests(
    requests: tuple[list[list[int]], list[int]],
    limits: Limits,
    plan: Callable[..., list[Pack]],
    shuffle: random.Random,
) -> None:
    sequences, read_counts = requests
    order = list(range(len(sequences)))
    shuffle.shuffle(order)
    packs_in_order = plan(tree.grow(sequences, read_counts), limits)
    shuffled = plan(tree.grow([sequences[i] for i in order], [read_counts[i] for i in order]), limits)
    for a, b in zip(packs_in_order, shuffled, strict=True):
        assert (a.parent, a.trunk, a.keep) == (b.parent, b.trunk, b.keep)
        assert a.tokens.tolist() == b.tokens.tolist()
        reads = [sorted(zip(p.rows.tolist(), p.nth.tolist(), strict=True)) for p in (a, b)]
        assert reads[0] == reads[1]


@given(requests=requests(), limits=limits, plan=planners, data=st.data())
def test_needed_packs_are_those_that_missing_requests_read_and_all_their_parents(
    requests: tuple[list[list[int]], list[int]], limits: Limits, plan: Callable[..., list[Pack]], data: st.DataObject
) -> None:
    sequences, read_counts = requests
    packs = plan(tree.grow(sequences, read_counts), limits)
    missing = data.draw(st.lists(st.booleans(), min_size=len(sequences), max_size=len(sequences)))
    expected: set[int] = set()
    for index, pack in enumerate(packs):
        if any(missing[request] for request in pack.requests):
            while index >= 0:
                expected.add(index)
                index = packs[index].parent
    is_needed = tree.needed(packs, missing)
    assert {i for i, needed in enumerate(is_needed) if needed} == expected
    # The needed packs are a plan of their own: every trunk is in the cache when a pack continues it.
    needed_packs = [pack for pack, needed in zip(packs, is_needed, strict=True) if needed]
    for pack, contexts in zip(needed_packs, visible(needed_packs), strict=True):
        for row, request, nth in zip(pack.rows, pack.requests, pack.nth, strict=True):
            if missing[request]:
                sequence = sequences[request]
                assert contexts[row] == tuple(sequence[: len(sequence) - read_counts[request] + nth + 1])


@given(requests=requests(), limits=limits)
def test_without_siblings_every_pack_is_a_chain_that_is_kept(
    requests: tuple[list[list[int]], list[int]], limits: Limits
) -> None:
    for pack in tree.plan(tree.grow(*requests), limits, siblings=False):
        assert pack.keep == len(pack.tokens)
        assert set(pack.ends.tolist()) == {len(pack.tokens)}


def test_a_shared_prefix_is_a_trunk_and_its_questions_fill_packs() -> None:
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


@pytest.mark.parametrize("count", [2_000, 8_000])
def test_planning_takes_linear_time(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apart from sorting: each pair of neighbours is compared once, and no edge is counted twice."""
    chance = random.Random(0)
    shots = [chance.choices(range(30_000), k=50) for _ in range(20)]
    sequences = [[*shots[i % 20], *chance.choices(range(30_000), k=10)] for i in range(count)]
    comparisons = []
    common_prefix = tree.common_prefix
    monkeypatch.setattr(tree, "common_prefix", lambda a, b: comparisons.append(1) or common_prefix(a, b))
    grown = tree.grow(sequences, [1] * count)
    assert len(comparisons) == count
    assert sum(1 for _ in tree.preorder(grown.root)) <= 2 * count + 1
    assert sum(len(pack.tokens) for pack in tree.plan(grown, Limits(512, 512))) == grown.tokens
