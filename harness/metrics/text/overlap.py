"""How near a generated text comes to a reference: one prediction, one reference, a number from 0 to 1.

A metric's name carries its tokenisation, since the same texts score 10 by characters and 30 by words. `rouge_jieba`
and `bleu4_characters` are the metrics of THUDM/ChatGLM-6B's ptuning/main.py, before its rounding; an empty text, which
stops that script, scores 0.

Not here: numbers and letters read out of an answer (`numbers`, `choices`), or averages (`aggregate`).
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from harness.metrics.answers.numbers import last_number
from harness.metrics.text import ngrams
from harness.metrics.text.segmenter import segmenter


class Rouge(NamedTuple):
    """F-measures, precision and recall weighing the same."""

    one: float
    two: float
    longest: float
    """Of the longest common subsequence."""


def exact_match(prediction: str, reference: str) -> float:
    """Return 1 if both are the same text but for white space at the ends, else 0."""
    return float(prediction.strip() == reference.strip())


def contains(prediction: str, reference: str) -> float:
    """Return 1 if the reference, without white space at its ends, stands in the prediction as written, else 0."""
    return float(reference.strip() in prediction)


def number(prediction: str, reference: str) -> float:
    """Return 1 if the last number in both has the same value, else 0, as where there is none."""
    wanted = last_number(reference)
    return float(wanted is not None and last_number(prediction) == wanted)


@functools.lru_cache(maxsize=64)  # asked three times in a row, once for each of its numbers
def rouge_jieba(prediction: str, reference: str) -> Rouge:
    """Return ROUGE over jieba's words as rouge-chinese 1.0.3 defines it.

    N-grams are sets: a repeated one counts once. ROUGE-L takes each text as one sequence.
    """
    return rouge_of(jieba_words(prediction), jieba_words(reference))


@functools.lru_cache(maxsize=64)
def rouge(prediction: str, reference: str) -> Rouge:
    """Return ROUGE over words of Latin letters and digits as rouge-score defines it, without stemming."""
    scores = _scorer().score(reference, prediction)
    return Rouge(*(float(scores[name].fmeasure) for name in ("rouge1", "rouge2", "rougeL")))


def bleu4_characters(prediction: str, reference: str) -> float:
    """Return sentence BLEU-4 over characters, white space and punctuation included, smoothed by NIST's series.

    nltk's `sentence_bleu` with `SmoothingFunction().method3` (Chen and Cherry 2014): the k-th order without a hit
    counts as 1/2^k hits.
    """
    shared = ngrams.shared_characters(prediction, reference)[:4]
    if not shared[0]:
        return 0.0
    missing, logs = 0, []
    for order, hits in enumerate(shared):
        total = max(1, len(prediction) - order)
        missing += not hits
        logs.append(math.log(hits / total if hits else 1 / (2**missing * total)) / 4)
    # nltk's operations in nltk's order, so that not the last bit differs: upstream rounds.
    brevity = 1.0 if len(prediction) > len(reference) else math.exp(1 - len(reference) / len(prediction))
    return brevity * math.exp(math.fsum(logs))


def coverage(prediction: str, values: Sequence[str]) -> float:
    """Return the share of `values`, such as the attributes a copywriter was given, that stand in `prediction`.

    1 where there are no values: nothing was left out.
    """
    return sum(value in prediction for value in values) / len(values) if values else 1.0


def best(metric: str, prediction: str, references: Sequence[str]) -> float:
    """Return the largest score by `METRICS[metric]` that `prediction` has against any of `references`."""
    return max(METRICS[metric](prediction, reference) for reference in references)


METRICS: dict[str, Callable[[str, str], float]] = {
    "exact_match": exact_match,
    "contains": contains,
    "number": number,
    "rouge1_jieba": lambda prediction, reference: rouge_jieba(prediction, reference).one,
    "rouge2_jieba": lambda prediction, reference: rouge_jieba(prediction, reference).two,
    "rougeL_jieba": lambda prediction, reference: rouge_jieba(prediction, reference).longest,
    "rouge1": lambda prediction, reference: rouge(prediction, reference).one,
    "rouge2": lambda prediction, reference: rouge(prediction, reference).two,
    "rougeL": lambda prediction, reference: rouge(prediction, reference).longest,
    "bleu4_characters": bleu4_characters,
}
"""Every metric by the name it is reported under."""


def rouge_of(prediction: Sequence[str], reference: Sequence[str]) -> Rouge:
    """Return ROUGE over words as rouge-chinese 1.0.3 defines it; 0 where either text has none."""
    if not prediction or not reference:
        return Rouge(0.0, 0.0, 0.0)
    found = []
    for order in (1, 2):
        said, wanted = set(ngrams.runs(prediction, order)), set(ngrams.runs(reference, order))
        found.append(_f_measure(len(said & wanted), len(said), len(wanted)))
    common = _common_subsequence(prediction, reference)
    return Rouge(found[0], found[1], _f_measure(common, len(prediction), len(reference)))


def _f_measure(hits: int, said: int, wanted: int) -> float:
    precision, recall = hits / max(1, said), hits / max(1, wanted)
    return 2 * precision * recall / (precision + recall + 1e-8)


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, a whole row of the usual table as bits of one integer.

    Hyyrö 2004, "Bit-parallel LCS-length computation revisited".
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


# rouge-chinese's `cut_sent`: where a sentence ends. It matters in one case: a line of nothing but white space, which
# counts as one empty word.
_SENTENCE_ENDS = (
    (r"([。！？\?])([^”’])", r"\1\n\2"),
    (r"(\.{6})([^”’])", r"\1\n\2"),
    (r"(\…{2})([^”’])", r"\1\n\2"),
    (r"([。！？\?][”’])([^，。！？\?])", r"\1\n\2"),
)


@functools.lru_cache(maxsize=4096)  # a reference is met once for each checkpoint and metric
def jieba_words(text: str) -> tuple[str, ...]:
    """Return the words that jieba cuts `text` into, without white space."""
    cut = segmenter().words(text)
    if text.split(maxsplit=1) == [text]:  # without white space there is no such line
        return tuple(cut)
    spaced = " ".join(cut)
    for pattern, replacement in _SENTENCE_ENDS:
        spaced = re.sub(pattern, replacement, spaced)
    lines = (" ".join(line.split()) for line in spaced.rstrip().split("\n") if line)
    return tuple(word for line in lines for word in line.split(" "))


@functools.cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
