"""A document of an extraction task: what is asked, what was understood of an answer, and what that is worth.

What is understood is text (JSON), so that a report can show it beside what was said: a list of records, null where the
answer could not be read, and where kg2instruction reads otherwise, a dictionary of both readings.

Not here: rows of any data set (`tasks/extraction`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.metrics.extraction import kg2instruction, scores
from harness.metrics.extraction.parse import read
from harness.metrics.extraction.records import Argument, Entity, Event, Record, Relation, answer
from harness.metrics.extraction.templates import Format, Kind, Language, instruction
from harness.metrics.extraction.tuples import Counts, counts

Judged = dict[str, Any]
"""A document's part in each metric: a pair for `aggregate.ratio`, counts by type for `macro_f1`, or 0 and 1."""


class Question(NamedTuple):
    """How a task asks all its documents."""

    kind: Kind
    language: Language
    format: Format
    types: tuple[str, ...]
    roles: tuple[str, ...] = ()
    template: int = 0

    @property
    def is_upstreams(self) -> bool:
        """kg2instruction can read this format, and so has a score for it: not `json` entities, nor KnowLM's own."""
        return self.kind == "ee" or (
            self.format in ("tuples", "sentences", "key_value") or (self.kind == "re" and self.format == "json")
        )


def documents(question: Question, rows: Iterable[tuple[str, Iterable[Record]]]) -> list[dict[str, Any]]:
    """Return a document for each row, a text and what is wanted of it; items lose white space at their ends."""
    known = [(text, [_stripped(one) for one in records]) for text, records in rows]
    counts_upstream = kg2instruction.last_of_equal([text for text, _ in known])
    asked = instruction(
        question.kind,
        question.language,
        question.format,
        question.types,
        roles=question.roles,
        template=question.template,
    )
    return [
        {
            "text": text,
            "instruction": asked,
            "answer": answer(records, question.kind, question.language, question.format),
            "records": _json(records),
            "kind": question.kind,
            "language": question.language,
            "format": question.format,
            "types": list(question.types),
            "counts_upstream": last and question.is_upstreams,
        }
        for (text, records), last in zip(known, counts_upstream, strict=True)
    ]


def understood(said: str, document: Mapping[str, Any]) -> str:
    """Return as text what an answer to `document` says."""
    kind, language = document["kind"], document["language"]
    records = read(said, kind, language, document["format"], document["types"])
    ours = None if records is None else json.loads(_json(records))
    if kind == "ee" or not document["counts_upstream"]:
        return _dumped(ours)
    theirs = [list(one) for one in kg2instruction.READERS[kind](said, language) or []]
    return _dumped(ours if theirs == (ours or []) else {"records": ours, "kg2instruction": theirs})


def judged(document: Mapping[str, Any], understood: str) -> Judged:
    """Return what an answer is worth, of which `understood` is what it says."""
    made = json.loads(understood)
    both = made if isinstance(made, dict) else {"records": made, "kg2instruction": made}
    kind = document["kind"]
    said, wanted = _records(kind, both["records"]), _records(kind, json.loads(document["records"]))
    unparsed = {"unparsed": float(both["records"] is None)}
    if kind == "ee":
        return _judged_events(said, wanted, document) | unparsed
    types = scores.by_type(said, wanted)
    total = scores.total(types)
    found: Judged = {
        "micro_f1": total.pair,
        "precision": (total.hits, total.said),
        "recall": (total.hits, total.wanted),
        "macro_f1": _plain(types),
    }
    if document["counts_upstream"]:
        theirs = kg2instruction.READERS[kind](document["answer"], document["language"]) or []
        found["kg2instruction_f1"] = counts(_records(kind, both["kg2instruction"]), theirs).pair
    return found | unparsed


def _judged_events(said: Sequence[Any], wanted: Sequence[Any], document: Mapping[str, Any]) -> Judged:
    arguments = scores.by_type(scores.arguments(said), scores.arguments(wanted))
    events = scores.by_type(scores.events(said), scores.events(wanted))
    found: Judged = {
        "argument_f1": scores.total(arguments).pair,
        "event_f1": scores.total(events).pair,
        "argument_macro_f1": _plain(arguments),
        "event_macro_f1": _plain(events),
    }
    if document["counts_upstream"]:
        theirs = kg2instruction.events(said, wanted)
        found["kg2instruction_event_f1"] = theirs.events.pair
        found["kg2instruction_argument_f1"] = theirs.arguments.pair
    return found


def _plain(types: Mapping[str, Counts]) -> dict[str, list[int]]:
    return {kind: list(counted) for kind, counted in types.items()}


def _records(kind: Kind, listed: Sequence[Sequence[Any]] | None) -> list[Any]:
    if kind == "ee":
        return [Event(one[0], one[1], tuple(Argument(*each) for each in one[2])) for one in listed or ()]
    made = Entity if kind == "ner" else Relation
    return [made(*one) for one in listed or ()]


def _stripped(record: Record) -> Record:
    if isinstance(record, Event):
        arguments = (Argument(name.strip(), role.strip()) for name, role in record.arguments)
        return Event(record.trigger.strip(), record.type.strip(), tuple(arguments))
    return type(record)(*(item.strip() for item in record))


def _json(records: Iterable[Record]) -> str:
    return _dumped(list(records))


def _dumped(made: Any) -> str:
    return json.dumps(made, ensure_ascii=False)
