"""Corpus metrics computed from sums of documents' sufficient statistics, for many corpora at once.

Every function takes an array with one corpus per row and returns one number per row, in the metric's own unit and
direction. If a metric is undefined for a corpus, for example because resampling left no expected type, the result is
0, as the metrics themselves define it.

Not here: the statistics of one document (`harness.verdicts.stats.forms`).
"""

from __future__ import annotations

import math

import numpy as np

from harness.metrics.text.corpus_bleu import BETA
from harness.verdicts.stats.means import Array

_LARGEST = 700.0
"""Largest exponent that is used: exp of it is finite, so that a finite number replaces an infinite perplexity."""


def ratio(sums: Array) -> Array:
    """Return numerator / denominator, the two columns of `sums`, or 0 where the denominator is 0."""
    return _quotient(sums[:, 0], sums[:, 1])


def percentage(sums: Array) -> Array:
    """Return numerator / denominator in percent; `sums` has these two columns, as for `ratio`."""
    return 100 * ratio(sums)


def perplexity(sums: Array) -> Array:
    """Return exp(-mean log-likelihood) from two columns: log-likelihood, and the number of units for the mean."""
    return np.exp(np.minimum(-ratio(sums), _LARGEST))


def bits(sums: Array) -> Array:
    """Return bits per byte from two columns: log-likelihood (natural logarithm) and number of bytes."""
    return -ratio(sums) / math.log(2)


def bleu(sums: Array) -> Array:
    """Return BLEU with exponential smoothing, as sacrebleu's `compute_bleu`, from 0 to 100.

    The input has 10 columns: predicted tokens, expected tokens, four of matching n-grams (n = 1 to 4), and four of
    predicted n-grams.
    """
    predicted, expected, correct, total = sums[:, 0], sums[:, 1], sums[:, 2:6], sums[:, 6:10]
    logs, halvings = np.zeros(len(sums)), np.zeros(len(sums))
    for order in range(4):
        matches, ngrams = correct[:, order], total[:, order]
        halvings += (matches == 0) & (ngrams > 0)
        smoothed = np.where(matches > 0, matches, 0.5**halvings)
        logs += np.log(100 * _quotient(smoothed, ngrams), out=np.full(len(sums), -np.inf), where=ngrams > 0)
    shorter = (predicted < expected) & (predicted > 0)
    brevity = np.exp(1 - np.divide(expected, predicted, out=np.ones(len(sums)), where=shorter))
    scores: Array = np.where((correct > 0).any(axis=1), brevity * np.exp(logs / 4), 0.0)
    return scores


def chrf(sums: Array) -> Array:
    """Return chrF, from 0 to 100: F2 of precision and recall, each a mean over the orders with n-grams on both sides.

    The input has three groups of columns, each with one column per order: predicted, expected and matching n-grams.
    """
    predicted, expected, correct = np.split(sums, 3, axis=1)
    used = (predicted > 0) & (expected > 0)
    orders = used.sum(axis=1)
    precision, recall = (
        _quotient(np.divide(correct, count, out=np.zeros_like(count), where=used).sum(axis=1), orders)
        for count in (predicted, expected)
    )
    return 100 * _quotient((1 + BETA**2) * precision * recall, BETA**2 * precision + recall)


def ter(sums: Array) -> Array:
    """Return edits per reference word in percent, from columns of edits and words. Edits without words give 100."""
    edits, words = sums[:, 0], sums[:, 1]
    rate: Array = np.divide(edits, words, out=(edits > 0).astype(float), where=words > 0)
    return 100 * rate


def macro_f1_of_expected(sums: Array) -> Array:
    """Return the mean F1 over the types that are expected; `sums` has columns as for `macro_f1`, by type."""
    hits, predicted, expected = np.split(sums, 3, axis=1)
    return _mean_over(_f1(hits, predicted, expected), expected > 0)


def macro_f1(sums: Array) -> Array:
    """Return the mean F1 over the labels that are predicted or expected (scikit-learn's average "macro").

    `sums` has three groups of columns, each with one column per label: hits, predictions and expectations (how often
    the label is the right one).
    """
    hits, predicted, expected = np.split(sums, 3, axis=1)
    return _mean_over(_f1(hits, predicted, expected), predicted + expected > 0)


def weighted_f1(sums: Array) -> Array:
    """Return the mean F1 over labels, weighted by how often each is expected (scikit-learn's average "weighted")."""
    hits, predicted, expected = np.split(sums, 3, axis=1)
    return _quotient((_f1(hits, predicted, expected) * expected).sum(axis=1), expected.sum(axis=1))


def micro_f1(sums: Array) -> Array:
    """Return the F1 of the pooled counts of all labels; `sums` has columns as for `macro_f1`."""
    hits, predicted, expected = (part.sum(axis=1) for part in np.split(sums, 3, axis=1))
    return _quotient(2 * hits, predicted + expected)


def matthews(sums: Array) -> Array:
    """Return Matthews' correlation coefficient for any number of labels (Gorodkin 2004)."""
    hits, predicted, expected = np.split(sums, 3, axis=1)
    total = expected.sum(axis=1)
    covariance = hits.sum(axis=1) * total - (predicted * expected).sum(axis=1)
    variances = (total**2 - (predicted**2).sum(axis=1)) * (total**2 - (expected**2).sum(axis=1))
    return _quotient(covariance, np.sqrt(np.maximum(variances, 0.0)))


def _f1(hits: Array, predicted: Array, expected: Array) -> Array:
    return _quotient(2 * hits, predicted + expected)


def _mean_over(values: Array, used: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Array:
    return _quotient((values * used).sum(axis=1), used.sum(axis=1))


def _quotient(numerator: Array, denominator: np.ndarray[tuple[int, ...], np.dtype[np.float64 | np.int64]]) -> Array:
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator != 0)
