"""Documents of the extraction tasks out of their data sets' rows, answers read, and what they are worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.metrics.extraction import bio_tags as tags
from harness.metrics.extraction import documents
from harness.metrics.extraction.documents import Question
from harness.metrics.extraction.records import Argument, Entity, Event, Record, Relation
from harness.metrics.extraction.schemas import CLUENER, CONLL2003, DUEE, DUIE, NEWS, TAGS
from harness.metrics.extraction.scores import macro_f1
from harness.metrics.extraction.templates import Format
from harness.metrics.stats.estimates import ratio

__all__ = ["judged", "macro_f1", "ratio", "understood"]

Row = Mapping[str, Any]


def understood(responses: list[list[str]], docs: list[Row]) -> list[list[str]]:
    """Return what each response says, as text."""
    return [[documents.understood(text, doc) for text in texts] for texts, doc in zip(responses, docs, strict=True)]


def judged(doc: Row, results: list[str]) -> dict[str, Any]:
    """Return what an answer is worth."""
    return documents.judged(doc, results[0])


def cluener(dataset: Any, format: Format = "tuples") -> Any:
    """CLUENER2020, types by their Chinese names."""
    return _made(dataset, Question("ner", "zh", format, tuple(CLUENER.values())), _cluener)


def cluener_sentences(dataset: Any) -> Any:
    """The same, answered in sentences."""
    return cluener(dataset, "sentences")


def cluener_key_value(dataset: Any) -> Any:
    """The same, answered line by line."""
    return cluener(dataset, "key_value")


def cluener_json(dataset: Any) -> Any:
    """The same, answered as dictionaries."""
    return cluener(dataset, "json")


def news(dataset: Any) -> Any:
    """People's Daily and MSRA, whose words are characters."""
    return _made(dataset, Question("ner", "zh", "tuples", tuple(NEWS.values())), lambda row: _tagged(row, NEWS, ""))


def conll2003(dataset: Any, format: Format = "tuples") -> Any:
    """CoNLL-2003, words with spaces between them."""
    types = tuple(CONLL2003.values())
    return _made(dataset, Question("ner", "en", format, types), lambda row: _tagged(row, CONLL2003, " "))


def conll2003_json(dataset: Any) -> Any:
    """The same, answered as dictionaries."""
    return conll2003(dataset, "json")


def duie(dataset: Any, format: Format = "tuples") -> Any:
    """DuIE 2.0; of an object that has several parts, the one that is called @value."""
    return _made(dataset, Question("re", "zh", format, DUIE), _triples)


def duie_json(dataset: Any) -> Any:
    """The same, answered as dictionaries."""
    return duie(dataset, "json")


def duee(dataset: Any, format: Format = "tuples") -> Any:
    """DuEE 1.0."""
    roles = tuple(dict.fromkeys(role for roles in DUEE.values() for role in roles))
    return _made(dataset, Question("ee", "zh", format, tuple(DUEE), roles), _happenings)


def duee_json(dataset: Any) -> Any:
    """The same, answered as dictionaries."""
    return duee(dataset, "json")


def _made(dataset: Any, question: Question, read: Callable[[Row], tuple[str, Iterable[Record]]]) -> Any:
    return dataset.from_list(documents.documents(question, map(read, dataset)))


def _cluener(row: Row) -> tuple[str, list[Record]]:
    return row["text"], [Entity(one["text"], CLUENER[one["type"]]) for one in row["entities"]]


def _tagged(row: Row, names: Mapping[str, str], between: str) -> tuple[str, list[Entity]]:
    words = row["tokens"]
    return between.join(words), tags.entities(words, [TAGS[tag] for tag in row["ner_tags"]], names, between=between)


def _triples(row: Row) -> tuple[str, list[Record]]:
    return row["text"], [
        Relation(one["subject"], one["predicate"], part["value"])
        for one in row["spo_list"]
        for part in one["object"]
        if part["role"] == "@value"
    ]


def _happenings(row: Row) -> tuple[str, list[Record]]:
    return row["text"], [
        Event(one["trigger"], one["event_type"], tuple(Argument(a["argument"], a["role"]) for a in one["arguments"]))
        for one in row["event_list"]
    ]
