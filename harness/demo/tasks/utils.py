"""Documents and scores of the demo's tasks; their YAML files name these functions."""

from __future__ import annotations

from typing import Any

from harness.demo import corpora
from harness.demo.families import Family
from harness.metrics.answers.numbers import is_same_number
from harness.metrics.extraction.tuples import count_matches, parse_tuples
from harness.metrics.law.strict_citations import count_citations, parse_citations
from harness.metrics.stats.estimates import ratio
from harness.metrics.text.overlap import METRICS, coverage

__all__ = ["copy", "documents", "entities", "law", "numbers", "ratio", "relations"]


def documents(family: Family, **_: object) -> dict[str, Any]:
    """Return a family's test documents as a data set."""
    from datasets import Dataset

    return {"test": Dataset.from_list(corpora.documents(family))}


def numbers(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Return whether the last number in the answer equals the last number in the document's solution."""
    return {"exact_match": float(is_same_number(results[0], doc["answer"]))}


def copy(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Return the similarity of the generated text to the reference, and the share of attributes that it mentions."""
    values = [attribute.partition("#")[2] for attribute in doc["content"].split("*")]
    similarity = {name: METRICS[name](results[0], doc["summary"]) for name in ("rougeL_jieba", "bleu4_characters")}
    return {**similarity, "coverage": coverage(results[0], values)}


def law(doc: dict[str, Any], results: list[str]) -> dict[str, tuple[float, float]]:
    """Return the counts from which the F1 of cited articles is computed."""
    return {"citation_f1": count_citations(results[0], parse_citations(doc["answer"])).f1_pair}


def entities(doc: dict[str, Any], results: list[str]) -> dict[str, tuple[float, float]]:
    """Return the counts from which the F1 of entities is computed."""
    return {"micro_f1": count_matches(parse_tuples(results[0]) or [], map(tuple, doc["entities"])).f1_pair}


def relations(doc: dict[str, Any], results: list[str]) -> dict[str, tuple[float, float]]:
    """Return the counts from which the F1 of relations is computed."""
    return {"micro_f1": count_matches(parse_tuples(results[0]) or [], map(tuple, doc["triples"])).f1_pair}
