"""ADGEN's documents, what is read in answers, and scores.

A filter writes what it read as JSON: the text that is scored, and which attributes it mentions and misses.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.metrics.stats.estimates import ratio
from harness.metrics.text import copywriting, corpus_bleu, surface
from harness.metrics.text.copywriting import sd_over_seeds
from harness.metrics.text.corpus_bleu import bleu, chrf
from harness.metrics.text.overlap import bleu4_characters, jieba_words, rouge_jieba
from harness.tasks.protocols.chatglm_predict import ChatGLMPredict

__all__ = ["ChatGLMPredict", "bleu", "chrf", "ratio", "sd_over_seeds"]

CHUNK = 1000
"""Rows that upstream's `datasets.map` tokenises, and pads, at once."""
_UPSTREAM = ("rouge-1", "rouge-2", "rouge-l", "bleu-4")


def documents(dataset: Any) -> Any:
    """Return the rows that have attributes and copy, each with the number of the chunk that it was in."""
    numbered = dataset.add_column("chunk", [i // CHUNK for i in range(len(dataset))])
    return numbered.filter(lambda doc: doc["content"] and doc["summary"])


def mentioned(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return each response with the attributes that it mentions and misses."""
    return [[_record(text, doc) for text in texts] for texts, doc in zip(responses, docs, strict=True)]


def lines(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return the lines of all seeds as one text, each with the attributes that its copy mentions and misses."""
    found = []
    for texts, doc in zip(responses, docs, strict=True):
        read = map(copywriting.read_line, texts)
        found.append(["\n".join(_record(line.predict, doc, labels=line.labels) for line in read)])
    return found


def scores(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
    """Return what one answer is worth; of corpus metrics, what it adds to them."""
    found = json.loads(results[0])
    text, reference = found["predict"], doc["summary"]
    rouge, words = rouge_jieba(text, reference), " ".join(jieba_words(text))
    return {
        "rouge1_jieba": rouge.one,
        "rouge2_jieba": rouge.two,
        "rougeL_jieba": rouge.longest,
        "bleu4_characters": bleu4_characters(text, reference),
        "bleu_zh": corpus_bleu.bleu_zh_counts(text, reference),
        "chrf": corpus_bleu.chrf_counts(text, reference),
        **_covered([found]),
        "distinct1_jieba": words,
        "distinct2_jieba": words,
        "length_ratio_characters": surface.lengths(text, reference),
        "empty": surface.empty(text),
    }


def upstream(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
    """Return the means over seeds, and every seed's own where there are several."""
    read = [json.loads(line) for line in results[0].split("\n")]
    by_seed = [copywriting.upstream(one["predict"], one["labels"]) for one in read]
    found: dict[str, Any] = {}
    for name, values in zip(_UPSTREAM, zip(*by_seed, strict=True), strict=True):
        found[f"predict_{name}"] = _mean(values)
        if len(values) > 1:
            found[f"predict_{name}_sd"] = values
    found |= _covered(read)
    found["empty"] = _mean([surface.empty(one["predict"]) for one in read])
    return found


def distinct1(texts: Sequence[str]) -> float:
    """Return distinct-1 of texts whose words are set apart."""
    return surface.distinct(map(str.split, texts), 1)


def distinct2(texts: Sequence[str]) -> float:
    """Return distinct-2 of texts whose words are set apart."""
    return surface.distinct(map(str.split, texts), 2)


def _record(text: str, doc: dict[str, Any], **beside: str) -> str:
    found = copywriting.mentions(text, doc["content"])
    attributes = {"mentioned": [*map(str, found.mentioned)], "missed": [*map(str, found.missed)]}
    return json.dumps({**beside, "predict": text, **attributes}, ensure_ascii=False)


def _covered(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the mean share of attributes mentioned; nothing where none are known, as of ChatGLM's own file."""
    asked = [len(one["mentioned"]) + len(one["missed"]) for one in records]
    shares = [len(one["mentioned"]) / count for one, count in zip(records, asked, strict=True) if count]
    return {"coverage": _mean(shares)} if shares else {}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
