"""Entities, relations and events, and the answers that KnowLM writes for them, byte for byte.

Follows zjunlp/DeepKE@97a191b, kg2instruction/{ner,re,ee}_template.py in its InstructKGC. Some English formats have a
description there or in KnowLM but no converter: `json` for events, and `brackets`, `braces` and `angles` for relations.
Answers in them are written as the descriptions and the neighbouring formats suggest.

`parse` reads these answers and says which records each format preserves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from harness.metrics.extraction.templates import PREFIXES, Format, Kind, Language, check_format
from harness.metrics.extraction.tuples import NAN, format_tuples


class Entity(NamedTuple):
    """A name in a text and its type."""

    name: str
    type: str


class Relation(NamedTuple):
    """A triple of head, relation and tail; `relation` is the type of the triple."""

    head: str
    relation: str
    tail: str


class Argument(NamedTuple):
    """A participant of an event and its role."""

    name: str
    role: str


class Event(NamedTuple):
    """The word that expresses an event (its trigger), its type and its arguments."""

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
"""The opening and closing bracket around each record, by format."""


def format_records(records: Iterable[Record], kind: Kind, language: Language, format: Format) -> str:
    """Return the answer that KnowLM trains a checkpoint to give: `records` in `format`, or "NAN" if there are none.

    An empty item, or an item of white space, is written as "NAN"; an event without arguments gets an argument "NAN" in
    the role "NAN". Chinese answers begin with the prefix of their kind. Raises HarnessError if KnowLM does not have the
    format for this kind and language.
    """
    listed = list(records)
    write = _WRITERS[kind, check_format(kind, language, format)]
    prefix = PREFIXES[kind] if language == "zh" else ""
    return prefix + (write(listed, language, format) if listed else NAN)


def type_of(record: Record) -> str:
    """Return the type of a record: a relation's name, or the type of an entity or an event."""
    return record.relation if isinstance(record, Relation) else record.type


def _or_nan(item: str) -> str:
    return item if item.strip() else NAN


def _items(record: Entity | Relation) -> tuple[str, ...]:
    return tuple(_or_nan(item) for item in record)


def _in_brackets(records: Sequence[Entity | Relation], language: Language, format: Format) -> str:
    if language == "zh":
        return format_tuples(_items(record) for record in records)
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


def _role_pairs(event: Event) -> str:
    """Return the arguments of an event as "Role1#Name; Role2#Name"."""
    return "; ".join(f"{role}#{name}" for name, role in _arguments(event))


def _event_tuples(records: Sequence[Event], language: Language, _: Format) -> str:
    tuples = []
    for event in records:
        trigger, kind = _or_nan(event.trigger), _or_nan(event.type)
        if language == "en":
            tuples.append(f"({kind}, {trigger}, {_role_pairs(event)})")
        else:
            tuples.append(f"({trigger},{kind},[{','.join(f'({name},{role})' for name, role in _arguments(event))}])")
    return ",".join(tuples)


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
    dictionaries: list[dict[str, object]] = []
    for event in records:
        trigger, kind = _or_nan(event.trigger), _or_nan(event.type)
        if language == "en":
            dictionaries.append({"Type": kind, "Trigger": trigger, "Arguments": _role_pairs(event)})
            continue
        arguments = [{"argument": _or_nan(name), "role": _or_nan(role)} for name, role in event.arguments]
        dictionaries.append({"event_trigger": trigger, "event_type": kind, "arguments": arguments})
    return str(dictionaries)


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
