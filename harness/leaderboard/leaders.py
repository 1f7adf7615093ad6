"""Which scores of a column are the best: the highest, and every other that a paired test does not separate from it.

The test is that of `harness compare` between the best score and each other, on the documents that both checkpoints
answered. The p-values of a column are corrected for their number (Holm 1979), so that the probability of calling a
score worse than the best, although it is not, is at most `ALPHA` in each column.

Where two checkpoints cannot be compared document by document (a metric without a value per document, a report whose
samples were removed), scores are the best together if their intervals overlap.

Not here: which scores of a column are comparable (`harness.leaderboard.comparison`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.errors import HarnessError
from harness.leaderboard.comparison import interval
from harness.reports.report import Report, Score
from harness.verdicts import gate, pairs
from harness.verdicts.compare import Comparator

ALPHA = 0.05


class Candidate(NamedTuple):
    """A score that may be the best of its column, and the report that it comes from."""

    score: Score
    report: Report


class Leader(NamedTuple):
    """One of the best scores of a column."""

    place: int
    """The number of the candidate."""
    is_tested: bool
    """Whether a paired test compared it with the best, or it is the best; otherwise the intervals overlap."""


def leaders(candidates: Sequence[Candidate], read: pairs.Read = pairs.read_samples) -> list[Leader]:
    """Return the best of `candidates` and those not separated from it; none of a single candidate.

    All scores must be comparable and of one metric. `read` reads a report's samples.
    """
    if len(candidates) < 2:
        return []
    values = [item.score.value if item.score.higher_is_better else -item.score.value for item in candidates]
    best = max(range(len(values)), key=values.__getitem__)
    others = [place for place in range(len(values)) if place != best]
    p_values = {place: _p_value(candidates[best], candidates[place], read) for place in others}
    tested = {place: p for place, p in p_values.items() if p is not None}
    corrected = dict(zip(tested, gate.holm(list(tested.values()), [1.0] * len(tested)), strict=True))
    low, high = interval(candidates[best].score)

    def leads(place: int) -> bool:
        if place in corrected:
            return corrected[place] > ALPHA
        ends = interval(candidates[place].score)
        return ends[0] <= high and ends[1] >= low

    return [
        Leader(place, place == best or place in tested) for place in range(len(values)) if place == best or leads(place)
    ]


def _p_value(best: Candidate, other: Candidate, read: pairs.Read) -> float | None:
    """Return the two-sided p-value of "both checkpoints are equally good"; None without a paired test."""
    try:
        return Comparator(best.report, other.report, read).compare(best.score).p_value
    except HarnessError:
        return None
