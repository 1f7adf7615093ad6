"""Documents of IEPile's samples, and its scores, which are of all documents together."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.metrics.extraction import iepile
from harness.metrics.extraction.records import Argument, Entity, Event, Record, Relation
from harness.metrics.extraction.templates import Kind

Row = Mapping[str, Any]
Part = tuple[str, list[Any], list[Any]]
"""A document's name, what was said of it in this part, and all that was wanted of it."""


def entities(dataset: Any) -> Any:
    """Questions for entities."""
    return _made(dataset, "ner", lambda one: Entity(one["entity"], one["entity_type"]))


def triggers(dataset: Any) -> Any:
    """Questions for events without arguments: the words that tell of each type."""
    return _made(dataset, "ner", lambda one: Entity(one["event_trigger"], one["event_type"]))


def relations(dataset: Any) -> Any:
    """Questions for relations."""
    return _made(dataset, "re", lambda one: Relation(one["head"], one["relation"], one["tail"]))


def events(dataset: Any) -> Any:
    """Questions for events."""
    return _made(dataset, "ee", _event)


def understood(responses: list[list[str]], docs: list[Row]) -> list[list[str]]:
    """Return as text the records that each response says, null for what is no JSON dictionary."""
    readers = {"ner": iepile.entities, "re": iepile.relations, "ee": iepile.events}
    return [
        [json.dumps(readers[doc["kind"]](text), ensure_ascii=False) for text in texts]
        for texts, doc in zip(responses, docs, strict=True)
    ]


def understood_repaired(responses: list[list[str]], docs: list[Row]) -> list[list[str]]:
    """Return the same, "head" and "tail" being read, too."""
    return [[json.dumps(iepile.relations(text, repaired=True), ensure_ascii=False) for text in r] for r in responses]


def judged(doc: Row, results: list[str]) -> dict[str, Any]:
    """Return a document's part in what IEPile reports."""
    said, wanted = json.loads(results[0]), json.loads(doc["records"])
    found = {"unparsed": float(said is None)}
    if doc["kind"] != "ee":
        part = (doc["document"], said or [], wanted)
        return found | {"iepile_precision": part, "iepile_recall": part, "iepile_f1": part}
    sides = [_events(said or []), _events(wanted)]
    return found | {
        "iepile_event_f1": (doc["document"], *map(iepile.event_keys, sides)),
        "iepile_argument_f1": (doc["document"], *map(iepile.argument_keys, sides)),
    }


def precision(parts: Sequence[Part]) -> float:
    """Return IEPile's precision of a corpus, in percent."""
    return _score(parts).precision


def recall(parts: Sequence[Part]) -> float:
    """Return IEPile's recall of a corpus, in percent."""
    return _score(parts).recall


def f1(parts: Sequence[Part]) -> float:
    """Return IEPile's F1 of a corpus, in percent."""
    return _score(parts).f1


def _score(parts: Sequence[Part]) -> iepile.Score:
    hashable = ((name, [tuple(one) for one in said], [tuple(one) for one in wanted]) for name, said, wanted in parts)
    return iepile.score(iepile.together(hashable))


def _made(dataset: Any, kind: Kind, read: Callable[[Row], Record]) -> Any:
    rows = []
    for row in dataset:
        wanted = [read(one) for one in json.loads(row["label"])]
        schema = json.loads(row["instruction"])["schema"]
        rows.append(
            {
                "document": (row.get("source") or "None") + row["id"],
                "kind": kind,
                "instruction": row["instruction"],
                "answer": iepile.answer(wanted, kind, schema),
                "records": json.dumps(wanted, ensure_ascii=False),
            }
        )
    return dataset.from_list(rows)


def _event(one: Row) -> Event:
    arguments = (Argument(each["argument"], each["role"]) for each in one["arguments"])
    return Event(one["event_trigger"], one["event_type"], tuple(arguments))


def _events(listed: Sequence[Sequence[Any]]) -> list[Event]:
    return [Event(one[0], one[1], tuple(Argument(*each) for each in one[2])) for one in listed]
