"""The order in which examples are learned: a pure function of the corpora's sizes, their weights and a seed.

The next example comes from the corpus that is furthest behind its share, so that every beginning of a training has the
declared proportions, too. Each corpus is read in a random order, and in another one each time it begins again.

Shares are shares of examples, or of tokens.

Not here: the examples themselves (`harness.training.store`), and what is packed together (`harness.training.packing`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from harness.training.store import Lengths


class Place(NamedTuple):
    """An example of a corpus."""

    corpus: int
    """The number of the corpus, in the order of the mixture."""
    row: int


def order(
    lengths: Mapping[str, Lengths], shares: Mapping[str, float], seed: str, *, by_tokens: bool
) -> Iterator[Place]:
    """Yield examples without end; `lengths` has the tokens of each corpus's examples, none of which is empty.

    `shares` has the weight of each corpus, by which its examples, or with `by_tokens` its tokens, are drawn.
    """
    names = list(shares)
    total = sum(shares.values())
    share = [shares[name] / total for name in names]
    streams = [_shuffled(len(lengths[name]), f"{seed} {name}") for name in names]
    drawn = [0.0] * len(names)
    everything = 0.0
    while True:
        step = 1.0 if not by_tokens else 0.0
        corpus = max(range(len(names)), key=lambda i: share[i] * (everything + step) - drawn[i])
        row = next(streams[corpus])
        amount = float(lengths[names[corpus]][row]) if by_tokens else 1.0
        drawn[corpus] += amount
        everything += amount
        yield Place(corpus, row)


def _shuffled(count: int, seed: str) -> Iterator[int]:
    """Yield the places of `count` examples in a random order, again and again, each time in another order."""
    digest = hashlib.sha256(seed.encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
    while True:
        yield from map(int, rng.permutation(count))
