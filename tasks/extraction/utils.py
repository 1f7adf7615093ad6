"""Documents of the extraction tasks, made from the rows of their data sets, and the parsing and scoring of answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.metrics.extraction import bio_tags, documents
from harness.metrics.extraction.documents import Question
from harness.metrics.extraction.records import Argument, Entity, Event, Record, Relation
from harness.metrics.extraction.schemas import CLUENER, CONLL2003, DUEE, DUIE, NEWS, TAGS
from harness.metrics.extraction.scores import macro_f1
from harness.metrics.extraction.templates import Format
from harness.metrics.stats.estimates import ratio

__all__ = ["judged", "macro_f1", "ratio", "understood"]

Row = Mapping[str, Any]


def understood(responses: list[list[str]], docs: list[Row]) -> list[list[str]]:
    """Return the records in each response, as JSON text."""
    return [[documents.parse_answer(text, doc) for text in texts] for texts, doc in zip(responses, docs, strict=True)]


def judged(doc: Row, results: list[str]) -> dict[str, Any]:
    """Return the scores of an answer."""
    return documents.score_answer(doc, results[0])


def cluener(dataset: Any, format: Format = "tuples") -> Any:
    """Return documents of CLUENER2020, with the Chinese names of types."""
    return _documents(dataset, Question("ner", "zh", format, tuple(CLUENER.values())), _cluener_entities)


def cluener_sentences(dataset: Any) -> Any:
    """Return `cluener` documents to be answered in sentences."""
    return cluener(dataset, "sentences")


def cluener_key_value(dataset: Any) -> Any:
    """Return `cluener` documents to be answered in lines of type and name."""
    return cluener(dataset, "key_value")


def cluener_json(dataset: Any) -> Any:
    """Return `cluener` documents to be answered in dictionaries."""
    return cluener(dataset, "json")


def news(dataset: Any) -> Any:
    """Return documents of People's Daily or MSRA, whose words are single characters."""
    question = Question("ner", "zh", "tuples", tuple(NEWS.values()))
    return _documents(dataset, question, lambda row: _tagged_entities(row, NEWS, ""))


def conll2003(dataset: Any, format: Format = "tuples") -> Any:
    """Return documents of CoNLL-2003, with spaces between words."""
    question = Question("ner", "en", format, tuple(CONLL2003.values()))
    return _documents(dataset, question, lambda row: _tagged_entities(row, CONLL2003, " "))


def conll2003_json(dataset: Any) -> Any:
    """Return `conll2003` documents to be answered in dictionaries."""
    return conll2003(dataset, "json")


def duie(dataset: Any, format: Format = "tuples") -> Any:
    """Return documents of DuIE 2.0; of an object with several parts, only the one named @value is expected."""
    return _documents(dataset, Question("re", "zh", format, DUIE), _relations)


def duie_json(dataset: Any) -> Any:
    """Return `duie` documents to be answered in dictionaries."""
    return duie(dataset, "json")


def duee(dataset: Any, format: Format = "tuples") -> Any:
    """Return documents of DuEE 1.0."""
    roles = tuple(dict.fromkeys(role for roles in DUEE.values() for role in roles))
    return _documents(dataset, Question("ee", "zh", format, tuple(DUEE), roles), _events)


def duee_json(dataset: Any) -> Any:
    """Return `duee` documents to be answered in dictionaries."""
    return duee(dataset, "json")


def _documents(dataset: Any, question: Question, read_row: Callable[[Row], tuple[str, Iterable[Record]]]) -> Any:
    """Return the documents of a data set; `read_row` returns the text and the records of a row."""
    return dataset.from_list(documents.build_documents(question, map(read_row, dataset)))


def _cluener_entities(row: Row) -> tuple[str, list[Record]]:
    return row["text"], [Entity(entity["text"], CLUENER[entity["type"]]) for entity in row["entities"]]


def _tagged_entities(row: Row, type_names: Mapping[str, str], separator: str) -> tuple[str, list[Entity]]:
    words, tags = row["tokens"], [TAGS[tag] for tag in row["ner_tags"]]
    return separator.join(words), bio_tags.entities(words, tags, type_names, separator=separator)


def _relations(row: Row) -> tuple[str, list[Record]]:
    return row["text"], [
        Relation(triple["subject"], triple["predicate"], part["value"])
        for triple in row["spo_list"]
        for part in triple["object"]
        if part["role"] == "@value"
    ]


def _events(row: Row) -> tuple[str, list[Record]]:
    return row["text"], [
        Event(
            event["trigger"], event["event_type"], tuple(Argument(a["argument"], a["role"]) for a in event["arguments"])
        )
        for event in row["event_list"]
    ]
