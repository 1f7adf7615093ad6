"""How much of what a question needs is among what was retrieved for it.

One question, ranked ids (the best first, none twice), and the set of ids that are right for it; a number from 0 to 1.
Over questions these are plain means, each question with its own set weighing the same ("macro"): recall@k is not
hit@k unless every set has one member. Manning, Raghavan and Schütze 2008, sections 8.3 and 8.4; MRR is TREC-8's
(Voorhees 1999).

A question without a right id has no score. Not here: means and intervals (`aggregate`), or retrieving
(`harness.retrieval.index`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def recall_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return the share of `gold` that is among the first `k` of `ranked`."""
    wanted = _checked(ranked, gold, k)
    return len(wanted.intersection(ranked[:k])) / len(wanted)


def hit_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return 1 if any of `gold` is among the first `k` of `ranked`, else 0."""
    return float(not _checked(ranked, gold, k).isdisjoint(ranked[:k]))


def reciprocal_rank_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return 1 by the place of the first of `gold` in `ranked`, counted from 1; 0 if it is not among the first `k`."""
    wanted = _checked(ranked, gold, k)
    return next((1 / place for place, one in enumerate(ranked[:k], 1) if one in wanted), 0.0)


def _checked(ranked: Sequence[str], gold: Collection[str], k: int) -> frozenset[str]:
    if k < 1:
        raise ValueError(f"k is {k}, and must be 1 or more")
    if not gold:
        raise ValueError("a question without a right id has no score: leave it out")
    if len(set(ranked)) < len(ranked):
        raise ValueError("an id is ranked twice")
    return frozenset(gold)
