"""Strict counts of correct entities, relations, events and arguments, by type, and the macro F1 over types.

A record is correct if an expected record equals it in every item, including the type, character by character. Counts
are of the distinct records of a document: a name that occurs twice in a text is expected once. Micro F1 is over all
records of all documents (`Counts.f1_pair` with `estimates.ratio`), macro F1 is the mean over types.

Not here: the published definitions (`kg2instruction`, `iepile`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from harness.metrics.extraction.records import Argument, Event, Record, type_of
from harness.metrics.extraction.tuples import Counts, count_matches
from harness.metrics.stats.estimates import Estimate, ratios_estimate

TypeCounts: TypeAlias = "Mapping[str, Sequence[int]]"
"""By type: the numbers of hits, of predicted and of expected items, in one document or in several."""

_NO_COUNTS = Counts(0, 0, 0)


class EventArgument(NamedTuple):
    """An argument with the type of its event, whatever the event's trigger."""

    argument: Argument
    type: str


def without_arguments(events: Iterable[Event]) -> list[Event]:
    """Return `events` with their triggers and types only."""
    return [Event(event.trigger, event.type) for event in events]


def event_arguments(events: Iterable[Event]) -> list[EventArgument]:
    """Return all arguments of `events`; an argument is correct if its event's type, its name and its role are."""
    return [EventArgument(argument, event.type) for event in events for argument in event.arguments]


def counts_by_type(
    predicted: Iterable[Record | EventArgument], expected: Iterable[Record | EventArgument]
) -> dict[str, Counts]:
    """Return the counts of hits, predictions and expectations by type, in order of appearance, expected types first."""
    predicted_by_type: dict[str, set[Record | EventArgument]] = {}
    expected_by_type: dict[str, set[Record | EventArgument]] = {}
    for by_type, items in ((expected_by_type, expected), (predicted_by_type, predicted)):
        for item in items:
            by_type.setdefault(_type_of(item), set()).add(item)
    return {
        name: count_matches(predicted_by_type.get(name, ()), expected_by_type.get(name, ()))
        for name in {**expected_by_type, **predicted_by_type}
    }


def total_counts(types: TypeCounts) -> Counts:
    """Return the counts of all types together."""
    return Counts(*(sum(counts[column] for counts in types.values()) for column in range(3)))


def sum_by_type(documents: Iterable[TypeCounts]) -> dict[str, Counts]:
    """Return the counts of each type over all documents."""
    sums: dict[str, Counts] = {}
    for document in documents:
        for name, (hits, predicted, expected) in document.items():
            previous = sums.get(name, _NO_COUNTS)
            sums[name] = Counts(previous.hits + hits, previous.predicted + predicted, previous.expected + expected)
    return sums


def macro_f1(documents: Iterable[TypeCounts]) -> float:
    """Return the mean F1 over the types that any document expects; NaN if no type is expected.

    A type that was only predicted lowers the micro F1 but does not count as a type of the data.
    """
    scores = [counts.f1 for counts in sum_by_type(documents).values() if counts.expected]
    return math.fsum(scores) / len(scores) if scores else math.nan


def macro_f1_estimate(documents: Sequence[TypeCounts]) -> Estimate:
    """Return `macro_f1` with its interval over documents, for fixed types; at least one type must be expected."""
    expected_types = [name for name, counts in sum_by_type(documents).items() if counts.expected]
    columns = [[Counts(*document.get(name, _NO_COUNTS)).f1_pair for document in documents] for name in expected_types]
    return ratios_estimate(columns, fraction=True)


def _type_of(item: Record | EventArgument) -> str:
    return item.type if isinstance(item, EventArgument) else type_of(item)
