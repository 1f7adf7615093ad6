"""Similarity of a prediction to a reference, from 0 to 1: exact match, ROUGE, sentence BLEU.

A metric's name states its tokenisation, because the same texts score 10 over characters and 30 over words.
`rouge_jieba` and `bleu4_characters` are the metrics of THUDM/ChatGLM-6B's ptuning/main.py before its rounding; an empty
text, on which that script fails, scores 0.

Not here: numbers and letters in answers (`harness.metrics.answers`), averages (`harness.metrics.stats.estimates`).
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from harness.metrics.answers.numbers import last_number
from harness.metrics.text import ngrams, segmenter


class Rouge(NamedTuple):
    """ROUGE F-measures, with equal weight for precision and recall."""

    rouge_1: float
    """Over single words."""
    rouge_2: float
    """Over pairs of words."""
    rouge_l: float
    """Over the longest common subsequence."""


def exact_match(prediction: str, reference: str) -> float:
    """Return 1 if both texts are equal except for white space at the ends, else 0."""
    return float(prediction.strip() == reference.strip())


def contains(prediction: str, reference: str) -> float:
    """Return 1 if the prediction contains the reference, without white space at its ends, literally; else 0."""
    return float(reference.strip() in prediction)


def number(prediction: str, reference: str) -> float:
    """Return 1 if the last numbers of both texts have the same value, else 0; 0 if the reference has no number."""
    expected = last_number(reference)
    return float(expected is not None and last_number(prediction) == expected)


@functools.lru_cache(maxsize=64)  # called three times in a row, once for each of its numbers
def rouge_jieba(prediction: str, reference: str) -> Rouge:
    """Return ROUGE over jieba's words as rouge-chinese 1.0.3 defines it.

    A repeated n-gram counts once. ROUGE-L treats each text as one sequence.
    """
    return rouge_of(jieba_words(prediction), jieba_words(reference))


@functools.lru_cache(maxsize=64)
def rouge(prediction: str, reference: str) -> Rouge:
    """Return ROUGE over words of Latin letters and digits as rouge-score defines it, without stemming."""
    scores = _scorer().score(reference, prediction)
    return Rouge(*(float(scores[name].fmeasure) for name in ("rouge1", "rouge2", "rougeL")))


def bleu4_characters(prediction: str, reference: str) -> float:
    """Return sentence BLEU-4 over characters, white space and punctuation included, with NIST smoothing.

    This is nltk's `sentence_bleu` with `SmoothingFunction().method3` (Chen and Cherry 2014): the k-th order without a
    match counts as 1/2^k matches.
    """
    shared = ngrams.shared_characters(prediction, reference)[:4]
    if not shared[0]:
        return 0.0
    missing, logs = 0, []
    for order, matches in enumerate(shared):
        total = max(1, len(prediction) - order)
        missing += not matches
        logs.append(math.log(matches / total if matches else 1 / (2**missing * total)) / 4)
    # The operations are nltk's, in its order: a difference in the last bit could change what upstream rounds to.
    brevity = 1.0 if len(prediction) > len(reference) else math.exp(1 - len(reference) / len(prediction))
    return brevity * math.exp(math.fsum(logs))


def coverage(prediction: str, values: Sequence[str]) -> float:
    """Return the share of `values`, such as the attributes of a product, that `prediction` contains literally.

    1 if there are no values.
    """
    return sum(value in prediction for value in values) / len(values) if values else 1.0


def best(metric: str, prediction: str, references: Sequence[str]) -> float:
    """Return the highest score by `METRICS[metric]` of `prediction` against any of `references`."""
    return max(METRICS[metric](prediction, reference) for reference in references)


METRICS: dict[str, Callable[[str, str], float]] = {
    "exact_match": exact_match,
    "contains": contains,
    "number": number,
    "rouge1_jieba": lambda prediction, reference: rouge_jieba(prediction, reference).rouge_1,
    "rouge2_jieba": lambda prediction, reference: rouge_jieba(prediction, reference).rouge_2,
    "rougeL_jieba": lambda prediction, reference: rouge_jieba(prediction, reference).rouge_l,
    "rouge1": lambda prediction, reference: rouge(prediction, reference).rouge_1,
    "rouge2": lambda prediction, reference: rouge(prediction, reference).rouge_2,
    "rougeL": lambda prediction, reference: rouge(prediction, reference).rouge_l,
    "bleu4_characters": bleu4_characters,
}
"""Every metric by the name under which it is reported."""


def rouge_of(prediction: Sequence[str], reference: Sequence[str]) -> Rouge:
    """Return ROUGE over words as rouge-chinese 1.0.3 defines it; 0 if either text has no words."""
    if not prediction or not reference:
        return Rouge(0.0, 0.0, 0.0)
    by_order = []
    for order in (1, 2):
        predicted, expected = set(ngrams.runs(prediction, order)), set(ngrams.runs(reference, order))
        by_order.append(_f_measure(len(predicted & expected), len(predicted), len(expected)))
    common = _common_subsequence(prediction, reference)
    return Rouge(by_order[0], by_order[1], _f_measure(common, len(prediction), len(reference)))


def _f_measure(matches: int, predicted: int, expected: int) -> float:
    precision, recall = matches / max(1, predicted), matches / max(1, expected)
    return 2 * precision * recall / (precision + recall + 1e-8)


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence.

    Each row of the usual table is the bits of one integer (Hyyrö 2004, "Bit-parallel LCS-length computation
    revisited").
    """
    places: dict[str, int] = {}
    for i, item in enumerate(first):
        places[item] = places.get(item, 0) | 1 << i
    everything = (1 << len(first)) - 1
    row = everything
    for item in second:
        matched = row & places.get(item, 0)
        row = ((row + matched) | (row - matched)) & everything
    return len(first) - row.bit_count()


# rouge-chinese's `cut_sent`, which splits sentences. It affects the words in one case only: a line of nothing but white
# space counts as one empty word.
_SENTENCE_ENDS = (
    (r"([。！？\?])([^”’])", r"\1\n\2"),
    (r"(\.{6})([^”’])", r"\1\n\2"),
    (r"(\…{2})([^”’])", r"\1\n\2"),
    (r"([。！？\?][”’])([^，。！？\?])", r"\1\n\2"),
)


@functools.lru_cache(maxsize=4096)  # a reference recurs for each checkpoint and metric
def jieba_words(text: str) -> tuple[str, ...]:
    """Return the words of `text` by jieba, without white space, as rouge-chinese counts them."""
    words = segmenter.words(text)
    if text.split(maxsplit=1) == [text]:  # without white space there is no such line
        return tuple(words)
    spaced = " ".join(words)
    for pattern, replacement in _SENTENCE_ENDS:
        spaced = re.sub(pattern, replacement, spaced)
    lines = (" ".join(line.split()) for line in spaced.rstrip().split("\n") if line)
    return tuple(word for line in lines for word in line.split(" "))


@functools.cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
