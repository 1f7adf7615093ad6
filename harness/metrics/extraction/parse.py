r"""Entities, relations and events read out of an answer, in whichever of KnowLM's formats it is.

An answer is read in the format asked for, and where nothing is in that form, in the others. Dictionaries, which no
other format looks like, go first. Any text can be read, in time linear in its length; what is malformed is passed over.

What `extraction_formats.answer` writes is read again without loss as long as no item is empty, "NAN" (which stands for
nothing: such a record or argument is left out) or has white space at its ends, types that are named to `read` are all
there are, and

- `json`: always, but for English events;
- `tuples`, `brackets`, `braces`, `angles`: brackets pair up within each item, round and square ones and those of the
  format; not all items of a record are in quotes, and not all in brackets or commas; types and roles have no commas
  outside of brackets, nor have heads and tails, unless one field alone between the first and the last is of `types`;
- English events: roles have no "#" and no ";", names no "#" behind a ";"; as `tuples` also all that is said of those,
  and types and triggers have no "#";
- `sentences`: no item has a line break, nor one of the format's own words behind a comma or a semicolon;
- `key_value`: no item has a line break, and types and roles have no "："; in heads and tails, brackets pair up and
  commas are within them, and not both are in quotes.

Commas and colons that matter are those written: commas of ASCII, colons of full width.

Not here: kg2instruction's own readers with their faults (`extraction_kg2instruction`), and IEPile's
(`extraction_iepile`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from harness.metrics.extraction.brackets import Group, grouped, of_one_kind
from harness.metrics.extraction.literals import Value, dictionaries
from harness.metrics.extraction.records import BRACKETS, Argument, Entity, Event, Record, Relation
from harness.metrics.extraction.templates import FORMATS, PREFIXES, Format, Kind, Language, known
from harness.metrics.extraction.tuples import NAN, tuples

_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’"}
_PREFIX = re.compile("|".join(rf"\s*{re.escape(prefix.rstrip()[:-1])}[：:]" for prefix in PREFIXES.values()))
_MARKERS: Mapping[Kind, tuple[str, ...]] = {
    "ner": ("实体是", "实体类型是"),
    "re": ("头实体是", "关系是", "尾实体是"),
    "ee": ("事件触发词是", "事件类型是", "事件论元是", "论元角色是"),
}
_SENTENCES = {
    kind: re.compile(rf"(?:^|[,，;；])[ \t　]*({'|'.join(markers)})", re.MULTILINE)
    for kind, markers in _MARKERS.items()
}
_KEYS: Mapping[Kind, tuple[tuple[str, ...], ...]] = {
    "ner": (("entity", "entity_type"), ("Entity", "Type")),
    "re": (("head", "relation", "tail"),),
    "ee": (("event_trigger", "event_type", "arguments"), ("Trigger", "Type", "Arguments")),
}
_INDENT = " \t　"
_LIST = re.compile(r"^(?:[-*•·]+|\d+[.、)])\s*|\*+")
_NEXT_ROLE = re.compile(r"[;；](?=[^;；#]*#)")


class _Asked(NamedTuple):
    """What an answer is read for."""

    kind: Kind
    language: Language
    types: Collection[str] | None
    """The types that were asked for, where they are known."""
    asked: bool
    """The format is the one asked for."""


_Found: TypeAlias = "Iterator[Record | None]"
"""Records in order of appearance, None for each that says there is nothing."""


def read(
    text: str, kind: Kind, language: Language = "zh", format: Format = "tuples", types: Iterable[str] | None = None
) -> list[Record] | None:
    """Return the records in `text` in order of appearance, repeated ones too, or None where it is in no known form.

    `kind`, `language` and `format` say what was asked for, `types` which types. They help where commas are ambiguous
    and where a line could be anything; other types are read as well. The list is empty where the answer is, where it
    says that there is nothing ("NAN", "无", "[]"), and where all its records do. Raises HarnessError on a format that
    KnowLM does not have.
    """
    known(kind, language, format)
    listed = None if types is None else frozenset(types)
    if not any(mark in text for mark in "(（") and tuples(text) == []:
        return []
    prefix = _PREFIX.match(text)
    text = text[prefix.end() if prefix else 0 :]
    for one in _order(kind, format):
        found = list(_READERS[one](text, _Asked(kind, language, listed, one == format), one))
        if found:
            return [record for record in found if record is not None]
    return None


def _order(kind: Kind, format: Format) -> Sequence[Format]:
    every = dict.fromkeys([*FORMATS[kind, "zh"], *FORMATS[kind, "en"]])
    first: list[Format] = ["sentences", "json"] if format == "sentences" else ["json", format]
    # Where a line with a colon is no record for certain, it is the last guess.
    rest = sorted((one for one in every if one not in first), key=lambda one: one == "key_value")
    return [*first, *rest]


def _is_item(text: str) -> bool:
    return text not in ("", NAN)


def _bare(items: Iterable[str]) -> list[str]:
    """Return `items` without white space at their ends, and without quotes where all are in quotes."""
    bare = [item.strip() for item in items]
    quoted = all(len(item) > 1 and _QUOTES.get(item[0]) == item[-1] for item in bare)
    return [item[1:-1].strip() for item in bare] if quoted else bare


def _record(items: Sequence[str]) -> Record | None:
    """Return an entity or a relation; None where an item says there is none."""
    if not all(map(_is_item, items)):
        return None
    return Entity(*items) if len(items) == 2 else Relation(*items)


def _event(trigger: str, kind: str, arguments: Iterable[tuple[str, str]]) -> Record | None:
    if not (_is_item(trigger) and _is_item(kind)):
        return None
    return Event(trigger, kind, tuple(Argument(*one) for one in arguments if all(map(_is_item, one))))


def _in_brackets(text: str, asked: _Asked, format: Format) -> _Found:
    opening = BRACKETS[format][0]
    for group in grouped(text, f"([{opening}").outermost(opening):
        if asked.kind != "ee":
            items = _divided(text, group, asked)
            if items:
                yield _record(_bare(items))
            continue
        readers = (_chinese_event, _english_event)
        for reader in readers if asked.language == "zh" else readers[::-1]:
            if (event := reader(text, group)) is not None:
                yield _event(*event)
                break


def _divided(text: str, group: Group, asked: _Asked) -> list[str] | None:
    """Return the items of a tuple, one of which may have commas; None where it cannot be told which."""
    fields = group.fields(text)
    inside = [text[start:end] for start, end in fields]
    if asked.kind == "ner" and len(fields) > 1:
        return [text[fields[0][0] : fields[-2][1]], inside[-1]]
    if len(fields) == 3:
        return inside
    if len(fields) < 3 or not asked.types:
        return None
    middle = [place for place in range(1, len(fields) - 1) if inside[place].strip() in asked.types]
    if len(middle) != 1:
        return None
    place = middle[0]
    return [text[fields[0][0] : fields[place - 1][1]], inside[place], text[fields[place + 1][0] : fields[-1][1]]]


_Parts: TypeAlias = "tuple[str, str, list[tuple[str, str]]]"


def _chinese_event(text: str, group: Group) -> _Parts | None:
    """Return trigger, type and arguments of (trigger,type,[(name,role),…])."""
    lists = [inner for inner in group.groups if inner.kind == "["]
    before = of_one_kind(text, [place for place in group.separators if lists and place < lists[-1].start])
    if len(before) < 2:
        return None
    trigger, kind = _bare((text[group.start + 1 : before[-2]], text[before[-2] + 1 : before[-1]]))
    arguments = []
    for one in lists[-1].outermost("("):
        fields = one.fields(text)
        name, role = _bare((text[fields[0][0] : fields[-2][1]], text[slice(*fields[-1])]))
        arguments.append((name, role))
    return trigger, kind, arguments


def _english_event(text: str, group: Group) -> _Parts | None:
    """Return trigger, type and arguments of (Type, Trigger, Role1#Name; Role2#Name)."""
    fields = group.fields(text)
    first = next((place for place, field in enumerate(fields) if "#" in text[slice(*field)]), 0)
    if first < 2:
        return None
    kind, trigger = _bare((text[slice(*fields[0])], text[fields[1][0] : fields[first - 1][1]]))
    return trigger, kind, _hashes(text[fields[first][0] : group.end])


def _hashes(text: str) -> list[tuple[str, str]]:
    """Return names and roles of "Role1#Name; Role2#Name"."""
    parts = (part.partition("#") for part in _NEXT_ROLE.split(text))
    return [(name.strip(), role.strip()) for role, mark, name in parts if mark]


def _sentences(text: str, asked: _Asked, _: Format) -> _Found:
    markers = _MARKERS[asked.kind]
    said = list(_said(text, asked.kind))
    if asked.kind != "ee":
        for place in range(len(said) - len(markers) + 1):
            some = said[place : place + len(markers)]
            if tuple(marker for marker, _ in some) == markers:
                yield _record([item for _, item in some])
        return
    starts = [place for place, (marker, _) in enumerate(said) if marker == markers[0]]
    for start, end in pairwise((*starts, len(said))):
        if end > start + 1 and said[start + 1][0] == markers[1]:
            pairs = pairwise(said[start + 2 : end])
            arguments = [(one[1], other[1]) for one, other in pairs if (one[0], other[0]) == markers[2:]]
            yield _event(said[start][1], said[start + 1][1], arguments)


def _said(text: str, kind: Kind) -> Iterator[tuple[str, str]]:
    """Yield each marker with what follows it on its line."""
    for match, following in pairwise([*_SENTENCES[kind].finditer(text), None]):
        if match:
            end = following.start() if following else len(text)
            yield match[1], text[match.end() : end].partition("\n")[0].strip()


def _lines(text: str, asked: _Asked, _format: Format) -> _Found:
    if asked.kind == "ee":
        yield from _event_lines(text, asked)
        return
    for line in text.split("\n"):
        key, value = _key_and_value(line, asked.types)
        if not (key and value):
            continue
        if asked.kind == "re":
            items = _head_and_tail(value)
            if items and _certain(key, asked):
                yield _record([items[0], key, items[1]])
        elif _is_swapped(key, line, asked):
            name, _, last = line.rpartition("：" if "：" in line else ":")
            yield _record([name.strip(), last.strip()])
        elif _certain(key, asked):
            yield _record([value, key])


def _event_lines(text: str, asked: _Asked) -> _Found:
    """Yield events; lines of arguments are indented, or, where no line is, those that begin with no type asked for."""
    lines = [(line[0] in _INDENT, *_key_and_value(line, asked.types)) for line in text.split("\n") if line]
    indents = any(indented for indented, key, value in lines if key and value)
    event: _Parts | None = None
    for indented, key, value in lines:
        if not (key and value):
            continue
        if indented or not (indents or asked.types is None or event is None or key in asked.types):
            if event is not None:
                event[2].append((value, key))
            continue
        if event is not None:
            yield _event(*event)
        event = (value, key, []) if _certain(key, asked) else None
    if event is not None:
        yield _event(*event)


def _key_and_value(line: str, types: Collection[str] | None) -> tuple[str, str]:
    """Return what stands before the first colon and behind it; a type loses the mark of a list, or of emphasis."""
    key, _, value = (part.strip() for part in line.partition("：" if "：" in line else ":"))
    bare = _LIST.sub("", key) if types is not None and key not in types else key
    return (bare if types is not None and bare in types else key), value


def _certain(key: str, asked: _Asked) -> bool:
    """Tell whether a line that begins with `key` is a record: in prose, anything may stand before a colon."""
    return asked.asked or (asked.types is not None and key in asked.types) or key == NAN


def _is_swapped(key: str, line: str, asked: _Asked) -> bool:
    """Tell whether the entity comes first, as one of the published descriptions has it."""
    last = line.rpartition("：" if "：" in line else ":")[2].strip()
    return asked.types is not None and key not in asked.types and last in asked.types


def _head_and_tail(text: str) -> list[str] | None:
    fields = [text[start:end] for start, end in grouped(text, "([").fields(text)]
    if len(fields) != 2:
        fields = text.split(",")
    return _bare(fields) if len(fields) == 2 else None


def _json(text: str, asked: _Asked, _: Format) -> _Found:
    for made in dictionaries(text):
        for keys in _KEYS[asked.kind]:
            if all(key in made for key in keys[:2]):
                yield from _of_dictionary(made, keys, asked.kind)
                break


def _of_dictionary(made: Mapping[str, Value], keys: Sequence[str], kind: Kind) -> _Found:
    items = [made.get(key) for key in keys]
    plain = [item.strip() for item in items if isinstance(item, str)]
    if kind != "ee":
        if len(plain) == len(items):
            yield _record(plain)
        return
    trigger, name, arguments = items
    if isinstance(trigger, str) and isinstance(name, str):
        yield _event(trigger.strip(), name.strip(), _arguments(arguments))


def _arguments(value: Value | None) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return _hashes(value)
    found = []
    for one in value if isinstance(value, list) else ():
        name, role = (one.get("argument"), one.get("role")) if isinstance(one, dict) else (None, None)
        if isinstance(name, str) and isinstance(role, str):
            found.append((name.strip(), role.strip()))
    return found


_READERS: Mapping[Format, Callable[[str, _Asked, Format], _Found]] = {
    "tuples": _in_brackets,
    "brackets": _in_brackets,
    "braces": _in_brackets,
    "angles": _in_brackets,
    "sentences": _sentences,
    "key_value": _lines,
    "json": _json,
}
