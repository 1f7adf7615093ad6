"""IEPile's parsing and scoring of entities, relations and events (zjunlp/IEPile@11911a7, ie2instruction/eval_func.py).

An answer is JSON and nothing else: an object that maps each requested type to its items. Any other answer is an error
and has no items. Items are matched as multisets: an item predicted twice and expected once has one hit of two
predictions. A document may be split into several prompts, with a few types each; the answers to these are scored
together, against all items expected of the document. Precision and recall are percentages rounded to two decimals; F1
is computed from the rounded values and rounded again.

Upstream's parser of relations knows only "subject" and "object", but the data in its repository have "head" and "tail":
with `is_repaired`, `parse_relations` accepts both. Two inputs crash upstream and are handled here: JSON that Python's
`json` cannot load (endless nesting, integers of 5,000 digits) is an error, and arguments that are not an object are
ignored.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from harness.metrics.extraction.records import Argument, Entity, Event, Relation
from harness.metrics.extraction.templates import Kind
from harness.metrics.extraction.tuples import NAN, Counts


class Score(NamedTuple):
    """Scores of a corpus, in percent, rounded to two decimals."""

    precision: float
    recall: float
    f1: float


def parse_entities(text: str) -> list[Entity] | None:
    """Return the entities (or event triggers) in the JSON text `{type: [name, …], …}`, or None for an error."""
    by_type = _items_by_type(text)
    if by_type is None:
        return None
    return [Entity(name, item_type) for item_type, names in by_type for name in names if isinstance(name, str)]


def parse_relations(text: str, *, is_repaired: bool = False) -> list[Relation] | None:
    """Return the triples in the JSON text `{relation: [{"subject": …, "object": …}, …], …}`, or None for an error.

    A missing subject or object is empty. `is_repaired` also accepts "head" for a missing subject and "tail" for a
    missing object.
    """
    by_type = _items_by_type(text)
    if by_type is None:
        return None
    relations = []
    for relation, pairs in by_type:
        for pair in pairs:
            if isinstance(pair, dict):
                head = pair.get("subject", pair.get("head", "") if is_repaired else "")
                tail = pair.get("object", pair.get("tail", "") if is_repaired else "")
                if isinstance(head, str) and isinstance(tail, str):
                    relations.append(Relation(head, relation, tail))
    return relations


def parse_events(text: str) -> list[Event] | None:
    """Return the events in a JSON answer, or None for an error.

    The form is `{type: [{"trigger": …, "arguments": {role: name or [name, …]}}, …], …}`. Arguments named "NAN" are
    dropped. Names that are not strings are kept as JSON text, because upstream counts them as predicted.
    """
    by_type = _items_by_type(text)
    if by_type is None:
        return None
    events = []
    for event_type, items in by_type:
        for item in items:
            if isinstance(item, dict) and isinstance(trigger := item.get("trigger", ""), str):
                events.append(Event(trigger, event_type, tuple(_arguments(item.get("arguments", {})))))
    return events


def count_matches(predicted: Iterable[Hashable], expected: Iterable[Hashable]) -> Counts:
    """Return the counts of two multisets: each expected item can be hit once."""
    predicted_counts, expected_counts = Counter(predicted), Counter(expected)
    hits = (predicted_counts & expected_counts).total()
    return Counts(hits, predicted_counts.total(), expected_counts.total())


def event_keys(events: Iterable[Event]) -> list[tuple[str, str]]:
    """Return what is compared of each event: its type and trigger."""
    return [(event.type, event.trigger) for event in events]


def argument_keys(events: Iterable[Event]) -> list[tuple[str, str, str]]:
    """Return what is compared of each argument: the type of its event (but not the trigger), its name and its role."""
    return [(event.type, name, role) for event in events for name, role in event.arguments]


def corpus_score(counts: Counts) -> Score:
    """Return precision, recall and F1 in percent; each is 0 if its denominator is 0."""
    precision, recall = (
        round(counts.hits / total * 100, 2) if total else 0.0 for total in (counts.predicted, counts.expected)
    )
    total = precision + recall
    return Score(precision, recall, round(2 * precision * recall / total, 2) if total else 0.0)


def corpus_counts(parts: Iterable[tuple[str, Sequence[Hashable], Sequence[Hashable]]]) -> Counts:
    """Return the counts of a corpus whose documents are split into several prompts.

    A part is (document, predicted items, expected items). Every part of a document lists all items that the document
    expects, so only the first part's list counts.
    """
    predicted: dict[str, list[Hashable]] = {}
    expected: dict[str, Sequence[Hashable]] = {}
    for document, part_predicted, part_expected in parts:
        predicted.setdefault(document, []).extend(part_predicted)
        expected.setdefault(document, part_expected)
    counts = [count_matches(predicted[document], expected[document]) for document in predicted]
    return Counts(*(sum(column) for column in zip(*counts, strict=True))) if counts else Counts(0, 0, 0)


def format_answer(records: Iterable[Any], kind: Kind, schema: Sequence[Any]) -> str:
    """Return the JSON answer that IEPile trains a checkpoint to give for `schema`, as IEPile's converters write it.

    `schema` lists types; for events, each entry is a dictionary with the `event_type` and its roles (`arguments`). In
    the answer, a role without an argument has the value "NAN", and a role with several arguments has a list. An event
    without arguments has no roles.
    """
    listed = list(records)
    items_by_type: dict[str, list[Any]] = {}
    for entry in schema:
        name = entry["event_type"] if isinstance(entry, Mapping) else entry
        items_by_type[name] = [_ITEMS[kind](record, entry) for record in listed if record[1] == name]
    return json.dumps(items_by_type, ensure_ascii=False)


def _items_by_type(text: str) -> list[tuple[str, list[Any]]] | None:
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(loaded, dict):
        return None
    return [(name, items) for name, items in loaded.items() if isinstance(items, list)]


def _arguments(loaded: object) -> Iterator[Argument]:
    if isinstance(loaded, dict):
        for role, value in loaded.items():
            for name in value if isinstance(value, list) else [value]:
                if name != NAN:
                    yield Argument(name if isinstance(name, str) else f"\x00{json.dumps(name)}", role)


def _event_item(event: Event, entry: Mapping[str, Any]) -> dict[str, Any]:
    names_by_role: dict[str, list[str]] = {role: [] for role in entry["arguments"]}
    for name, role in event.arguments:
        names_by_role.setdefault(role, []).append(name)
    roles = {role: names[0] if len(names) == 1 else names or NAN for role, names in names_by_role.items()}
    return {"trigger": event.trigger, "arguments": roles if event.arguments else {}}


_ITEMS: Mapping[Kind, Callable[[Any, Any], Any]] = {
    "ner": lambda entity, _: entity.name,
    "re": lambda relation, _: {"subject": relation.head, "object": relation.tail},
    "ee": _event_item,
}
"""How IEPile's converters write a record, by kind of record."""
