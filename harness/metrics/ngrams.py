"""How often runs of characters or tokens stand in a text, and how many of them two texts share.

Three metrics of a generated text look at the same characters (BLEU by characters, BLEU after sacrebleu's `zh`, chrF),
so those of the last few texts are remembered.

Not here: which tokens there are, or what is made of the counts (`generation`, `corpus_bleu`).
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)
LONGEST = 6
"""Characters of the longest runs that are counted, chrF's."""


@functools.lru_cache(maxsize=4)  # a prediction and a reference, with white space and without
def of_characters(text: str) -> tuple[Counter[str], ...]:
    """Return how often each run of 1, 2 … 6 characters stands in `text`; not to be changed."""
    return tuple(
        Counter([text[i : i + order] for i in range(len(text) - order + 1)]) for order in range(1, LONGEST + 1)
    )


def of_tokens(tokens: Sequence[str], orders: int) -> tuple[Counter[tuple[str, ...]], ...]:
    """Return how often each run of 1, 2 … `orders` tokens stands in `tokens`."""
    return tuple(Counter(runs(tokens, order)) for order in range(1, orders + 1))


def runs(tokens: Sequence[str], order: int) -> list[tuple[str, ...]]:
    """Return all runs of `order` tokens, one from each place where one begins."""
    return list(zip(*(tokens[i:] for i in range(order)), strict=False))


def hits(said: Counter[T], wanted: Counter[T]) -> int:
    """Return how many runs both have, each as often as it stands in both."""
    return sum([min(said[run], wanted[run]) for run in said.keys() & wanted.keys()])
