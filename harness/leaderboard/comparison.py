"""Comparing the scores in one column of the leaderboard: the reference conditions, and chance.

The reference conditions of a column are those (documents, prompts, versions) under which most of its checkpoints were
evaluated. A checkpoint evaluated under other conditions is marked with the differences between them
(`harness.verdicts.comparable`).

Not here: which scores are the best (`harness.leaderboard.leaders`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from harness.reports.report import Report, Score
from harness.verdicts.comparable import Conditions, signature

Standing = Literal["at chance", "worse than chance", ""]


def descendants(report: Report, name: str) -> set[str]:
    """Return the names of all groups and tasks at any depth below the group `name` in the report's results.json."""
    groups = report.results.get("group_subtasks")
    result: set[str] = set()
    waiting = [name]
    while waiting and isinstance(groups, dict):
        children = groups.get(waiting.pop()) or []
        fresh = {str(child) for child in children} - result if isinstance(children, list) else set()
        result |= fresh
        waiting.extend(fresh)
    return result


def reference(column: Sequence[Conditions]) -> Conditions:
    """Return the most frequent conditions in `column`, which must not be empty.

    If several are equally frequent, those with the most documents are returned. If these are still several, the first
    of them are.
    """
    count = Counter(map(signature, column))
    return max(column, key=lambda conditions: (count[signature(conditions)], conditions.documents))


def interval(score: Score) -> tuple[float, float]:
    """Return both ends of the 95 % interval of `score`. If it has no interval, both ends are its value."""
    return (
        score.value if score.low is None else score.low,
        score.value if score.high is None else score.high,
    )


def bounds(scores: Sequence[Score]) -> tuple[float | None, float | None]:
    """Return chance and ceiling, each from the first of `scores` that states it. `scores` must be comparable."""
    chances = (score.chance for score in scores if score.chance is not None)
    ceilings = (score.ceiling for score in scores if score.ceiling is not None)
    return next(chances, None), next(ceilings, None)


def standing(score: Score, chance: float | None) -> Standing:
    """Return how `score` compares with `chance`. The text is empty if the whole interval of `score` is better."""
    if chance is None:
        return ""
    low, high = interval(score)
    if low > chance if score.higher_is_better else high < chance:
        return ""
    worse = high < chance if score.higher_is_better else low > chance
    return "worse than chance" if worse and score.low is not None else "at chance"
