"""How many entities, relations, events and arguments of an answer are right, type by type.

Strict: a record is right if it is wanted, every item of it equal, character by character, types among them. Counts are
of distinct records of a document, as a name that a text has twice is no more to find than once. Micro F1 is over all
records of all documents (`Counts.pair` with `aggregate.ratio`), macro F1 the mean over types.

Not here: the published definitions (`extraction_kg2instruction`, `extraction_iepile`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from harness.metrics.extraction.records import Argument, Event, Record, type_of
from harness.metrics.extraction.tuples import Counts, counts
from harness.metrics.stats.estimates import Estimate, ratios_estimate

ByType: TypeAlias = "Mapping[str, Sequence[int]]"
"""Hits, said and wanted of each type, in one document or in many."""


class Held(NamedTuple):
    """An argument with the type of its event, whose trigger it does not depend on."""

    argument: Argument
    type: str


def events(found: Iterable[Event]) -> list[Event]:
    """Return events by trigger and type alone."""
    return [Event(one.trigger, one.type) for one in found]


def arguments(found: Iterable[Event]) -> list[Held]:
    """Return the arguments of events: right if the type of the event, the role and the name are."""
    return [Held(argument, one.type) for one in found for argument in one.arguments]


def by_type(said: Iterable[Record | Held], wanted: Iterable[Record | Held]) -> dict[str, Counts]:
    """Return the counts of every type that was said or wanted, in the order in which they appear, wanted ones first."""
    ours: dict[str, set[Record | Held]] = {}
    theirs: dict[str, set[Record | Held]] = {}
    for side, records in ((theirs, wanted), (ours, said)):
        for one in records:
            side.setdefault(_type_of(one), set()).add(one)
    return {kind: counts(ours.get(kind, ()), theirs.get(kind, ())) for kind in {**theirs, **ours}}


def total(types: ByType) -> Counts:
    """Return the counts of all types together."""
    return Counts(*(sum(one[place] for one in types.values()) for place in range(3)))


def summed(documents: Iterable[ByType]) -> dict[str, Counts]:
    """Return the counts of each type over all documents."""
    found: dict[str, Counts] = {}
    for document in documents:
        for kind, (hits, said, wanted) in document.items():
            before = found.get(kind, Counts(0, 0, 0))
            found[kind] = Counts(before.hits + hits, before.said + said, before.wanted + wanted)
    return found


def macro_f1(documents: Iterable[ByType]) -> float:
    """Return the mean F1 over the types that are wanted in any document; NaN where none is.

    A type that was only said lowers the micro F1, but is no type of the data.
    """
    scores = [one.f1 for one in summed(documents).values() if one.wanted]
    return math.fsum(scores) / len(scores) if scores else math.nan


def macro_f1_estimate(documents: Sequence[ByType]) -> Estimate:
    """Return `macro_f1` with its interval over documents, the types being what they are; one must be wanted."""
    wanted = [kind for kind, counted in summed(documents).items() if counted.wanted]
    nothing = Counts(0, 0, 0)
    columns = [[Counts(*document.get(kind, nothing)).pair for document in documents] for kind in wanted]
    return ratios_estimate(columns, fraction=True)


def _type_of(record: Record | Held) -> str:
    return record.type if isinstance(record, Held) else type_of(record)
