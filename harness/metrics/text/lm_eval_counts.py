"""What a pair of texts adds to the sacrebleu scores that lm-eval aggregates: BLEU, chrF, chrF++ and TER.

The counts are sacrebleu's own sufficient statistics (numbers whose sums determine the score), one row per pair, with
the settings of lm-eval's aggregations. Several references are supported.

Not here: the scores of our own tasks (`harness.metrics.text.corpus_bleu`), scores from sums
(`harness.verdicts.stats.sums`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Counts: TypeAlias = npt.NDArray[np.float64]
References: TypeAlias = "Sequence[Sequence[str]]"
"""The references of each prediction; all predictions have the same number of references."""


def bleu(predictions: Sequence[str], references: References) -> Counts:
    """Return for each pair (prediction, references) the numbers of tokens and of runs of 1 to 4 tokens.

    The order is: tokens of the prediction, tokens of the reference, runs in both texts, runs in the prediction.
    """
    from sacrebleu.metrics.bleu import BLEU

    return _counts(BLEU(), predictions, references)


def chrf(predictions: Sequence[str], references: References, *, words: int = 0) -> Counts:
    """Return for each pair (prediction, references) the numbers of runs in the prediction, the reference, and both.

    Each of these three groups counts runs of 1 to 6 characters, then runs of 1 to `words` words.
    """
    from sacrebleu.metrics.chrf import CHRF

    counts = _counts(CHRF(word_order=words), predictions, references)
    orders = counts.reshape(len(counts), 6 + words, 3)  # sacrebleu lists the three numbers order by order
    return orders.transpose(0, 2, 1).reshape(len(counts), -1)


def ter(predictions: Sequence[str], references: References) -> Counts:
    """Return for each pair the numbers of edits and of reference tokens (the mean of several references)."""
    from sacrebleu.metrics.ter import TER

    return _counts(TER(), predictions, references)


def _counts(scorer: Any, predictions: Sequence[str], references: References) -> Counts:
    # sacrebleu has no public function for this; its own significance tests use this method.
    return np.asarray(scorer._extract_corpus_statistics(predictions, [*zip(*references, strict=True)]), dtype=float)
