"""Strict counts by type against a recount record by record."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.metrics.extraction import scores
from harness.metrics.extraction.records import Argument, Entity, Event, Relation
from harness.metrics.extraction.tuples import Counts
from harness.metrics.stats.estimates import ratio, ratio_estimate, ratios_estimate
from tolerances import DERIVATIVE

letters = st.sampled_from("甲乙丙")
entities = st.lists(st.builds(Entity, letters, letters), max_size=8)
relations = st.lists(st.builds(Relation, letters, letters, letters), max_size=8)
happenings = st.lists(
    st.builds(Event, letters, letters, st.lists(st.builds(Argument, letters, letters), max_size=3).map(tuple)),
    max_size=4,
)


def recount(said, wanted):
    """Return hits, said and wanted of pairs (type, what is compared) by type, one record after another."""
    found = {}
    for place, (kind, _) in enumerate(wanted):
        counted = found.setdefault(kind, [0, 0, 0])
        counted[2] += wanted[place] not in wanted[:place]
    for place, one in enumerate(said):
        counted = found.setdefault(one[0], [0, 0, 0])
        if one not in said[:place]:
            counted[1] += 1
            counted[0] += one in wanted
    return {kind: tuple(counted) for kind, counted in found.items()}


@given(entities, entities)
def test_entities_by_type(said, wanted):
    pairs = [[(one.type, one.name) for one in side] for side in (said, wanted)]
    assert scores.counts_by_type(said, wanted) == recount(*pairs)


@given(relations, relations)
def test_relations_by_their_name(said, wanted):
    pairs = [[(one.relation, (one.head, one.tail)) for one in side] for side in (said, wanted)]
    assert scores.counts_by_type(said, wanted) == recount(*pairs)


@given(happenings, happenings)
def test_events_and_arguments_by_the_events_type(said, wanted):
    sides = (said, wanted)
    pairs = [[(one.type, one.trigger) for one in side] for side in sides]
    assert scores.counts_by_type(*map(scores.without_arguments, sides)) == recount(*pairs)
    pairs = [[(one.type, tuple(each)) for one in side for each in one.arguments] for side in sides]
    assert scores.counts_by_type(*map(scores.event_arguments, sides)) == recount(*pairs)


@given(st.lists(st.tuples(entities, entities), max_size=6))
def test_micro_and_macro_over_documents(documents):
    by_type = [scores.counts_by_type(*one) for one in documents]
    every = scores.sum_by_type(by_type)
    alone = [recount(*[[(one.type, one.name) for one in side] for side in sides]) for sides in documents]
    for kind, counted in every.items():
        assert counted == tuple(sum(one.get(kind, (0, 0, 0))[place] for one in alone) for place in range(3))
    of_type = [2 * hits / (said + wanted) for hits, said, wanted in every.values() if wanted]
    macro = scores.macro_f1(by_type)
    assert macro == pytest.approx(sum(of_type) / len(of_type)) if of_type else math.isnan(macro)
    micro = ratio([scores.total_counts(one).f1_pair for one in by_type])
    hits, said, wanted = (sum(counted[place] for counted in every.values()) for place in range(3))
    assert micro == pytest.approx(2 * hits / (said + wanted)) if said + wanted else math.isnan(micro)


def test_a_type_that_was_only_said_is_no_type_of_the_data():
    wanted = [Entity("甲", "人物"), Entity("乙", "地点")]
    said = [Entity("甲", "人物"), Entity("乙", "作品")]
    by_type = scores.counts_by_type(said, wanted)
    assert by_type == {"人物": (1, 1, 1), "地点": (0, 0, 1), "作品": (0, 1, 0)}
    assert scores.macro_f1([by_type]) == 0.5
    assert scores.total_counts(by_type).f1 == 0.5


def test_counts_that_were_stored_can_be_summed():
    assert scores.sum_by_type([{"甲": [1, 2, 3]}, {"甲": [1, 0, 0]}]) == {"甲": (2, 2, 3)}


def by_weight(documents, weights):
    """Return macro F1 where documents weigh so much."""
    kinds = {kind for one in documents for kind, (_, _, wanted) in one.items() if wanted}
    scores_of = []
    for kind in kinds:
        counted = [one.get(kind, (0, 0, 0)) for one in documents]
        above = sum(w * 2 * hits for w, (hits, _, _) in zip(weights, counted, strict=True))
        scores_of.append(
            above / sum(w * (said + wanted) for w, (_, said, wanted) in zip(weights, counted, strict=True))
        )
    return sum(scores_of) / len(scores_of)


@given(st.lists(st.tuples(entities, entities), min_size=2, max_size=6))
def test_the_interval_of_macro_f1_is_linearised_over_documents(sides):
    documents = [scores.counts_by_type(*one) for one in sides]
    if not any(counted.expected for one in documents for counted in one.values()):
        return
    n, step = len(documents), 1e-4
    found = scores.macro_f1_estimate(documents)
    assert found.value == pytest.approx(scores.macro_f1(documents))
    leaning = []
    for place in range(n):
        up, down = ([1 / n + sign * step * (i == place) for i in range(n)] for sign in (1, -1))
        leaning.append((by_weight(documents, up) - by_weight(documents, down)) / (2 * step))
    assert found.stderr == pytest.approx(
        math.sqrt(sum(one**2 for one in leaning) / (n - 1) / n), rel=DERIVATIVE, abs=DERIVATIVE
    )
    assert found.low <= found.value <= found.high


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=2, max_size=6))
def test_with_one_type_it_is_the_interval_of_micro_f1(counted):
    documents = [{"甲": Counts(min(hits, wanted), hits, wanted)} for hits, wanted in counted]
    macro = scores.macro_f1_estimate(documents)
    micro = ratio_estimate([one["甲"].f1_pair for one in documents], fraction=True)
    assert macro == pytest.approx(micro)


def test_a_mean_of_no_ratios_is_refused():
    with pytest.raises(HarnessError, match="no ratios"):
        ratios_estimate([])
