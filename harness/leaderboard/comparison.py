"""Of a column of the leaderboard: what its checkpoints were asked, and which numbers are the best within noise.

What most checkpoints of a column were asked is the column's reference; whoever was asked something else differs from it
in ways that can be said in words (`harness.verdicts.comparable`).

Not here: paired tests. Two overlapping intervals do not prove equality; `harness compare` decides with paired samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Literal

from harness.reports.report import Report, Score
from harness.verdicts.comparable import Conditions, signature

Standing = Literal["at chance", "worse than chance", ""]


def descendants(report: Report, name: str) -> set[str]:
    """Return the names of all groups and tasks below the group `name`, as results.json has them."""
    groups = report.results.get("group_subtasks")
    found: set[str] = set()
    waiting = [name]
    while waiting and isinstance(groups, dict):
        children = groups.get(waiting.pop()) or []
        fresh = {str(child) for child in children} - found if isinstance(children, list) else set()
        found |= fresh
        waiting.extend(fresh)
    return found


def reference(column: Sequence[Conditions]) -> Conditions:
    """Return what most of `column` were asked; of equally frequent ones that with most documents, then the first.

    `column` must not be empty.
    """
    count = Counter(signature(one) for one in column)
    return max(column, key=lambda one: (count[signature(one)], one.documents))


def leaders(scores: Collection[Score]) -> list[Score]:
    """Return the best of `scores` and every one whose interval overlaps the best's; nothing for fewer than two.

    Where a score has no interval its value stands for it. `scores` are of one metric and may be compared.
    """
    if len(scores) < 2:
        return []
    higher = next(iter(scores)).higher_is_better
    best = max(scores, key=lambda score: score.value if higher else -score.value)
    low, high = interval(best)
    return [score for score in scores if interval(score)[0] <= high and interval(score)[1] >= low]


def interval(score: Score) -> tuple[float, float]:
    """Return the ends of the 95 % interval of `score`; its value twice where it has none."""
    return (
        score.value if score.low is None else score.low,
        score.value if score.high is None else score.high,
    )


def bounds(scores: Sequence[Score]) -> tuple[float | None, float | None]:
    """Return chance and ceiling of `scores`, which may be compared: what the first says that says anything."""
    chances = (score.chance for score in scores if score.chance is not None)
    ceilings = (score.ceiling for score in scores if score.ceiling is not None)
    return next(chances, None), next(ceilings, None)


def standing(score: Score, chance: float | None) -> Standing:
    """Return whether `score` is no better than `chance`, as far as its interval tells; nothing where it is."""
    if chance is None:
        return ""
    low, high = interval(score)
    if low > chance if score.higher_is_better else high < chance:
        return ""
    worse = high < chance if score.higher_is_better else low > chance
    return "worse than chance" if worse and score.low is not None else "at chance"
