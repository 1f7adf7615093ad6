"""Corpus metrics of many corpora at once: from sums of documents' sufficient statistics to the metric of each.

Every function takes an array of a corpus a row, and returns one number a row, in the metric's own unit and direction.
A corpus of which a metric is not defined, as of one that resampling left without a wanted type, has 0, as the metrics
themselves say.

Not here: what a document adds (`harness.verdicts.stats.forms`).
"""

from __future__ import annotations

import math

import numpy as np

from harness.metrics.text.corpus_bleu import BETA
from harness.verdicts.stats.means import Array

_LARGEST = 700.0
"""The largest exponent that is no infinity yet: a perplexity that is none stays a number that can be subtracted."""


def ratio(sums: Array) -> Array:
    """Return numerators by denominators, 0 where these are 0: of (numerator, denominator)."""
    return _divided(sums[:, 0], sums[:, 1])


def percentage(sums: Array) -> Array:
    """Return `ratio` in percent."""
    return 100 * ratio(sums)


def perplexity(sums: Array) -> Array:
    """Return e to the power of minus the mean log-likelihood: of (log-likelihood, what it is over)."""
    return np.exp(np.minimum(-ratio(sums), _LARGEST))


def bits(sums: Array) -> Array:
    """Return bits by what they are over: of (log-likelihood, bytes)."""
    return -ratio(sums) / math.log(2)


def bleu(sums: Array) -> Array:
    """Return BLEU, exponentially smoothed, as sacrebleu's `compute_bleu`, from 0 to 100.

    Of (tokens said, tokens wanted, runs of 1 to 4 tokens that both have, such runs that were said).
    """
    said, wanted, correct, total = sums[:, 0], sums[:, 1], sums[:, 2:6], sums[:, 6:10]
    logs, halvings = np.zeros(len(sums)), np.zeros(len(sums))
    for order in range(4):
        right, all_of = correct[:, order], total[:, order]
        halvings += (right == 0) & (all_of > 0)
        smoothed = np.where(right > 0, right, 0.5**halvings)
        logs += np.log(100 * _divided(smoothed, all_of), out=np.full(len(sums), -np.inf), where=all_of > 0)
    shorter = (said < wanted) & (said > 0)
    brevity = np.exp(1 - np.divide(wanted, said, out=np.ones(len(sums)), where=shorter))
    found: Array = np.where((correct > 0).any(axis=1), brevity * np.exp(logs / 4), 0.0)
    return found


def chrf(sums: Array) -> Array:
    """Return chrF, from 0 to 100: of runs said, wanted and shared, each for as many orders.

    F2 of the mean precision and the mean recall over the orders of which both sides have runs.
    """
    said, wanted, correct = np.split(sums, 3, axis=1)
    used = (said > 0) & (wanted > 0)
    orders = used.sum(axis=1)
    precision, recall = (
        _divided(np.divide(correct, below, out=np.zeros_like(below), where=used).sum(axis=1), orders)
        for below in (said, wanted)
    )
    return 100 * _divided((1 + BETA**2) * precision * recall, BETA**2 * precision + recall)


def ter(sums: Array) -> Array:
    """Return edits by words of the reference, in percent: 100 where words were said and none are wanted."""
    edits, wanted = sums[:, 0], sums[:, 1]
    rate: Array = np.divide(edits, wanted, out=(edits > 0).astype(float), where=wanted > 0)
    return 100 * rate


def macro_f1_of_wanted(sums: Array) -> Array:
    """Return the mean F1 over the types that are wanted: of hits, said and wanted, each for all types."""
    hits, said, wanted = np.split(sums, 3, axis=1)
    return _mean_over(_f1(hits, said, wanted), wanted > 0)


def macro_f1(sums: Array) -> Array:
    """Return the mean F1 over the labels that were said or wanted (scikit-learn's average "macro")."""
    hits, said, wanted = np.split(sums, 3, axis=1)
    return _mean_over(_f1(hits, said, wanted), said + wanted > 0)


def weighted_f1(sums: Array) -> Array:
    """Return the mean F1 over labels, each as often as it is wanted (scikit-learn's average "weighted")."""
    hits, said, wanted = np.split(sums, 3, axis=1)
    return _divided((_f1(hits, said, wanted) * wanted).sum(axis=1), wanted.sum(axis=1))


def micro_f1(sums: Array) -> Array:
    """Return the F1 of all labels together."""
    hits, said, wanted = (part.sum(axis=1) for part in np.split(sums, 3, axis=1))
    return _divided(2 * hits, said + wanted)


def matthews(sums: Array) -> Array:
    """Return Matthews' correlation for any number of labels (Gorodkin 2004): of hits, said and wanted of each."""
    hits, said, wanted = np.split(sums, 3, axis=1)
    total = wanted.sum(axis=1)
    above = hits.sum(axis=1) * total - (said * wanted).sum(axis=1)
    spread = (total**2 - (said**2).sum(axis=1)) * (total**2 - (wanted**2).sum(axis=1))
    return _divided(above, np.sqrt(np.maximum(spread, 0.0)))


def _f1(hits: Array, said: Array, wanted: Array) -> Array:
    return _divided(2 * hits, said + wanted)


def _mean_over(values: Array, used: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Array:
    return _divided((values * used).sum(axis=1), used.sum(axis=1))


def _divided(above: Array, below: np.ndarray[tuple[int, ...], np.dtype[np.float64 | np.int64]]) -> Array:
    return np.divide(above, below, out=np.zeros(above.shape), where=below != 0)
