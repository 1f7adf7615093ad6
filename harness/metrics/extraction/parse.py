r"""Parses entities, relations and events from an answer in any of KnowLM's formats.

An answer is parsed in the requested format and, if it contains nothing in that form, in the other formats. Dictionaries
come first, because no other format looks like them. Any text can be parsed, in time linear in its length; malformed
parts are skipped.

`parse_records` recovers exactly what `records.format_records` writes under three conditions. No item is empty, is "NAN"
(which means nothing: such a record or argument is dropped), or has surrounding white space. If `types` are passed, they
include every type in the answer. The third condition depends on the format:

- `json`: none, except for English events (below);
- `tuples`, `brackets`, `braces`, `angles`: within each item, brackets are paired (round, square, and the format's own);
  not all items of a record are in quotes, and not all consist of brackets and commas only; types and roles have no
  commas outside of brackets, and neither have heads and tails, unless exactly one field between the first and the last
  is in `types`;
- English events: roles contain no "#" or ";", and names no "#" after a ";"; as `tuples`, also the conditions on tuples,
  and types and triggers contain no "#";
- `sentences`: no item contains a line break, or one of the format's own phrases after a comma or a semicolon;
- `key_value`: no item contains a line break, and types and roles contain no "："; in heads and tails, brackets are
  paired and commas are inside brackets, and head and tail are not both in quotes.

These conditions concern the punctuation that is written: ASCII commas and full-width colons.

Not here: kg2instruction's own readers, with their faults (`kg2instruction`), and IEPile's (`iepile`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from harness.metrics.extraction.brackets import Group, parse_brackets, primary_separators
from harness.metrics.extraction.literals import Value, parse_dictionaries
from harness.metrics.extraction.records import BRACKETS, Argument, Entity, Event, Record, Relation
from harness.metrics.extraction.templates import FORMATS, PREFIXES, Format, Kind, Language, check_format
from harness.metrics.extraction.tuples import NAN, parse_tuples

_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’"}
_PREFIX = re.compile("|".join(rf"\s*{re.escape(prefix.rstrip()[:-1])}[：:]" for prefix in PREFIXES.values()))
_MARKERS: Mapping[Kind, tuple[str, ...]] = {
    "ner": ("实体是", "实体类型是"),
    "re": ("头实体是", "关系是", "尾实体是"),
    "ee": ("事件触发词是", "事件类型是", "事件论元是", "论元角色是"),
}
_MARKER_PATTERNS = {
    kind: re.compile(rf"(?:^|[,，;；])[ \t　]*({'|'.join(markers)})", re.MULTILINE)
    for kind, markers in _MARKERS.items()
}
_KEYS: Mapping[Kind, tuple[tuple[str, ...], ...]] = {
    "ner": (("entity", "entity_type"), ("Entity", "Type")),
    "re": (("head", "relation", "tail"),),
    "ee": (("event_trigger", "event_type", "arguments"), ("Trigger", "Type", "Arguments")),
}
_INDENT = " \t　"
_LIST_MARK = re.compile(r"^(?:[-*•·]+|\d+[.、)])\s*|\*+")
_NEXT_ROLE = re.compile(r"[;；](?=[^;；#]*#)")


class _Context(NamedTuple):
    """What the prompt requested, as far as a parser of one format needs to know it."""

    kind: Kind
    language: Language
    types: Collection[str] | None
    """The requested types, or None if they are not known."""
    is_requested_format: bool
    """Whether the parser's format is the one that the prompt requested."""


_Parsed: TypeAlias = "Iterator[Record | None]"
"""Records in order of appearance, with None for each record that says that there is nothing ("NAN")."""


def parse_records(
    text: str, kind: Kind, language: Language = "zh", format: Format = "tuples", types: Iterable[str] | None = None
) -> list[Record] | None:
    """Return the records in `text` in order, including repeated ones, or None if `text` is in no known form.

    `kind`, `language`, `format` and `types` are those of the prompt. The types serve to read ambiguous commas, and
    lines that could be prose; records of other types are parsed as well. The list is empty if `text` is empty, says
    that there is nothing ("NAN", "无", "[]"), or contains only records that say so. Raises HarnessError if KnowLM does
    not have the format for this kind and language.
    """
    check_format(kind, language, format)
    known_types = None if types is None else frozenset(types)
    if not any(mark in text for mark in "(（") and parse_tuples(text) == []:
        return []
    prefix = _PREFIX.match(text)
    text = text[prefix.end() if prefix else 0 :]
    for candidate in _formats_in_order(kind, format):
        context = _Context(kind, language, known_types, candidate == format)
        parsed = list(_PARSERS[candidate](text, context, candidate))
        if parsed:
            return [record for record in parsed if record is not None]
    return None


def _formats_in_order(kind: Kind, requested: Format) -> Sequence[Format]:
    every_format = dict.fromkeys([*FORMATS[kind, "zh"], *FORMATS[kind, "en"]])
    first: list[Format] = ["sentences", "json"] if requested == "sentences" else ["json", requested]
    # key_value is the last guess: a line with a colon need not be a record.
    rest = sorted((format for format in every_format if format not in first), key=lambda format: format == "key_value")
    return [*first, *rest]


