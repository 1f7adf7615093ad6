"""ADGEN: documents, filters and scores.

A filter's result is JSON: the text that is scored, and the attributes that it mentions and misses.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.metrics.stats.estimates import ratio
from harness.metrics.text import copywriting, corpus_bleu, surface
from harness.metrics.text.copywriting import sd_over_seeds
from harness.metrics.text.corpus_bleu import bleu, chrf
from harness.metrics.text.cuts import jieba_words
from harness.metrics.text.overlap import bleu4_characters, rouge_jieba
from harness.tasks.protocols.chatglm_predict import ChatGLMPredict

__all__ = ["ChatGLMPredict", "bleu", "chrf", "ratio", "sd_over_seeds"]

CHUNK = 1000
"""Rows that upstream's `datasets.map` tokenises and pads at once."""
_UPSTREAM = ("rouge-1", "rouge-2", "rouge-l", "bleu-4")


def documents(dataset: Any) -> Any:
    """Return the rows that have attributes and copy, each with the number of its chunk."""
    numbered = dataset.add_column("chunk", [i // CHUNK for i in range(len(dataset))])
    return numbered.filter(lambda doc: doc["content"] and doc["summary"])


def mentioned(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return each response with the attributes that it mentions and misses."""
    return [[_record(text, doc) for text in texts] for texts, doc in zip(responses, docs, strict=True)]


def lines(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return the lines of all seeds as one text, each with the attributes that its copy mentions and misses."""
    results = []
    for texts, doc in zip(responses, docs, strict=True):
        parsed = map(copywriting.read_line, texts)
        results.append(["\n".join(_record(line.predict, doc, labels=line.labels) for line in parsed)])
    return results


def scores(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
    """Return the scores of one answer; for corpus metrics, what the answer adds to them."""
    record = json.loads(results[0])
    text, reference = record["predict"], doc["summary"]
    rouge, words = rouge_jieba(text, reference), " ".join(jieba_words(text))
    return {
        "rouge1_jieba": rouge.rouge_1,
        "rouge2_jieba": rouge.rouge_2,
        "rougeL_jieba": rouge.rouge_l,
        "bleu4_characters": bleu4_characters(text, reference),
        "bleu_zh": corpus_bleu.bleu_zh_counts(text, reference),
        "chrf": corpus_bleu.chrf_counts(text, reference),
        **_coverage([record]),
        "distinct1_jieba": words,
        "distinct2_jieba": words,
        "length_ratio_characters": surface.lengths(text, reference),
        "empty": surface.empty(text),
    }


def upstream(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
    """Return upstream's scores of one document: the means over seeds, and each seed's score if there are several."""
    records = [json.loads(line) for line in results[0].split("\n")]
    by_seed = [copywriting.upstream(record["predict"], record["labels"]) for record in records]
    values: dict[str, Any] = {}
    for name, of_seeds in zip(_UPSTREAM, zip(*by_seed, strict=True), strict=True):
        values[f"predict_{name}"] = _mean(of_seeds)
        if len(of_seeds) > 1:
            values[f"predict_{name}_sd"] = of_seeds
    values |= _coverage(records)
    values["empty"] = _mean([surface.empty(record["predict"]) for record in records])
    return values


def distinct1(texts: Sequence[str]) -> float:
    """Return distinct-1 of texts whose words are separated by spaces."""
    return surface.distinct(map(str.split, texts), 1)


def distinct2(texts: Sequence[str]) -> float:
    """Return distinct-2 of texts whose words are separated by spaces."""
    return surface.distinct(map(str.split, texts), 2)


def _record(text: str, doc: dict[str, Any], **fields: str) -> str:
    """Return the filter's result for one answer, with more `fields` before it."""
    mentions = copywriting.mentions(text, doc["content"])
    attributes = {"mentioned": [*map(str, mentions.mentioned)], "missed": [*map(str, mentions.missed)]}
    return json.dumps({**fields, "predict": text, **attributes}, ensure_ascii=False)


def _coverage(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the mean share of attributes mentioned; empty if no attributes are known, as in ChatGLM's own file."""
    counts = [len(record["mentioned"]) + len(record["missed"]) for record in records]
    shares = [len(record["mentioned"]) / count for record, count in zip(records, counts, strict=True) if count]
    return {"coverage": _mean(shares)} if shares else {}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
