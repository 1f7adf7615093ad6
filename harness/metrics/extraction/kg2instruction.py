"""Entities, relations and events as kg2instruction reads and counts them, its faults included.

Readers are those of zjunlp/DeepKE@97a191b, kg2instruction/{ner,re}_template.py in its InstructKGC, counts those of
eval/metrics.py there @539475a with `match_mode` "set", which evaluate_v2.py beside it takes if nothing is said: over
all inputs, the share of tuples said that were wanted, and of those wanted that were said, of distinct ones in each
input. (The script of @97a191b took "normal", multisets.) Upstream multiplies F1 by 100.

Faults that stay, because they are the published definition:

- no Chinese NER answer is read as `json`: its expression wants a comma behind the last key, and the way to it the word
  "tail"; the English one finds names and no types;
- a tuple with another comma than those between its items is dropped, and one ends at the first bracket within it;
- which format an answer is in is told by words in it: a tuple about 'head', 'relation' and 'tail' is taken for a
  dictionary;
- what was wanted is read by the same readers out of the text that was wanted, so what they cannot read is never wanted;
- inputs are told apart by their text: of equal ones the last alone counts (`last_of_equal`);
- nothing is normalised: case and punctuation count (evaluate_v2.py takes quotes off relations' items, or lowers them).

Not reproduced: the reader of Chinese events there, which finds no argument, exchanges trigger and type, and stops at
sets; `events` counts what `extraction_parsers` reads. The repaired readers are `extraction_parsers`; the repaired count
of events, in which equal events are one, is `repaired_events`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from harness.metrics.extraction.records import Argument, Entity, Event, Relation
from harness.metrics.extraction.templates import PREFIXES, Language
from harness.metrics.extraction.tuples import NAN, Counts, counts

_ROUND = re.compile(r"\([^()]*\)?")
_BRACES = re.compile(r"\{[^{}]*\}?")
_CHINESE_NER = [re.compile(rf"'{key}':\s?'([^']*)',") for key in ("entity", "entity_type")]
_ENGLISH_NER = [re.compile(rf"'{key}':\s?'([^']*)',") for key in ("Entity", "Type")]
_RE = [re.compile(rf"'{key}':\s?'([^']*)'{end}") for key, end in (("head", ","), ("relation", ","), ("tail", "}"))]
_IN_DICTIONARIES = ("'", "{", "}", ":")
_IN_TUPLES = ("(", ")", ",")


class EventCounts(NamedTuple):
    """Events by trigger and type, and arguments by name and role within events that were wanted and said."""

    events: Counts
    arguments: Counts


def entities(text: str, language: Language) -> list[Entity] | None:
    """Return the entities that `ner_post_process_zh` or `_en` reads, or None where it gives up."""
    if text.strip() == NAN:
        return []
    if language == "en":
        if _has(text, "Entity", "Type", *_IN_DICTIONARIES):
            return _entities(_dictionaries(text, _ENGLISH_NER))
        return _entities(_tuples(text, 2)) if _has(text, *_IN_TUPLES) else None
    if _has(text, "entity", "entity_type", "tail", *_IN_DICTIONARIES):
        return _entities(_dictionaries(text, _CHINESE_NER))
    bare = text.replace(PREFIXES["ner"], "")
    if _has(text, "实体是", "实体类型是"):
        return _entities(_sentences(bare, ("实体是", "实体类型是")))
    if _has(text, *_IN_TUPLES):
        return _entities(_tuples(text, 2))
    if _has(text, "：", "\n"):
        lines = (line.split("：") for line in bare.split("\n"))
        return _entities((parts[1].strip(), parts[0].strip()) for parts in lines if len(parts) == 2)
    return None


def relations(text: str, language: Language) -> list[Relation] | None:
    """Return the triples that `re_post_process_zh` or `_en` reads, or None where it gives up."""
    if text.strip() == NAN:
        return []
    if language == "en":
        if _has(text, "head", "relation", "tail", *_IN_DICTIONARIES):
            return [Relation(*items) for items in _dictionaries(text, _RE) if NAN not in items]
        if _has(text, *_IN_TUPLES):
            return [Relation(*items) for items in _tuples(text, 3) if NAN not in items]
        return None
    bare = text.replace(PREFIXES["re"], "")
    found: Iterator[tuple[str, ...]]
    if _has(text, "head", "relation", "tail", *_IN_DICTIONARIES):
        found = _dictionaries(bare, _RE)
    elif _has(text, "头实体是", "尾实体是", "关系是"):
        found = _sentences(bare, ("头实体是", "关系是", "尾实体是"))
    elif _has(text, *_IN_TUPLES):
        found = _tuples(bare, 3)
    elif _has(text, "：", ",", "\n"):
        found = map(_key_and_values, bare.split("\n"))
    else:
        return None
    # A relation may be "NAN" in Chinese, and no item may be in English.
    return [Relation(*items) for items in found if all(items) and NAN not in (items[0], items[2])]


def events(said: Iterable[Event], wanted: Iterable[Event]) -> EventCounts:
    """Return the counts of one input as `EEMetric` has them.

    Of events with equal trigger and type, those with other arguments count as events of their own where they are said
    or wanted, and all their arguments do, repeated ones too; but only one can hit, with the arguments of the last, each
    once. (Upstream's sets have no order, so that which is the last there differs from run to run.)
    """
    ours, theirs = dict.fromkeys(said), dict.fromkeys(wanted)
    said_in, wanted_in = ({(one.trigger, one.type): {*one.arguments} for one in side} for side in (ours, theirs))
    matched = said_in.keys() & wanted_in.keys()
    hits = sum(len(said_in[key] & wanted_in[key]) for key in matched)
    return EventCounts(
        Counts(len(matched), len(ours), len(theirs)),
        Counts(hits, *(sum(len(one.arguments) for one in side) for side in (ours, theirs))),
    )


def repaired_events(said: Iterable[Event], wanted: Iterable[Event]) -> EventCounts:
    """Return the counts of one input, events of equal trigger and type being one that has all their arguments."""
    ours, theirs = list(said), list(wanted)
    keys = [[(one.trigger, one.type) for one in side] for side in (ours, theirs)]
    return EventCounts(counts(*keys), counts(*map(_held, (ours, theirs))))


def last_of_equal(inputs: Sequence[str]) -> list[bool]:
    """Tell of each input whether it counts: no later one is equal."""
    places = {text: place for place, text in enumerate(inputs)}
    return [places[text] == place for place, text in enumerate(inputs)]


def _held(side: Iterable[Event]) -> Iterator[tuple[str, str, Argument]]:
    return ((one.trigger, one.type, argument) for one in side for argument in one.arguments)


def _has(text: str, *words: str) -> bool:
    return all(word in text for word in words)


def _entities(found: Iterable[tuple[str, ...]]) -> list[Entity]:
    return [Entity(*items) for items in found if NAN not in items]


def _tuples(text: str, size: int) -> Iterator[tuple[str, ...]]:
    for match in _ROUND.finditer(text):
        parts = [part.strip() for part in match[0].split(",")]
        if len(parts) == size:
            yield (parts[0].removeprefix("("), *parts[1:-1], parts[-1].removesuffix(")"))


def _dictionaries(text: str, keys: Sequence[re.Pattern[str]]) -> Iterator[tuple[str, ...]]:
    for match in _BRACES.finditer(text):
        found = (key.search(match[0]) for key in keys)
        yield tuple(one[1].strip() if one else "" for one in found)


def _sentences(text: str, words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for block in text.split("\n\n"):
        lines = block.split("\n")
        if len(lines) == len(words):
            yield tuple(line.strip().replace(word, "") for line, word in zip(lines, words, strict=True))


def _key_and_values(line: str) -> tuple[str, ...]:
    colon, comma = line.find("："), line.find(",")  # -1 where there is none, and upstream cuts there all the same
    return line[colon + 1 : comma].strip(), line[:colon].strip(), line[comma + 1 :].strip()


READERS: dict[str, Callable[[str, Language], Sequence[Entity | Relation] | None]] = {
    "ner": entities,
    "re": relations,
}
"""Readers by kind."""
