"""Strict counts by type, compared with a recount record by record."""

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
events = st.lists(
    st.builds(Event, letters, letters, st.lists(st.builds(Argument, letters, letters), max_size=3).map(tuple)),
    max_size=4,
)


def recount(predicted, expected):
    """Return the counts by type of pairs (type, what is compared), counting one record after another."""
    counts = {}
    for index, pair in enumerate(expected):
        of_type = counts.setdefault(pair[0], [0, 0, 0])
        of_type[2] += pair not in expected[:index]
    for index, pair in enumerate(predicted):
        of_type = counts.setdefault(pair[0], [0, 0, 0])
        if pair not in predicted[:index]:
            of_type[1] += 1
            of_type[0] += pair in expected
    return {name: tuple(of_type) for name, of_type in counts.items()}


@given(entities, entities)
def test_entities_by_type(predicted, expected):
    pairs = [[(entity.type, entity.name) for entity in side] for side in (predicted, expected)]
    assert scores.counts_by_type(predicted, expected) == recount(*pairs)


@given(relations, relations)
def test_relations_by_their_name(predicted, expected):
    pairs = [[(triple.relation, (triple.head, triple.tail)) for triple in side] for side in (predicted, expected)]
    assert scores.counts_by_type(predicted, expected) == recount(*pairs)


@given(events, events)
def test_events_and_arguments_by_the_type_of_the_event(predicted, expected):
    sides = (predicted, expected)
    pairs = [[(event.type, event.trigger) for event in side] for side in sides]
    assert scores.counts_by_type(*map(scores.without_arguments, sides)) == recount(*pairs)
    pairs = [[(event.type, tuple(argument)) for event in side for argument in event.arguments] for side in sides]
    assert scores.counts_by_type(*map(scores.event_arguments, sides)) == recount(*pairs)


@given(st.lists(st.tuples(entities, entities), max_size=6))
def test_micro_and_macro_over_documents(documents):
    by_type = [scores.counts_by_type(*sides) for sides in documents]
    sums = scores.sum_by_type(by_type)
    recounted = [recount(*[[(entity.type, entity.name) for entity in side] for side in sides]) for sides in documents]
    for name, counts in sums.items():
        assert counts == tuple(
            sum(document.get(name, (0, 0, 0))[column] for document in recounted) for column in range(3)
        )
    f1_of_types = [2 * hits / (predicted + expected) for hits, predicted, expected in sums.values() if expected]
    macro = scores.macro_f1(by_type)
    assert macro == pytest.approx(sum(f1_of_types) / len(f1_of_types)) if f1_of_types else math.isnan(macro)
    micro = ratio([scores.total_counts(types).f1_pair for types in by_type])
    hits, predicted, expected = (sum(counts[column] for counts in sums.values()) for column in range(3))
    total = predicted + expected
    assert micro == pytest.approx(2 * hits / total) if total else math.isnan(micro)


def test_a_type_that_was_only_predicted_is_no_type_of_the_data():
    expected = [Entity("甲", "人物"), Entity("乙", "地点")]
    predicted = [Entity("甲", "人物"), Entity("乙", "作品")]
    by_type = scores.counts_by_type(predicted, expected)
    assert by_type == {"人物": (1, 1, 1), "地点": (0, 0, 1), "作品": (0, 1, 0)}
    assert scores.macro_f1([by_type]) == 0.5
    assert scores.total_counts(by_type).f1 == 0.5


def test_counts_that_were_stored_can_be_summed():
    assert scores.sum_by_type([{"甲": [1, 2, 3]}, {"甲": [1, 0, 0]}]) == {"甲": (2, 2, 3)}


def weighted_macro_f1(documents, weights):
    """Return macro F1 with a weight for each document."""
    expected_types = {name for document in documents for name, (_, _, expected) in document.items() if expected}
    f1_of_types = []
    for name in expected_types:
        columns = [document.get(name, (0, 0, 0)) for document in documents]
        weighted = list(zip(weights, columns, strict=True))
        numerator = sum(weight * 2 * hits for weight, (hits, _, _) in weighted)
        f1_of_types.append(
            numerator / sum(weight * (predicted + expected) for weight, (_, predicted, expected) in weighted)
        )
    return sum(f1_of_types) / len(f1_of_types)


@given(st.lists(st.tuples(entities, entities), min_size=2, max_size=6))
def test_the_interval_of_macro_f1_is_linearised_over_documents(sides):
    documents = [scores.counts_by_type(*document) for document in sides]
    if not any(counts.expected for document in documents for counts in document.values()):
        return
    n, step = len(documents), 1e-4
    estimate = scores.macro_f1_estimate(documents)
    assert estimate.value == pytest.approx(scores.macro_f1(documents))
    derivatives = []
    for place in range(n):
        up, down = ([1 / n + sign * step * (i == place) for i in range(n)] for sign in (1, -1))
        derivatives.append((weighted_macro_f1(documents, up) - weighted_macro_f1(documents, down)) / (2 * step))
    assert estimate.stderr == pytest.approx(
        math.sqrt(sum(derivative**2 for derivative in derivatives) / (n - 1) / n), rel=DERIVATIVE, abs=DERIVATIVE
    )
    assert estimate.low <= estimate.value <= estimate.high


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=2, max_size=6))
def test_with_one_type_it_is_the_interval_of_micro_f1(sides):
    documents = [{"甲": Counts(min(predicted, expected), predicted, expected)} for predicted, expected in sides]
    macro = scores.macro_f1_estimate(documents)
    micro = ratio_estimate([document["甲"].f1_pair for document in documents], fraction=True)
    assert macro == pytest.approx(micro)


def test_a_mean_of_no_ratios_is_refused():
    with pytest.raises(HarnessError, match="no ratios"):
        ratios_estimate([])
