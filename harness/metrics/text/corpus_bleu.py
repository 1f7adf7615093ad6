"""sacrebleu's corpus scores in two steps: each pair's counts, and the score of summed counts, from 0 to 100.

What a pair is worth is its counts, so that a corpus score can be had of any documents, in any order, drawn again and
again, without reading a text twice. `bleu_zh` is sacrebleu's BLEU after its tokenizer `zh` (Post 2018), `chrf` its chrF
over runs of 1 to 6 characters without white space (Popović 2015); both equal sacrebleu's `corpus_score` to the last
bit. `signature` says in sacrebleu's own words what was computed.

Not here: sentence BLEU, which is another number (`generation.bleu4_characters`); several references.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from harness.metrics.text import ngrams

BETA = 2
"""How much more chrF's recall counts than its precision."""


class BleuCounts(NamedTuple):
    """One pair's part in a corpus BLEU, in the order of sacrebleu's own statistics."""

    said: int
    """Tokens of the prediction."""
    wanted: int
    """Tokens of the reference."""
    correct: tuple[int, int, int, int]
    """Runs of 1 to 4 tokens that both have."""
    total: tuple[int, int, int, int]
    """Runs of 1 to 4 tokens that the prediction has."""


class ChrfCounts(NamedTuple):
    """One pair's part in a corpus chrF, each for runs of 1 to 6 characters."""

    said: tuple[int, ...]
    """Runs of the prediction; 0 where the reference is too short to have one."""
    wanted: tuple[int, ...]
    """Runs of the reference."""
    correct: tuple[int, ...]
    """Runs that both have."""


def bleu_zh_counts(prediction: str, reference: str) -> BleuCounts:
    """Return what one pair adds to a corpus BLEU after sacrebleu's tokenizer `zh`."""
    said, wanted = tokens_zh(prediction), tokens_zh(reference)
    both = "".join(said), "".join(wanted)
    characters = (len(both[0]), len(both[1])) == (len(said), len(wanted))  # each token is one
    shared = ngrams.shared_characters(*both) if characters else ngrams.shared(tuple(said), tuple(wanted), 4)
    length = len(said)
    return BleuCounts(
        length,
        len(wanted),
        (shared[0], shared[1], shared[2], shared[3]),
        (length, max(0, length - 1), max(0, length - 2), max(0, length - 3)),
    )


def bleu(counts: Iterable[Sequence[Any]]) -> float:
    """Return the corpus BLEU, 0 to 100, of `BleuCounts`, or of the lists that a report keeps of them.

    Exponential smoothing, and the brevity penalty over all together.
    """
    from sacrebleu.metrics.bleu import BLEU

    every = [BleuCounts(*one) for one in counts]
    said, wanted = sum(one.said for one in every), sum(one.wanted for one in every)
    correct, total = _sums([one.correct for one in every], 4), _sums([one.total for one in every], 4)
    return float(BLEU.compute_bleu(correct, total, said, wanted, smooth_method="exp").score)


def chrf_counts(prediction: str, reference: str) -> ChrfCounts:
    """Return what one pair adds to a corpus chrF."""
    said, wanted = ("".join(text.split()) for text in (prediction, reference))
    orders = range(ngrams.LONGEST)
    lengths = tuple(max(0, len(wanted) - order) for order in orders)
    return ChrfCounts(
        tuple(max(0, len(said) - order) if lengths[order] else 0 for order in orders),
        lengths,
        ngrams.shared_characters(said, wanted),
    )


def chrf(counts: Iterable[Sequence[Any]]) -> float:
    """Return the corpus chrF, 0 to 100, of `ChrfCounts`, or of the lists that a report keeps of them.

    F2 of the mean precision and the mean recall over the orders of which both sides have runs.
    """
    every = [ChrfCounts(*one) for one in counts]
    columns = ([one.said for one in every], [one.wanted for one in every], [one.correct for one in every])
    sums = zip(*(_sums(column, ngrams.LONGEST) for column in columns), strict=True)
    precision = recall = 0.0
    orders = 0
    for said, wanted, correct in sums:  # one by one, for newer Pythons' sum() rounds otherwise than sacrebleu
        if said and wanted:
            precision += correct / said
            recall += correct / wanted
            orders += 1
    if not precision + recall:
        return 0.0
    precision, recall = precision / orders, recall / orders
    return 100 * ((1 + BETA**2) * precision * recall / (BETA**2 * precision + recall))


@functools.cache
def signature(metric: str) -> str:
    """Return sacrebleu's signature of `bleu_zh` or `chrf` with one reference, its version last."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    scorer = {"bleu_zh": BLEU(tokenize="zh"), "chrf": CHRF()}[metric]
    scorer.corpus_score(["一"], [["一"]])  # it must have seen how many references there are
    return str(scorer.get_signature())


# What counts as Chinese in sacrebleu's tokenizers/tokenizer_zh.py. Two of its ranges are written with five digits,
# which Python reads as four and a character more: they reach from U+2001 to U+2A6D and from U+2F81 to U+2FA1.
_CHINESE = re.compile(
    "([\u2001-\u2a6d\u2e80-\u2eff\u2f00-\u2fdf\u2ff0-\u2fff\u3000-\u303f\u3100-\u312f\u31a0-\u31bf\u31c0-\u31ef"
    "\u3200-\u32ff\u3300-\u33ff\u3400-\u4db5\u4e00-\u9fbb\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\ufe10-\ufe1f"
    "\ufe30-\ufe4f\uff00-\uffef]+)"
)
# What its tokenizers/tokenizer_re.py does with the rest, after mteval-v13a.pl.
_RULES = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


def tokens_zh(text: str) -> list[str]:
    """Return the tokens of sacrebleu's tokenizer `zh`: Chinese characters one by one, the rest after mteval-v13a."""
    pieces = _CHINESE.split(text.strip())  # every second one is Chinese
    last = len(pieces) - 1
    found: list[str] = []
    for i, piece in enumerate(pieces):
        if i % 2:
            found += "".join(piece.split())
        elif piece:  # with a space towards its Chinese neighbours, as sacrebleu sets one around each character
            found += _others(" " * (i > 0) + piece + " " * (i < last))
    return found


@functools.lru_cache(maxsize=4096)  # mostly a comma or a number
def _others(text: str) -> list[str]:
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text.split()


def _sums(columns: Sequence[Sequence[int]], width: int) -> list[int]:
    return [sum(column) for column in zip(*columns, strict=True)] or [0] * width
