"""sacrebleu's corpus scores in two steps: the counts of each pair (prediction, reference), then the score of the sums.

Scores are from 0 to 100. Because the counts are kept per pair, the corpus score of any selection of documents, in any
order and with any resampling, can be computed without the texts. `bleu_zh` is sacrebleu's BLEU with its tokenizer `zh`
(Post 2018); `chrf` is its chrF over runs of 1 to 6 characters without white space (Popović 2015). Both equal
sacrebleu's `corpus_score` to the last bit. `signature` returns sacrebleu's own description of the metric.

Not here: sentence BLEU, which is another number (`overlap.bleu4_characters`); several references (`lm_eval_counts`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from harness.metrics.text import ngrams

BETA = 2
"""Weight of recall relative to precision in chrF."""


class BleuCounts(NamedTuple):
    """What one pair (prediction, reference) adds to a corpus BLEU, in the order of sacrebleu's own statistics."""

    prediction_length: int
    """The number of tokens of the prediction."""
    reference_length: int
    """The number of tokens of the reference."""
    correct: tuple[int, int, int, int]
    """The numbers of runs of 1 to 4 tokens that are in both prediction and reference."""
    total: tuple[int, int, int, int]
    """The numbers of runs of 1 to 4 tokens in the prediction."""


class ChrfCounts(NamedTuple):
    """What one pair (prediction, reference) adds to a corpus chrF, for runs of 1 to 6 characters."""

    prediction: tuple[int, ...]
    """The number of runs of each length in the prediction; 0 for lengths of which the reference has no run."""
    reference: tuple[int, ...]
    """The number of runs of each length in the reference."""
    correct: tuple[int, ...]
    """The number of runs of each length that are in both prediction and reference."""


def bleu_zh_counts(prediction: str, reference: str) -> BleuCounts:
    """Return what one pair adds to a corpus BLEU with sacrebleu's tokenizer `zh`."""
    tokens, expected = tokens_zh(prediction), tokens_zh(reference)
    texts = "".join(tokens), "".join(expected)
    if (len(texts[0]), len(texts[1])) == (len(tokens), len(expected)):  # every token is one character
        shared = ngrams.shared_characters(*texts)
    else:
        shared = ngrams.shared(tuple(tokens), tuple(expected), 4)
    length = len(tokens)
    return BleuCounts(
        length,
        len(expected),
        (shared[0], shared[1], shared[2], shared[3]),
        (length, max(0, length - 1), max(0, length - 2), max(0, length - 3)),
    )


def bleu(counts: Iterable[Sequence[Any]]) -> float:
    """Return the corpus BLEU, 0 to 100. `counts` has `BleuCounts`, or the same numbers as lists, as in a report.

    Smoothing is exponential; the brevity penalty is computed from the total lengths of all pairs.
    """
    from sacrebleu.metrics.bleu import BLEU

    pairs = [BleuCounts(*values) for values in counts]
    prediction_length = sum(pair.prediction_length for pair in pairs)
    reference_length = sum(pair.reference_length for pair in pairs)
    correct, total = _sums([pair.correct for pair in pairs], 4), _sums([pair.total for pair in pairs], 4)
    return float(BLEU.compute_bleu(correct, total, prediction_length, reference_length, smooth_method="exp").score)


def chrf_counts(prediction: str, reference: str) -> ChrfCounts:
    """Return what one pair adds to a corpus chrF."""
    prediction, reference = ("".join(text.split()) for text in (prediction, reference))
    orders = range(ngrams.LONGEST)
    lengths = tuple(max(0, len(reference) - order) for order in orders)
    return ChrfCounts(
        tuple(max(0, len(prediction) - order) if lengths[order] else 0 for order in orders),
        lengths,
        ngrams.shared_characters(prediction, reference),
    )


def chrf(counts: Iterable[Sequence[Any]]) -> float:
    """Return the corpus chrF, 0 to 100. `counts` has `ChrfCounts`, or the same numbers as lists, as in a report.

    It is the F2 of the mean precision and the mean recall over the run lengths that occur in both predictions and
    references.
    """
    pairs = [ChrfCounts(*values) for values in counts]
    columns = (
        [pair.prediction for pair in pairs],
        [pair.reference for pair in pairs],
        [pair.correct for pair in pairs],
    )
    sums = zip(*(_sums(column, ngrams.LONGEST) for column in columns), strict=True)
    precision = recall = 0.0
    orders = 0
    for predicted, expected, correct in sums:  # added one by one: sum() of newer Pythons rounds differently
        if predicted and expected:
            precision += correct / predicted
            recall += correct / expected
            orders += 1
    if not precision + recall:
        return 0.0
    precision, recall = precision / orders, recall / orders
    return 100 * ((1 + BETA**2) * precision * recall / (BETA**2 * precision + recall))


@functools.cache
def signature(metric: str) -> str:
    """Return sacrebleu's signature of `bleu_zh` or `chrf` with one reference; sacrebleu's version comes last."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    scorer = {"bleu_zh": BLEU(tokenize="zh"), "chrf": CHRF()}[metric]
    scorer.corpus_score(["一"], [["一"]])  # the signature states the number of references last scored
    return str(scorer.get_signature())


# The Chinese characters of sacrebleu's tokenizers/tokenizer_zh.py. Two of its ranges are written with five digits,
# which Python reads as four and one more character: they reach from U+2001 to U+2A6D and from U+2F81 to U+2FA1.
_CHINESE = re.compile(
    "([\u2001-\u2a6d\u2e80-\u2eff\u2f00-\u2fdf\u2ff0-\u2fff\u3000-\u303f\u3100-\u312f\u31a0-\u31bf\u31c0-\u31ef"
    "\u3200-\u32ff\u3300-\u33ff\u3400-\u4db5\u4e00-\u9fbb\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\ufe10-\ufe1f"
    "\ufe30-\ufe4f\uff00-\uffef]+)"
)
# The substitutions that its tokenizers/tokenizer_re.py applies to all other text, from mteval-v13a.pl.
_RULES = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


def tokens_zh(text: str) -> list[str]:
    """Return the tokens of sacrebleu's tokenizer `zh`: Chinese characters one by one, other text as in mteval-v13a."""
    pieces = _CHINESE.split(text.strip())  # every second piece is Chinese
    last = len(pieces) - 1
    tokens: list[str] = []
    for i, piece in enumerate(pieces):
        if i % 2:
            tokens += "".join(piece.split())
        elif piece:  # sacrebleu puts a space around each Chinese character, so also at both ends of other text
            tokens += _tokens_13a(" " * (i > 0) + piece + " " * (i < last))
    return tokens


@functools.lru_cache(maxsize=4096)  # most pieces are a comma or a number
def _tokens_13a(text: str) -> list[str]:
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text.split()


def _sums(columns: Sequence[Sequence[int]], width: int) -> list[int]:
    return [sum(column) for column in zip(*columns, strict=True)] or [0] * width
