"""Documents and scores of the demo's tasks."""

from __future__ import annotations

from typing import Any

from harness.demo import corpora
from harness.demo.families import Family
from harness.metrics.answers.numbers import last_number
from harness.metrics.extraction.tuples import count_matches, parse_tuples
from harness.metrics.law.strict_citations import citation_counts, citations
from harness.metrics.stats.estimates import ratio
from harness.metrics.text.overlap import METRICS, coverage

__all__ = ["copy", "documents", "entities", "law", "numbers", "ratio", "relations"]


def documents(family: Family, **_: Any) -> dict[str, Any]:
    """Return the data set of a family: its test documents."""
    from datasets import Dataset

    return {"test": Dataset.from_list(corpora.documents(family))}


def numbers(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Return whether the answer ends with the number that the solution does."""
    return {"exact_match": float(last_number(results[0]) == last_number(doc["answer"]))}


def copy(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Return how near the copy is to the reference, and how many of the attributes it mentions."""
    values = [attribute.partition("#")[2] for attribute in doc["content"].split("*")]
    likeness = {name: METRICS[name](results[0], doc["summary"]) for name in ("rougeL_jieba", "bleu4_characters")}
    return {**likeness, "coverage": coverage(results[0], values)}


def law(doc: dict[str, Any], results: list[str]) -> dict[str, tuple[float, float]]:
    """Return how many of the articles that the answer cites are right."""
    return {"citation_f1": citation_counts(results[0], citations(doc["answer"])).f1_pair}


def entities(doc: dict[str, Any], results: list[str]) -> dict[str, tuple[float, float]]:
    """Return how many of the entities in the answer are right."""
    return {"micro_f1": count_matches(parse_tuples(results[0]) or [], map(tuple, doc["entities"])).f1_pair}


def relations(doc: dict[str, Any], results: list[str]) -> dict[str, tuple[float, float]]:
    """Return how many of the relations in the answer are right."""
    return {"micro_f1": count_matches(parse_tuples(results[0]) or [], map(tuple, doc["triples"])).f1_pair}
