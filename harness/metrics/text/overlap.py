"""Similarity of a prediction to a reference, from 0 to 1: exact match, ROUGE, sentence BLEU.

A metric's name states its tokenisation, because the same texts score 10 over characters and 30 over words.
`rouge_jieba` and `bleu4_characters` are the metrics of THUDM/ChatGLM-6B's ptuning/main.py before that script rounds; an
empty text, on which the script fails, scores 0.

Every metric is given the whole answer and reads a part of it: `exact_match` the first line or the whole, `number` the
last number, and `contains`, ROUGE and BLEU the whole. `best` is used for answers to a user's own test set.

Not here: numbers and letters in answers (`harness.metrics.answers`), the words of ROUGE (`harness.metrics.text.cuts`),
averages (`harness.metrics.stats.estimates`).
"""

from __future__ import annotations

import functools
import math
import unicodedata
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from harness.metrics.answers.numbers import is_same_number
from harness.metrics.text import cuts, ngrams
from harness.metrics.text.cuts import CUTS, jieba_words
from harness.metrics.text.lines import first_line, is_one_line, trimmed


class Rouge(NamedTuple):
    """ROUGE F-measures, with equal weight for precision and recall."""

    rouge_1: float
    """The F-measure over single words."""
    rouge_2: float
    """The F-measure over pairs of consecutive words."""
    rouge_l: float
    """The F-measure over the longest common subsequence of words."""


def exact_match(prediction: str, reference: str) -> float:
    """Return 1 if both texts are equal except for invisible characters at the ends, else 0.

    A reference of one line is compared with the first visible line of the prediction, because a base model goes on with
    other questions after that line. A reference of several lines is compared with the whole prediction.
    """
    answer = first_line(prediction) if is_one_line(reference) else trimmed(prediction)
    return float(_canonical(answer) == _canonical(trimmed(reference)))


def contains(prediction: str, reference: str) -> float:
    """Return 1 if the prediction contains the reference without invisible characters at its ends, else 0."""
    return float(_canonical(trimmed(reference)) in _canonical(prediction))


def _canonical(text: str) -> str:
    """Return `text` with line ends and accents (NFC) in one form, because programs write them in different ways."""
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")


def number(prediction: str, reference: str) -> float:
    """Return 1 if both texts have a last number and the two numbers are equal, else 0."""
    return float(is_same_number(prediction, reference))


@functools.lru_cache(maxsize=64)  # called three times in a row, once for each of its numbers
def rouge_jieba(prediction: str, reference: str) -> Rouge:
    """Return ROUGE over jieba's words as rouge-chinese 1.0.3 defines it.

    A repeated n-gram counts once. ROUGE-L treats each text as one sequence.
    """
    return rouge_of(jieba_words(prediction), jieba_words(reference))


@functools.lru_cache(maxsize=64)
def rouge(prediction: str, reference: str, cut: str = "words") -> Rouge:
    """Return ROUGE as rouge-score defines it, without stemming, over the words that `cuts.CUTS[cut]` splits texts into.

    A repeated n-gram counts as often as both texts have it. ROUGE-L treats each text as one sequence.
    """
    predicted, expected = CUTS[cut](prediction), CUTS[cut](reference)
    words, pairs = ngrams.shared(predicted, expected, 2)
    lengths = len(predicted), len(expected)
    return Rouge(
        _plain_f_measure(words, *lengths),
        _plain_f_measure(pairs, lengths[0] - 1, lengths[1] - 1),
        _plain_f_measure(_common_subsequence(predicted, expected), *lengths),
    )


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


@functools.cache
def _sentence_bleu(tokenizer: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenizer, effective_order=True)


def bleu(prediction: str, reference: str, tokenizer: str) -> float:
    """Return sacrebleu's sentence BLEU with its `tokenizer`, `intl` or `char`, divided by 100.

    It counts runs of up to four tokens or, if the prediction is shorter, of up to the prediction's length ("effective
    order"). So a short text scores 1 against itself, unlike in `bleu4_characters`.
    """
    return float(_sentence_bleu(tokenizer).sentence_score(prediction, [reference]).score) / 100


def coverage(prediction: str, values: Sequence[str]) -> float:
    """Return the share of `values`, such as the attributes of a product, that `prediction` contains literally.

    The share is 1 if there are no values.
    """
    return sum(value in prediction for value in values) / len(values) if values else 1.0


def metrics_of(comparison: str, references: Collection[str]) -> tuple[str, ...]:
    """Return the names of the metrics that `comparison` (`rouge`, `bleu`, or the name of a metric) stands for.

    All `references` of a task together determine the cut (how texts are split into words); each must have a word.
    ROUGE-2 is left out if no reference has two words. BLEU is sacrebleu's with `intl` if words are separated by spaces.
    If not, BLEU is over characters: `bleu4_characters` if every reference has at least four characters, sacrebleu's
    with `char` if any has fewer.
    """
    if comparison not in ("rouge", "bleu"):
        return (comparison,)
    cut = cuts.choose(references)
    if comparison == "bleu":
        if cut in ("words", "unicode"):
            return ("bleu_intl",)
        return ("bleu4_characters",) if min(len(trimmed(text)) for text in references) >= 4 else ("bleu_char",)
    suffix = "" if cut == "words" else f"_{cut}"
    names = (f"rouge1{suffix}", f"rouge2{suffix}", f"rougeL{suffix}")
    return tuple(name for name in names if any(is_defined(name, reference) for reference in references))


def is_defined(metric: str, reference: str) -> bool:
    """Return whether `metric` is defined for `reference`: ROUGE-2 needs a reference of two words or more."""
    name, _, cut = metric.partition("_")
    return name != "rouge2" or len(CUTS[cut or "words"](trimmed(reference))) > 1


def best(metric: str, prediction: str, references: Sequence[str]) -> float | None:
    """Return the highest score by `METRICS[metric]` of `prediction` against any of `references`.

    Invisible characters at the ends of the texts do not count, and it does not matter how line ends and accents are
    written. The result is None if the metric is undefined for any reference.
    """
    if not all(is_defined(metric, reference) for reference in references):
        return None
    answer = _canonical(trimmed(prediction))
    return max(METRICS[metric](answer, _canonical(trimmed(reference))) for reference in references)


def _rouge(cut: str) -> dict[str, Callable[[str, str], float]]:
    """Return the three metrics of ROUGE by name; `cut` is how texts are split into words."""
    score = rouge_jieba if cut == "jieba" else functools.partial(rouge, cut=cut)
    suffix = "" if cut == "words" else f"_{cut}"
    return {
        f"rouge1{suffix}": lambda prediction, reference: score(prediction, reference).rouge_1,
        f"rouge2{suffix}": lambda prediction, reference: score(prediction, reference).rouge_2,
        f"rougeL{suffix}": lambda prediction, reference: score(prediction, reference).rouge_l,
    }


METRICS: dict[str, Callable[[str, str], float]] = {
    "exact_match": exact_match,
    "contains": contains,
    "number": number,
    **{name: metric for cut in CUTS for name, metric in _rouge(cut).items()},
    "bleu4_characters": bleu4_characters,
    "bleu_intl": functools.partial(bleu, tokenizer="intl"),
    "bleu_char": functools.partial(bleu, tokenizer="char"),
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


def _plain_f_measure(matches: int, predicted: int, expected: int) -> float:
    """Return rouge-score's F-measure, whose denominator, unlike rouge-chinese's, has no epsilon."""
    precision, recall = matches / max(1, predicted), matches / max(1, expected)
    return 2 * precision * recall / (precision + recall) if matches else 0.0


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
