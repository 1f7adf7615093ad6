"""Ranking metrics of one question: recall, hit and reciprocal rank among the first k retrieved ids.

Input is a ranking of ids (the best first, each once) and the set of right ids; the result is from 0 to 1. Over
questions the metrics are averaged with equal weight per question ("macro"), so recall@k equals hit@k only if every set
of right ids has one member. Manning, Raghavan and Schütze 2008, sections 8.3 and 8.4; MRR is TREC-8's (Voorhees 1999).

A question without right ids has no score. Not here: means and intervals (`harness.metrics.stats.estimates`), retrieval
(`harness.retrieval`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def recall_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return the share of `gold` that is among the first `k` of `ranked`. Raises ValueError on invalid input."""
    expected = _checked(ranked, gold, k)
    return len(expected.intersection(ranked[:k])) / len(expected)


def hit_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return 1 if any of `gold` is among the first `k` of `ranked`, else 0. Raises ValueError on invalid input."""
    return float(not _checked(ranked, gold, k).isdisjoint(ranked[:k]))


def reciprocal_rank_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return 1 / rank of the best-ranked member of `gold`, or 0 if none is among the first `k` of `ranked`.

    Raises ValueError on invalid input.
    """
    expected = _checked(ranked, gold, k)
    return next((1 / rank for rank, name in enumerate(ranked[:k], 1) if name in expected), 0.0)


def _checked(ranked: Sequence[str], gold: Collection[str], k: int) -> frozenset[str]:
    """Return `gold` as a set. Raises ValueError if k is below 1, `gold` is empty, or `ranked` repeats an id."""
    if k < 1:
        raise ValueError(f"k is {k}, but must be at least 1")
    if not gold:
        raise ValueError("a question without right ids has no score: leave it out")
    if len(set(ranked)) < len(ranked):
        raise ValueError("an id is ranked twice")
    return frozenset(gold)
