"""Runs of characters or tokens: those of a text, and how many of them two texts share.

Three metrics of generated text share runs of the same characters (BLEU by characters, BLEU after sacrebleu's `zh`,
chrF), so those of the last few pairs are remembered.

Not here: which tokens there are, or what is made of the counts (`generation`, `corpus_bleu`).
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence

LONGEST = 6
"""The longest runs of characters that are counted, chrF's."""

Text = str | tuple[str, ...]
"""Characters, or tokens."""


@functools.lru_cache(maxsize=4)  # with white space and without
def shared_characters(said: str, wanted: str) -> tuple[int, ...]:
    """Return `shared` for runs of 1 to 6 characters."""
    return shared(said, wanted, LONGEST)


def shared(said: Text, wanted: Text, orders: int) -> tuple[int, ...]:
    """Return how many runs of 1, 2 … `orders` items both have, each as often as it stands in both.

    A run can be in both only where one shorter by its last item is, so each order looks at what is left of the one
    before: hardly anything after the third.
    """
    found: list[int] = []
    starts: list[Sequence[int]] = [range(len(said)), range(len(wanted))]
    for order in range(1, orders + 1):
        both = [_from(text, places, order) for text, places in zip((said, wanted), starts, strict=True)]
        first, second = (Counter(runs) for runs in both)
        common = first.keys() & second.keys()
        found.append(sum([min(first[run], second[run]) for run in common]))
        starts = [
            [place for place, run in zip(places, runs, strict=False) if run in common]
            for places, runs in zip(starts, both, strict=True)
        ]
    return tuple(found)


def _from(text: Text, places: Sequence[int], order: int) -> list[Text]:
    """Return the runs that begin at `places`, which ascend; at most the last of them lacks room for one."""
    last = len(text) - order
    return [text[place : place + order] for place in places if place <= last]


def runs(tokens: Sequence[str], order: int) -> list[tuple[str, ...]]:
    """Return all runs of `order` tokens, one from each place where one begins."""
    return list(zip(*(tokens[i:] for i in range(order)), strict=False))
