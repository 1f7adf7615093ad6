"""Entities, relations and events, and the texts that KnowLM writes for them, byte for byte.

As zjunlp/DeepKE@97a191b, kg2instruction/{ner,re,ee}_template.py in its InstructKGC. Two English formats have a
description there or in KnowLM, but no converter: events as `json`, and relations as `brackets`, `braces` or `angles`.
They are written as their descriptions and their neighbours suggest.

`extraction_parsers` reads the same records out of what is written; which ones a format can hold is said there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from harness.metrics.extraction.templates import PREFIXES, Format, Kind, Language, known
from harness.metrics.extraction.tuples import NAN, written


class Entity(NamedTuple):
    """A name in a text, and of which type it is."""

    name: str
    type: str


class Relation(NamedTuple):
    """A triple; `relation` is its type."""

    head: str
    relation: str
    tail: str


class Argument(NamedTuple):
    """What takes part in an event, and in which role."""

    name: str
    role: str


class Event(NamedTuple):
    """The word that tells of an event, its type, and who and what takes part in it."""

    trigger: str
    type: str
    arguments: tuple[Argument, ...] = ()


Record: TypeAlias = Entity | Relation | Event

BRACKETS: Mapping[Format, tuple[str, str]] = {
    "tuples": ("(", ")"),
    "brackets": ("[", "]"),
    "braces": ("{", "}"),
    "angles": ("<", ">"),
}
"""The pair around each record, by format."""


def answer(records: Iterable[Record], kind: Kind, language: Language, format: Format) -> str:
    """Return the text that KnowLM trains a checkpoint to answer: `records`, or "NAN" where there are none.

    An item that is empty or white space is written as "NAN", and an event without arguments has one that is "NAN" in
    the role "NAN". Chinese answers begin with the prefix of their kind. Raises HarnessError on a format that KnowLM
    does not have.
    """
    listed = list(records)
    write = _WRITERS[kind, known(kind, language, format)]
    prefix = PREFIXES[kind] if language == "zh" else ""
    return prefix + (write(listed, language, format) if listed else NAN)


def type_of(record: Record) -> str:
    """Return the type that a record counts for: an entity's, a relation's own, an event's."""
    return record.relation if isinstance(record, Relation) else record.type


def _or_nan(item: str) -> str:
    return item if item.strip() else NAN


def _items(record: Entity | Relation) -> tuple[str, ...]:
    return tuple(_or_nan(item) for item in record)


def _in_brackets(records: Sequence[Entity | Relation], language: Language, format: Format) -> str:
    if language == "zh":
        return written(_items(record) for record in records)
    opening, closing = BRACKETS[format]
    return ",".join(opening + ", ".join(_items(record)) + closing for record in records)


def _entity_sentences(records: Sequence[Entity], *_: object) -> str:
    return "".join(f"实体是{name}\n实体类型是{kind}\n\n" for name, kind in map(_items, records))


def _entity_lines(records: Sequence[Entity], *_: object) -> str:
    return "".join(f"{kind}：{name}\n" for name, kind in map(_items, records))


def _entity_json(records: Sequence[Entity], language: Language, _: Format) -> str:
    keys = ("entity", "entity_type") if language == "zh" else ("Entity", "Type")
    return str([dict(zip(keys, _items(record), strict=True)) for record in records])


def _relation_sentences(records: Sequence[Relation], *_: object) -> str:
    return "".join(f"头实体是{head}\n关系是{name}\n尾实体是{tail}\n\n" for head, name, tail in map(_items, records))


def _relation_lines(records: Sequence[Relation], *_: object) -> str:
    return "".join(f"{name}：{head},{tail}\n" for head, name, tail in map(_items, records))


def _relation_json(records: Sequence[Relation], *_: object) -> str:
    return str([dict(zip(("head", "relation", "tail"), _items(record), strict=True)) for record in records])


def _arguments(event: Event) -> list[Argument]:
    return [Argument(_or_nan(name), _or_nan(role)) for name, role in event.arguments] or [Argument(NAN, NAN)]


def _hashes(event: Event) -> str:
    return "; ".join(f"{role}#{name}" for name, role in _arguments(event))


def _event_tuples(records: Sequence[Event], language: Language, _: Format) -> str:
    found = []
    for event in records:
        trigger, kind = _or_nan(event.trigger), _or_nan(event.type)
        if language == "en":
            found.append(f"({kind}, {trigger}, {_hashes(event)})")
        else:
            found.append(f"({trigger},{kind},[{','.join(f'({name},{role})' for name, role in _arguments(event))}])")
    return ",".join(found)


def _event_sentences(records: Sequence[Event], *_: object) -> str:
    lines = []
    for event in records:
        lines.append(f"事件触发词是{_or_nan(event.trigger)},事件类型是{_or_nan(event.type)}\n")
        lines += [f"\t事件论元是{name},论元角色是{role}\n" for name, role in _arguments(event)]
    return "".join(lines)


def _event_lines(records: Sequence[Event], *_: object) -> str:
    lines = []
    for event in records:
        lines.append(f"{_or_nan(event.type)}：{_or_nan(event.trigger)}\n")
        lines += [f"\t{role}：{name}\n" for name, role in _arguments(event)]
    return "".join(lines)


def _event_json(records: Sequence[Event], language: Language, _: Format) -> str:
    found: list[dict[str, object]] = []
    for event in records:
        trigger, kind = _or_nan(event.trigger), _or_nan(event.type)
        if language == "en":
            found.append({"Type": kind, "Trigger": trigger, "Arguments": _hashes(event)})
            continue
        listed = [{"argument": _or_nan(name), "role": _or_nan(role)} for name, role in event.arguments]
        found.append({"event_trigger": trigger, "event_type": kind, "arguments": listed})
    return str(found)


_WRITERS: Mapping[tuple[Kind, Format], Callable[..., str]] = {
    ("ner", "tuples"): _in_brackets,
    ("ner", "sentences"): _entity_sentences,
    ("ner", "key_value"): _entity_lines,
    ("ner", "json"): _entity_json,
    ("re", "tuples"): _in_brackets,
    ("re", "brackets"): _in_brackets,
    ("re", "braces"): _in_brackets,
    ("re", "angles"): _in_brackets,
    ("re", "sentences"): _relation_sentences,
    ("re", "key_value"): _relation_lines,
    ("re", "json"): _relation_json,
    ("ee", "tuples"): _event_tuples,
    ("ee", "sentences"): _event_sentences,
    ("ee", "key_value"): _event_lines,
    ("ee", "json"): _event_json,
}