def _is_item(text: str) -> bool:
    return text not in ("", NAN)


def _unquoted(items: Iterable[str]) -> list[str]:
    """Return `items` without surrounding white space, and without quotes if all of them are in quotes."""
    stripped = [item.strip() for item in items]
    are_quoted = all(len(item) > 1 and _QUOTES.get(item[0]) == item[-1] for item in stripped)
    return [item[1:-1].strip() for item in stripped] if are_quoted else stripped


def _record(items: Sequence[str]) -> Record | None:
    """Return an entity of two items or a relation of three, or None if an item is empty or "NAN"."""
    if not all(map(_is_item, items)):
        return None
    return Entity(*items) if len(items) == 2 else Relation(*items)


def _event(trigger: str, event_type: str, arguments: Iterable[tuple[str, str]]) -> Record | None:
    """Return an event without arguments that are empty or "NAN"; None if its trigger or type is empty or "NAN"."""
    if not (_is_item(trigger) and _is_item(event_type)):
        return None
    return Event(
        trigger, event_type, tuple(Argument(*argument) for argument in arguments if all(map(_is_item, argument)))
    )


# --- records in brackets ----------------------------------------------------------------------------------------------


def _parse_brackets(text: str, context: _Context, format: Format) -> _Parsed:
    opening = BRACKETS[format][0]
    for group in parse_brackets(text, f"([{opening}").outermost_tuples(opening):
        if context.kind != "ee":
            items = _divided(text, group, context)
            if items:
                yield _record(_unquoted(items))
            continue
        parsers = (_chinese_event, _english_event)
        for parse_event in parsers if context.language == "zh" else parsers[::-1]:
            if (event := parse_event(text, group)) is not None:
                yield _event(*event)
                break


def _divided(text: str, group: Group, context: _Context) -> list[str] | None:
    """Return the items of a tuple, whose heads and tails may contain commas; None if the division is ambiguous."""
    spans = group.field_spans(text)
    fields = [text[start:end] for start, end in spans]
    if context.kind == "ner" and len(spans) > 1:
        return [text[spans[0][0] : spans[-2][1]], fields[-1]]
    if len(spans) == 3:
        return fields
    if len(spans) < 3 or not context.types:
        return None
    type_fields = [index for index in range(1, len(spans) - 1) if fields[index].strip() in context.types]
    if len(type_fields) != 1:
        return None
    index = type_fields[0]
    return [text[spans[0][0] : spans[index - 1][1]], fields[index], text[spans[index + 1][0] : spans[-1][1]]]


_EventParts: TypeAlias = "tuple[str, str, list[tuple[str, str]]]"
"""An event's trigger, type, and the name and role of each argument."""


def _chinese_event(text: str, group: Group) -> _EventParts | None:
    """Return the parts of an event written (trigger,type,[(name,role),…]), or None if `group` is not of this form."""
    lists = [inner for inner in group.groups if inner.kind == "["]
    before_list = [position for position in group.separators if lists and position < lists[-1].start]
    commas = primary_separators(text, before_list)
    if len(commas) < 2:
        return None
    trigger, event_type = _unquoted((text[group.start + 1 : commas[-2]], text[commas[-2] + 1 : commas[-1]]))
    arguments = []
    for argument in lists[-1].outermost_tuples("("):
        spans = argument.field_spans(text)
        name, role = _unquoted((text[spans[0][0] : spans[-2][1]], text[slice(*spans[-1])]))
        arguments.append((name, role))
    return trigger, event_type, arguments


def _english_event(text: str, group: Group) -> _EventParts | None:
    """Return the parts of an event written (Type, Trigger, Role1#Name; Role2#Name), or None for another form."""
    spans = group.field_spans(text)
    first_role = next((index for index, span in enumerate(spans) if "#" in text[slice(*span)]), 0)
    if first_role < 2:
        return None
    event_type, trigger = _unquoted((text[slice(*spans[0])], text[spans[1][0] : spans[first_role - 1][1]]))
    return trigger, event_type, _role_pairs(text[spans[first_role][0] : group.end])


def _role_pairs(text: str) -> list[tuple[str, str]]:
    """Return the name and role of each argument in "Role1#Name; Role2#Name"."""
    parts = (part.partition("#") for part in _NEXT_ROLE.split(text))
    return [(name.strip(), role.strip()) for role, mark, name in parts if mark]


# --- sentences --------------------------------------------------------------------------------------------------------


def _parse_sentences(text: str, context: _Context, _: Format) -> _Parsed:
    markers = _MARKERS[context.kind]
    marked = list(_marked_items(text, context.kind))
    if context.kind != "ee":
        for start in range(len(marked) - len(markers) + 1):
            window = marked[start : start + len(markers)]
            if tuple(marker for marker, _ in window) == markers:
                yield _record([item for _, item in window])
        return
    starts = [index for index, (marker, _) in enumerate(marked) if marker == markers[0]]
    for start, end in pairwise((*starts, len(marked))):
        if end > start + 1 and marked[start + 1][0] == markers[1]:
            pairs = pairwise(marked[start + 2 : end])
            arguments = [
                (name, role) for (marker, name), (next_marker, role) in pairs if (marker, next_marker) == markers[2:]
            ]
            yield _event(marked[start][1], marked[start + 1][1], arguments)


