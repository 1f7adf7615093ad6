"""What a pair of texts adds to the corpus scores that lm-eval has sacrebleu compute: BLEU, chrF, chrF++ and TER.

These are sacrebleu's own sufficient statistics, one row a pair, of the settings that lm-eval's aggregations call it
with, several references included. Their sums make the corpus score.

Not here: the scores that our own tasks report (`harness.metrics.text.corpus_bleu`), or what sums are worth
(`harness.verdicts.stats.sums`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Counts: TypeAlias = npt.NDArray[np.float64]
References: TypeAlias = "Sequence[Sequence[str]]"
"""Each prediction's references, all of them equally many."""


def bleu(predictions: Sequence[str], references: References) -> Counts:
    """Return tokens said and wanted, and of runs of 1 to 4 those that both have and those of the prediction."""
    from sacrebleu.metrics.bleu import BLEU

    return _counted(BLEU(), predictions, references)


def chrf(predictions: Sequence[str], references: References, *, words: int = 0) -> Counts:
    """Return said, wanted and shared runs of 1 to 6 characters, then those of 1 to `words` words."""
    from sacrebleu.metrics.chrf import CHRF

    found = _counted(CHRF(word_order=words), predictions, references)
    orders = found.reshape(len(found), 6 + words, 3)  # sacrebleu's: an order after the other
    return orders.transpose(0, 2, 1).reshape(len(found), -1)


def ter(predictions: Sequence[str], references: References) -> Counts:
    """Return edits, and tokens of the reference, on average where there are several."""
    from sacrebleu.metrics.ter import TER

    return _counted(TER(), predictions, references)


def _counted(scorer: Any, predictions: Sequence[str], references: References) -> Counts:
    # The one call that tells what a pair adds: sacrebleu's own significance tests are made of it.
    return np.asarray(scorer._extract_corpus_statistics(predictions, [*zip(*references, strict=True)]), dtype=float)
