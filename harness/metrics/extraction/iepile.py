"""Entities, relations and events as IEPile reads and counts them (zjunlp/IEPile@11911a7, ie2instruction/eval_func.py).

An answer is JSON and nothing else: a dictionary from each type asked for to what is of it. Whatever is not, is an
error and says nothing. Matches are of multisets: a tuple said twice and wanted once is one hit of two. A document may
be asked about in parts, some types each; the answers are put together, and what was wanted is all of it. Precision and
recall are percentages rounded to two decimals, and F1 is computed from the rounded ones and rounded again.

Upstream's reader of relations knows "subject" and "object", the data that its repository ships have "head" and "tail":
`repaired` reads both. Two things stop upstream and are errors here: what Python's `json` cannot hold (nesting without
end, integers of 5,000 digits), and arguments that are no dictionary, which are passed over.
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
    """Percentages, rounded to two decimals."""

    precision: float
    recall: float
    f1: float


def entities(text: str) -> list[Entity] | None:
    """Return the entities, or the triggers of events, of `{type: [name, …], …}`; None is an error."""
    found = _by_type(text)
    if found is None:
        return None
    return [Entity(name, kind) for kind, names in found for name in names if isinstance(name, str)]


def relations(text: str, *, repaired: bool = False) -> list[Relation] | None:
    """Return the triples of `{relation: [{"subject": …, "object": …}, …], …}`; None is an error.

    What is missing is empty. `repaired` also reads "head" for a missing subject and "tail" for a missing object.
    """
    found = _by_type(text)
    if found is None:
        return None
    made = []
    for relation, pairs in found:
        for pair in pairs:
            if isinstance(pair, dict):
                head = pair.get("subject", pair.get("head", "") if repaired else "")
                tail = pair.get("object", pair.get("tail", "") if repaired else "")
                if isinstance(head, str) and isinstance(tail, str):
                    made.append(Relation(head, relation, tail))
    return made


def events(text: str) -> list[Event] | None:
    """Return the events of `{type: [{"trigger": …, "arguments": {role: name or [name, …]}}, …], …}`; None is an error.

    Names that are "NAN" are left out; those that are no strings are kept as JSON, since upstream counts them as said.
    """
    found = _by_type(text)
    if found is None:
        return None
    made = []
    for kind, listed in found:
        for one in listed:
            if isinstance(one, dict) and isinstance(trigger := one.get("trigger", ""), str):
                made.append(Event(trigger, kind, tuple(_arguments(one.get("arguments", {})))))
    return made


def event_arguments(text: str) -> list[Event] | None:
    """Return the events of `{type: [{role: name or [name, …]}, …], …}`, which have no triggers; None is an error."""
    found = _by_type(text)
    if found is None:
        return None
    return [
        Event("", kind, tuple(_arguments(one))) for kind, listed in found for one in listed if isinstance(one, dict)
    ]


def counts(said: Iterable[Hashable], wanted: Iterable[Hashable]) -> Counts:
    """Return the counts of two multisets: each wanted one can be hit once."""
    ours, theirs = Counter(said), Counter(wanted)
    return Counts((ours & theirs).total(), ours.total(), theirs.total())


def event_keys(found: Iterable[Event]) -> list[tuple[str, str]]:
    """Return what an event counts by: type and trigger."""
    return [(one.type, one.trigger) for one in found]


def argument_keys(found: Iterable[Event]) -> list[tuple[str, str, str]]:
    """Return what an argument counts by: the event's type, but not its trigger, the name and the role."""
    return [(one.type, name, role) for one in found for name, role in one.arguments]


def score(total: Counts) -> Score:
    """Return the percentages of a corpus; 0 where nothing was said, or nothing wanted."""
    precision, recall = (round(total.hits / below * 100, 2) if below else 0.0 for below in (total.said, total.wanted))
    both = precision + recall
    return Score(precision, recall, round(2 * precision * recall / both, 2) if both else 0.0)


def together(parts: Iterable[tuple[str, Sequence[Hashable], Sequence[Hashable]]]) -> Counts:
    """Return the counts of a corpus whose documents were asked about in parts.

    A part is (document, what was said, what was wanted). Every part of a document says all that was wanted, so the
    first one's counts.
    """
    said: dict[str, list[Hashable]] = {}
    wanted: dict[str, Sequence[Hashable]] = {}
    for document, ours, theirs in parts:
        said.setdefault(document, []).extend(ours)
        wanted.setdefault(document, theirs)
    found = [counts(said[document], wanted[document]) for document in said]
    return Counts(*(sum(column) for column in zip(*found, strict=True))) if found else Counts(0, 0, 0)


def answer(records: Iterable[Any], kind: Kind, schema: Sequence[Any]) -> str:
    """Return the JSON that IEPile trains a checkpoint to answer when asked for `schema`, as its converters write it.

    `schema` lists types; for events, each is a dictionary with the `event_type` and the roles of its `arguments`. A
    role that nobody has is "NAN", one that several have is a list; an event without arguments has no roles.
    """
    listed = list(records)
    made: dict[str, list[Any]] = {}
    for asked in schema:
        name = asked["event_type"] if isinstance(asked, Mapping) else asked
        made[name] = [_ANSWERS[kind](one, asked) for one in listed if one[1] == name]
    return json.dumps(made, ensure_ascii=False)


def _by_type(text: str) -> list[tuple[str, list[Any]]] | None:
    try:
        made = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(made, dict):
        return None
    return [(kind, listed) for kind, listed in made.items() if isinstance(listed, list)]


def _arguments(made: Any) -> Iterator[Argument]:
    if isinstance(made, dict):
        for role, value in made.items():
            for name in value if isinstance(value, list) else [value]:
                if name != NAN:
                    yield Argument(name if isinstance(name, str) else f"\x00{json.dumps(name)}", role)


def _roles(event: Event, asked: Mapping[str, Any]) -> dict[str, Any]:
    held: dict[str, list[str]] = {role: [] for role in asked["arguments"]}
    for name, role in event.arguments:
        held.setdefault(role, []).append(name)
    roles = {role: names[0] if len(names) == 1 else names or NAN for role, names in held.items()}
    return {"trigger": event.trigger, "arguments": roles if event.arguments else {}}


_ANSWERS: Mapping[Kind, Callable[[Any, Any], Any]] = {
    "ner": lambda entity, _: entity.name,
    "re": lambda relation, _: {"subject": relation.head, "object": relation.tail},
    "ee": _roles,
}
