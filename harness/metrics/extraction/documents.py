"""Documents of extraction tasks: their prompts and expected answers, parsed answers, and scores.

A parsed answer is JSON text, so that a report can show it beside the answer itself. It is a list of records, or null if
the answer could not be parsed. If kg2instruction's reader returns other records, it is an object with both results.

Not here: the rows of any data set (`tasks/extraction`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.metrics.extraction import kg2instruction, scores
from harness.metrics.extraction.parse import parse_records
from harness.metrics.extraction.records import Argument, Entity, Event, Record, Relation, format_records
from harness.metrics.extraction.templates import Format, Kind, Language, instruction
from harness.metrics.extraction.tuples import Counts, count_matches

Scores = dict[str, Any]
"""A document's contribution to each metric: a pair for `estimates.ratio`, counts by type for `macro_f1`, or 0 or 1."""


class Question(NamedTuple):
    """The question that a task asks about the text of each of its documents."""

    kind: Kind
    language: Language
    format: Format
    types: tuple[str, ...]
    roles: tuple[str, ...] = ()
    template: int = 0

    @property
    def has_upstream_score(self) -> bool:
        """Whether kg2instruction scores this format. It scores every format of events.

        Of entities and relations, it scores neither `json` of entities nor the formats that only KnowLM has.
        """
        return self.kind == "ee" or (
            self.format in ("tuples", "sentences", "key_value") or (self.kind == "re" and self.format == "json")
        )


def build_documents(question: Question, rows: Iterable[tuple[str, Iterable[Record]]]) -> list[dict[str, Any]]:
    """Return a document for each row (a text and its expected records); items lose surrounding white space."""
    stripped = [(text, [_stripped(record) for record in records]) for text, records in rows]
    are_last = kg2instruction.last_occurrences([text for text, _ in stripped])
    prompt = instruction(
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
            "instruction": prompt,
            "answer": format_records(records, question.kind, question.language, question.format),
            "records": _to_json(records),
            "kind": question.kind,
            "language": question.language,
            "format": question.format,
            "types": list(question.types),
            "counts_upstream": is_last and question.has_upstream_score,
        }
        for (text, records), is_last in zip(stripped, are_last, strict=True)
    ]


def parse_answer(answer: str, document: Mapping[str, Any]) -> str:
    """Return the records in an answer to `document` as JSON text (see the module)."""
    kind, language = document["kind"], document["language"]
    parsed = parse_records(answer, kind, language, document["format"], document["types"])
    records = None if parsed is None else json.loads(_to_json(parsed))
    if kind == "ee" or not document["counts_upstream"]:
        return _dumps(records)
    upstream = [list(record) for record in kg2instruction.READERS[kind](answer, language) or []]
    return _dumps(records if upstream == (records or []) else {"records": records, "kg2instruction": upstream})


def score_answer(document: Mapping[str, Any], parsed: str) -> Scores:
    """Return the scores of an answer to `document`. `parsed` is what `parse_answer` returned."""
    result = json.loads(parsed)
    both = result if isinstance(result, dict) else {"records": result, "kg2instruction": result}
    kind = document["kind"]
    predicted, expected = _records(kind, both["records"]), _records(kind, json.loads(document["records"]))
    unparsed = {"unparsed": float(both["records"] is None)}
    if kind == "ee":
        return _event_scores(predicted, expected, document) | unparsed
    by_type = scores.counts_by_type(predicted, expected)
    total = scores.total_counts(by_type)
    values: Scores = {
        "micro_f1": total.f1_pair,
        "precision": (total.hits, total.predicted),
        "recall": (total.hits, total.expected),
        "macro_f1": _plain(by_type),
    }
    if document["counts_upstream"]:
        upstream_expected = kg2instruction.READERS[kind](document["answer"], document["language"]) or []
        upstream_predicted = _records(kind, both["kg2instruction"])
        values["kg2instruction_f1"] = count_matches(upstream_predicted, upstream_expected).f1_pair
    return values | unparsed


def _event_scores(predicted: Sequence[Any], expected: Sequence[Any], document: Mapping[str, Any]) -> Scores:
    arguments = scores.counts_by_type(scores.event_arguments(predicted), scores.event_arguments(expected))
    events = scores.counts_by_type(scores.without_arguments(predicted), scores.without_arguments(expected))
    values: Scores = {
        "argument_f1": scores.total_counts(arguments).f1_pair,
        "event_f1": scores.total_counts(events).f1_pair,
        "argument_macro_f1": _plain(arguments),
        "event_macro_f1": _plain(events),
    }
    if document["counts_upstream"]:
        upstream = kg2instruction.count_events(predicted, expected)
        values["kg2instruction_event_f1"] = upstream.events.f1_pair
        values["kg2instruction_argument_f1"] = upstream.arguments.f1_pair
    return values


def _plain(by_type: Mapping[str, Counts]) -> dict[str, list[int]]:
    return {name: list(counts) for name, counts in by_type.items()}


def _records(kind: Kind, items: Sequence[Sequence[Any]] | None) -> list[Any]:
    """Return the records in `items`, a list loaded from JSON. None (an unparsed answer) counts as an empty list."""
    if kind == "ee":
        return [Event(item[0], item[1], tuple(Argument(*argument) for argument in item[2])) for item in items or ()]
    record_class = Entity if kind == "ner" else Relation
    return [record_class(*item) for item in items or ()]


def _stripped(record: Record) -> Record:
    if isinstance(record, Event):
        arguments = (Argument(name.strip(), role.strip()) for name, role in record.arguments)
        return Event(record.trigger.strip(), record.type.strip(), tuple(arguments))
    return type(record)(*(item.strip() for item in record))


def _to_json(records: Iterable[Record]) -> str:
    return _dumps(list(records))


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
