"""What generated texts are like by themselves: how many say nothing, how long they are, how much they say again.

A sample's value is what a number over all texts is made of, so that it can be had of any of them.

Not here: how near a text comes to a reference (`generation`, `corpus_bleu`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.metrics.text import ngrams


def empty(text: str) -> float:
    """Return 1 if there is nothing but white space in `text`, else 0."""
    return float(not text.strip())


def lengths(prediction: str, reference: str) -> tuple[int, int]:
    """Return the characters of both, white space at the ends left out; their sums' ratio is the length ratio."""
    return len(prediction.strip()), len(reference.strip())


def distinct(texts: Iterable[Sequence[str]], order: int) -> float:
    """Return distinct-1 or distinct-2 of `texts`, each a list of words.

    The number of different runs of `order` words in all texts together by the number of words in all of them, as Li et
    al. 2016 ("A Diversity-Promoting Objective Function for Neural Conversation Models", section 5.2) scale both; others
    divide distinct-2 by the number of pairs, of which each text has one less. A run never reaches from one text into
    the next. 0 where nothing is said. It falls as texts are added, so compare it over the same documents only.
    """
    different: set[tuple[str, ...]] = set()
    words = 0
    for text in texts:
        different.update(ngrams.runs(text, order))
        words += len(text)
    return len(different) / words if words else 0.0