def _marked_items(text: str, kind: Kind) -> Iterator[tuple[str, str]]:
    """Yield each marker of a sentence, such as 实体是, and the text after it, up to the next marker or line end."""
    for match, following in pairwise([*_MARKER_PATTERNS[kind].finditer(text), None]):
        if match:
            end = following.start() if following else len(text)
            yield match[1], text[match.end() : end].partition("\n")[0].strip()


# --- lines of keys and values -----------------------------------------------------------------------------------------


def _parse_lines(text: str, context: _Context, _format: Format) -> _Parsed:
    if context.kind == "ee":
        yield from _parse_event_lines(text, context)
        return
    for line in text.split("\n"):
        key, value = _key_and_value(line, context.types)
        if not (key and value):
            continue
        if context.kind == "re":
            items = _head_and_tail(value)
            if items and _is_record_key(key, context):
                yield _record([items[0], key, items[1]])
        elif _is_name_first(key, line, context):
            name, _, last = line.rpartition("：" if "：" in line else ":")
            yield _record([name.strip(), last.strip()])
        elif _is_record_key(key, context):
            yield _record([value, key])


def _parse_event_lines(text: str, context: _Context) -> _Parsed:
    """Yield the events in lines. Indented lines are arguments.

    If no line is indented, lines whose key is no requested type are arguments.
    """
    lines = [(line[0] in _INDENT, *_key_and_value(line, context.types)) for line in text.split("\n") if line]
    has_indents = any(is_indented for is_indented, key, value in lines if key and value)
    event: _EventParts | None = None
    for is_indented, key, value in lines:
        if not (key and value):
            continue
        if is_indented or not (has_indents or context.types is None or event is None or key in context.types):
            if event is not None:
                event[2].append((value, key))
            continue
        if event is not None:
            yield _event(*event)
        event = (value, key, []) if _is_record_key(key, context) else None
    if event is not None:
        yield _event(*event)


def _key_and_value(line: str, types: Collection[str] | None) -> tuple[str, str]:
    """Return the text before and after the first colon of `line`, without list marks and emphasis around a type."""
    key, _, value = (part.strip() for part in line.partition("：" if "：" in line else ":"))
    bare_key = _LIST_MARK.sub("", key) if types is not None and key not in types else key
    return (bare_key if types is not None and bare_key in types else key), value


def _is_record_key(key: str, context: _Context) -> bool:
    """Return whether a line with `key` before its colon is a record and not prose, which may also have colons."""
    return context.is_requested_format or (context.types is not None and key in context.types) or key == NAN


def _is_name_first(key: str, line: str, context: _Context) -> bool:
    """Return whether `line` has the entity before its type, as one published description of the format has."""
    last = line.rpartition("：" if "：" in line else ":")[2].strip()
    return context.types is not None and key not in context.types and last in context.types


def _head_and_tail(text: str) -> list[str] | None:
    fields = [text[start:end] for start, end in parse_brackets(text, "([").field_spans(text)]
    if len(fields) != 2:
        fields = text.split(",")
    return _unquoted(fields) if len(fields) == 2 else None


# --- dictionaries -----------------------------------------------------------------------------------------------------


def _parse_json(text: str, context: _Context, _: Format) -> _Parsed:
    for dictionary in parse_dictionaries(text):
        for keys in _KEYS[context.kind]:
            if all(key in dictionary for key in keys[:2]):
                yield from _record_of_dictionary(dictionary, keys, context.kind)
                break


def _record_of_dictionary(dictionary: Mapping[str, Value], keys: Sequence[str], kind: Kind) -> _Parsed:
    """Yield the record that `dictionary` holds under `keys`; nothing if one of its items is not a string."""
    values = [dictionary.get(key) for key in keys]
    items = [value.strip() for value in values if isinstance(value, str)]
    if kind != "ee":
        if len(items) == len(values):
            yield _record(items)
        return
    trigger, event_type, arguments = values
    if isinstance(trigger, str) and isinstance(event_type, str):
        yield _event(trigger.strip(), event_type.strip(), _arguments(arguments))


def _arguments(value: Value | None) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return _role_pairs(value)
    arguments = []
    for element in value if isinstance(value, list) else ():
        name, role = (element.get("argument"), element.get("role")) if isinstance(element, dict) else (None, None)
        if isinstance(name, str) and isinstance(role, str):
            arguments.append((name.strip(), role.strip()))
    return arguments


_PARSERS: Mapping[Format, Callable[[str, _Context, Format], _Parsed]] = {
    "tuples": _parse_brackets,
    "brackets": _parse_brackets,
    "braces": _parse_brackets,
    "angles": _parse_brackets,
    "sentences": _parse_sentences,
    "key_value": _parse_lines,
    "json": _parse_json,
}
