"""The order in which examples are learned: a pure function of the corpora's sizes, their weights and a seed.

Every beginning of a training has the declared proportions, too: no corpus is ahead of its share, or behind it, by more
than one example or, in shares of tokens, by more tokens than the longest example has. The order is that of worst-case
fair queueing (WF2Q; Bennett and Zhang 1996): of the corpora that are not ahead of their shares, the one whose next
example would be due first.

Each corpus is read in a random order, and in another one each time it begins again.

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
    rows = [next(stream) for stream in streams]
    drawn = [0.0] * len(names)
    everything = 0.0

    def amount(corpus: int) -> float:
        return float(lengths[names[corpus]][rows[corpus]]) if by_tokens else 1.0

    while True:
        # Sums of what is drawn are exact; shares are not.
        eligible = [i for i in range(len(names)) if drawn[i] <= share[i] * everything + 1e-9 * (everything + 1)]
        corpus = min(eligible, key=lambda i: (drawn[i] + amount(i)) / share[i])
        yield Place(corpus, rows[corpus])
        drawn[corpus] += amount(corpus)
        everything += amount(corpus)
        rows[corpus] = next(streams[corpus])


def _shuffled(count: int, seed: str) -> Iterator[int]:
    """Yield the places of `count` examples in a random order, again and again, each time in another order."""
    digest = hashlib.sha256(seed.encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
    while True:
        yield from map(int, rng.permutation(count))
