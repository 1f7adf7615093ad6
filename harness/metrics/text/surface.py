"""Properties of generated texts without a reference: empty answers, lengths, distinct-n.

Each function that takes one answer returns what this answer adds to the number over all answers.

Not here: similarity to a reference (`overlap`, `corpus_bleu`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.metrics.text import ngrams


def empty(text: str) -> float:
    """Return 1 if `text` has nothing but white space, else 0."""
    return float(not text.strip())


def lengths(prediction: str, reference: str) -> tuple[int, int]:
    """Return the lengths of both texts in characters, without white space at their ends.

    The ratio of the sums of both lengths over all samples is the length ratio.
    """
    return len(prediction.strip()), len(reference.strip())


def distinct(texts: Iterable[Sequence[str]], order: int) -> float:
    """Return distinct-1 or distinct-2 of `texts`, each a list of words; 0 if there are no words.

    It is the number of different runs of `order` words in all texts, divided by the number of words in all texts, as in
    Li et al. 2016 ("A Diversity-Promoting Objective Function for Neural Conversation Models", section 5.2), who divide
    both distinct-1 and distinct-2 by words; others divide distinct-2 by the number of pairs, which is one less per
    text. No run crosses from one text into the next. The number falls as texts are added, so compare it only over the
    same documents.
    """
    different: set[tuple[str, ...]] = set()
    words = 0
    for text in texts:
        different.update(ngrams.runs(text, order))
        words += len(text)
    return len(different) / words if words else 0.0
