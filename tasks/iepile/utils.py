"""Documents of IEPile's samples, and IEPile's scores, which are of all documents together."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.metrics.extraction import iepile
from harness.metrics.extraction.records import Argument, Entity, Event, Record, Relation
from harness.metrics.extraction.templates import Kind

Row = Mapping[str, Any]
Part = tuple[str, list[Any], list[Any]]
"""The name of a document, the items predicted in one of its prompts, and all items expected of the document."""


def entities(dataset: Any) -> Any:
    """Return prompts for entities."""
    return _documents(dataset, "ner", lambda label: Entity(label["entity"], label["entity_type"]))


def triggers(dataset: Any) -> Any:
    """Return prompts for events without arguments: for the trigger words of each event type."""
    return _documents(dataset, "ner", lambda label: Entity(label["event_trigger"], label["event_type"]))


def relations(dataset: Any) -> Any:
    """Return prompts for relations."""
    return _documents(dataset, "re", lambda label: Relation(label["head"], label["relation"], label["tail"]))


def events(dataset: Any) -> Any:
    """Return prompts for events."""
    return _documents(dataset, "ee", _labelled_event)


def understood(responses: list[list[str]], docs: list[Row]) -> list[list[str]]:
    """Return the records in each response as JSON text, null for a response that is not a JSON object."""
    parsers = {"ner": iepile.parse_entities, "re": iepile.parse_relations, "ee": iepile.parse_events}
    return [
        [json.dumps(parsers[doc["kind"]](text), ensure_ascii=False) for text in texts]
        for texts, doc in zip(responses, docs, strict=True)
    ]


def understood_repaired(responses: list[list[str]], docs: list[Row]) -> list[list[str]]:
    """Return the relations in each response as JSON text; "head" and "tail" are accepted too."""
    return [
        [json.dumps(iepile.parse_relations(text, is_repaired=True), ensure_ascii=False) for text in texts]
        for texts in responses
    ]


def judged(doc: Row, results: list[str]) -> dict[str, Any]:
    """Return what a prompt contributes to IEPile's metrics."""
    predicted, expected = json.loads(results[0]), json.loads(doc["records"])
    unparsed = {"unparsed": float(predicted is None)}
    if doc["kind"] != "ee":
        part = (doc["document"], predicted or [], expected)
        return unparsed | {"iepile_precision": part, "iepile_recall": part, "iepile_f1": part}
    sides = [_events(predicted or []), _events(expected)]
    return unparsed | {
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
    hashable = ((name, [*map(tuple, predicted)], [*map(tuple, expected)]) for name, predicted, expected in parts)
    return iepile.corpus_score(iepile.corpus_counts(hashable))


def _documents(dataset: Any, kind: Kind, read_label: Callable[[Row], Record]) -> Any:
    """Return a document for each prompt of a data set; `read_label` returns the record of a label."""
    rows = []
    for row in dataset:
        expected = [read_label(label) for label in json.loads(row["label"])]
        schema = json.loads(row["instruction"])["schema"]
        rows.append(
            {
                "document": (row.get("source") or "None") + row["id"],
                "kind": kind,
                "instruction": row["instruction"],
                "answer": iepile.format_answer(expected, kind, schema),
                "records": json.dumps(expected, ensure_ascii=False),
            }
        )
    return dataset.from_list(rows)


def _labelled_event(label: Row) -> Event:
    arguments = (Argument(argument["argument"], argument["role"]) for argument in label["arguments"])
    return Event(label["event_trigger"], label["event_type"], tuple(arguments))


def _events(items: Sequence[Sequence[Any]]) -> list[Event]:
    return [Event(item[0], item[1], tuple(Argument(*argument) for argument in item[2])) for item in items]
