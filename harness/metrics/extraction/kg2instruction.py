"""kg2instruction's parsing and scoring of entities, relations and events, including its faults.

Readers are those of zjunlp/DeepKE@97a191b, kg2instruction/{ner,re}_template.py in its InstructKGC. Counts are those of
eval/metrics.py @539475a with `match_mode` "set", the default of evaluate_v2.py beside it: precision and recall over all
inputs, with the distinct tuples of each input. (The script of @97a191b used "normal", which is multisets.) Upstream
multiplies F1 by 100.

These faults stay, because they are part of the published definition:

- no Chinese entity is read from `json`: the pattern requires a comma after the last key, and the branch that applies it
  requires the word "tail"; the English reader finds names without types;
- a tuple with a comma inside an item is dropped, and a tuple ends at the first bracket inside it;
- the format of an answer is recognised by words in it: a tuple about 'head', 'relation' and 'tail' is taken for a
  dictionary;
- expected records are read from the expected answer by the same readers, so what these cannot read is never expected;
- inputs are identified by their text: of equal inputs only the last counts (`last_occurrences`);
- nothing is normalised: case and punctuation count (evaluate_v2.py strips quotes from the items of relations, or lowers
  the case of these items).

Not reproduced: upstream's reader of Chinese events, which finds no arguments, exchanges trigger and type, and fails on
sets; `count_events` counts what `parse` reads. Not here: readers without these faults (`parse`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from harness.metrics.extraction.records import Entity, Event, Relation
from harness.metrics.extraction.templates import PREFIXES, Language
from harness.metrics.extraction.tuples import NAN, Counts

_ROUND = re.compile(r"\([^()]*\)?")
_BRACES = re.compile(r"\{[^{}]*\}?")
_CHINESE_NER = [re.compile(rf"'{key}':\s?'([^']*)',") for key in ("entity", "entity_type")]
_ENGLISH_NER = [re.compile(rf"'{key}':\s?'([^']*)',") for key in ("Entity", "Type")]
_RE = [re.compile(rf"'{key}':\s?'([^']*)'{end}") for key, end in (("head", ","), ("relation", ","), ("tail", "}"))]
_IN_DICTIONARIES = ("'", "{", "}", ":")
_IN_TUPLES = ("(", ")", ",")


class EventCounts(NamedTuple):
    """Counts of events and of their arguments."""

    events: Counts
    """The counts of events, which are compared by trigger and type."""
    arguments: Counts
    """The counts of arguments, compared by name and role within events that are both predicted and expected."""


def parse_entities(text: str, language: Language) -> list[Entity] | None:
    """Return the entities that upstream's `ner_post_process_zh` or `_en` reads in `text`, or None if it gives up."""
    if text.strip() == NAN:
        return []
    if language == "en":
        if _has(text, "Entity", "Type", *_IN_DICTIONARIES):
            return _entities(_dictionaries(text, _ENGLISH_NER))
        return _entities(_tuples(text, 2)) if _has(text, *_IN_TUPLES) else None
    if _has(text, "entity", "entity_type", "tail", *_IN_DICTIONARIES):
        return _entities(_dictionaries(text, _CHINESE_NER))
    without_prefix = text.replace(PREFIXES["ner"], "")
    if _has(text, "实体是", "实体类型是"):
        return _entities(_sentences(without_prefix, ("实体是", "实体类型是")))
    if _has(text, *_IN_TUPLES):
        return _entities(_tuples(text, 2))
    if _has(text, "：", "\n"):
        lines = (line.split("：") for line in without_prefix.split("\n"))
        return _entities((parts[1].strip(), parts[0].strip()) for parts in lines if len(parts) == 2)
    return None


