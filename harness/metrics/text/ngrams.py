"""Runs of consecutive characters or tokens (n-grams): those of one text, and how many two texts share.

BLEU over characters, BLEU with sacrebleu's `zh` and chrF need the shared runs of the same two texts, so the results for
the last few pairs are cached.

Not here: tokenisation, or scores from the counts (`overlap`, `corpus_bleu`).
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence

LONGEST = 6
"""Length of the longest runs of characters that are counted; chrF needs runs of 6."""

Text = str | tuple[str, ...]
"""A text as characters or as tokens."""


@functools.lru_cache(maxsize=4)  # two texts, with and without white space
def shared_characters(prediction: str, reference: str) -> tuple[int, ...]:
    """Return how many runs of 1 to 6 characters both texts have, as `shared` counts them."""
    return shared(prediction, reference, LONGEST)


def shared(prediction: Text, reference: Text, orders: int) -> tuple[int, ...]:
    """Return how many runs of 1, 2 … `orders` items both texts have; a repeated run counts as often as both have it.

    A run can be shared only if the run without its last item is shared, so for each length only the places of shorter
    shared runs are looked at; after length three, hardly any are left.
    """
    result: list[int] = []
    starts: list[Sequence[int]] = [range(len(prediction)), range(len(reference))]
    for order in range(1, orders + 1):
        both = [_runs_at(text, places, order) for text, places in zip((prediction, reference), starts, strict=True)]
        first, second = (Counter(runs) for runs in both)
        common = first.keys() & second.keys()
        result.append(sum([min(first[run], second[run]) for run in common]))
        starts = [
            [place for place, run in zip(places, runs, strict=False) if run in common]
            for places, runs in zip(starts, both, strict=True)
        ]
    return tuple(result)


def _runs_at(text: Text, places: Sequence[int], order: int) -> list[Text]:
    """Return the runs of `order` items that begin at `places`. Places too near the end of the text are left out."""
    last = len(text) - order
    return [text[place : place + order] for place in places if place <= last]


def runs(tokens: Sequence[str], order: int) -> list[tuple[str, ...]]:
    """Return all runs of `order` tokens, from left to right."""
    return list(zip(*(tokens[i:] for i in range(order)), strict=False))