def parse_relations(text: str, language: Language) -> list[Relation] | None:
    """Return the triples that upstream's `re_post_process_zh` or `_en` reads in `text`, or None if it gives up."""
    if text.strip() == NAN:
        return []
    if language == "en":
        if _has(text, "head", "relation", "tail", *_IN_DICTIONARIES):
            return [Relation(*items) for items in _dictionaries(text, _RE) if NAN not in items]
        if _has(text, *_IN_TUPLES):
            return [Relation(*items) for items in _tuples(text, 3) if NAN not in items]
        return None
    without_prefix = text.replace(PREFIXES["re"], "")
    triples: Iterator[tuple[str, ...]]
    if _has(text, "head", "relation", "tail", *_IN_DICTIONARIES):
        triples = _dictionaries(without_prefix, _RE)
    elif _has(text, "头实体是", "尾实体是", "关系是"):
        triples = _sentences(without_prefix, ("头实体是", "关系是", "尾实体是"))
    elif _has(text, *_IN_TUPLES):
        triples = _tuples(without_prefix, 3)
    elif _has(text, "：", ",", "\n"):
        triples = map(_key_and_values, without_prefix.split("\n"))
    else:
        return None
    # In Chinese a relation may be "NAN"; in English no item may be.
    return [Relation(*items) for items in triples if all(items) and NAN not in (items[0], items[2])]


def count_events(predicted: Iterable[Event], expected: Iterable[Event]) -> EventCounts:
    """Return the counts of one input as upstream's `EEMetric` computes them.

    Events with equal trigger and type but different arguments are counted separately, and so are all their arguments,
    including repeated ones. But such events have at most one hit together, and the arguments compared are those of the
    last such event, each once. (Upstream's sets have no order, so there the last event varies from run to run.)
    """
    sides = (dict.fromkeys(predicted), dict.fromkeys(expected))
    predicted_arguments, expected_arguments = (
        {(event.trigger, event.type): {*event.arguments} for event in side} for side in sides
    )
    matched = predicted_arguments.keys() & expected_arguments.keys()
    argument_hits = sum(len(predicted_arguments[key] & expected_arguments[key]) for key in matched)
    return EventCounts(
        Counts(len(matched), *map(len, sides)),
        Counts(argument_hits, *(sum(len(event.arguments) for event in side) for side in sides)),
    )


def last_occurrences(inputs: Sequence[str]) -> list[bool]:
    """Return, for each input, whether no later input is equal to it; upstream counts only such inputs."""
    last = {text: index for index, text in enumerate(inputs)}
    return [last[text] == index for index, text in enumerate(inputs)]


def _has(text: str, *words: str) -> bool:
    return all(word in text for word in words)


def _entities(pairs: Iterable[tuple[str, ...]]) -> list[Entity]:
    return [Entity(*items) for items in pairs if NAN not in items]


def _tuples(text: str, size: int) -> Iterator[tuple[str, ...]]:
    for match in _ROUND.finditer(text):
        parts = [part.strip() for part in match[0].split(",")]
        if len(parts) == size:
            yield (parts[0].removeprefix("("), *parts[1:-1], parts[-1].removesuffix(")"))


def _dictionaries(text: str, keys: Sequence[re.Pattern[str]]) -> Iterator[tuple[str, ...]]:
    for match in _BRACES.finditer(text):
        values = (key.search(match[0]) for key in keys)
        yield tuple(value[1].strip() if value else "" for value in values)


def _sentences(text: str, words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for block in text.split("\n\n"):
        lines = block.split("\n")
        if len(lines) == len(words):
            yield tuple(line.strip().replace(word, "") for line, word in zip(lines, words, strict=True))


def _key_and_values(line: str) -> tuple[str, ...]:
    colon, comma = line.find("："), line.find(",")  # upstream slices even where `find` returns -1
    return line[colon + 1 : comma].strip(), line[:colon].strip(), line[comma + 1 :].strip()


READERS: dict[str, Callable[[str, Language], Sequence[Entity | Relation] | None]] = {
    "ner": parse_entities,
    "re": parse_relations,
}
"""The reader of each kind of record."""
