"""How far raters agree.

Krippendorff's alpha (2011, "Computing Krippendorff's Alpha-Reliability"; 2019, *Content Analysis*, ch. 12): 1 less the
disagreement within items by that expected of the same ratings spread over items at random. It bears any number of
raters, and items that not all of them rated.

Not here: averages of ratings (`aggregate`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

Level = Literal["nominal", "ordinal", "interval"]


def alpha(items: Iterable[Sequence[float]], level: Level = "interval") -> float:
    """Return Krippendorff's alpha of `items`, each the ratings that one item got.

    `level` says what a difference means: none but being different, ranks between, or the square of the difference.
    1 is perfect agreement, 0 what chance gives, below 0 is systematic disagreement. NaN where no item has two ratings,
    or where all ratings are equal, which tells nothing.
    """
    paired = [list(ratings) for ratings in items if len(ratings) > 1]
    counts = Counter(rating for ratings in paired for rating in ratings)
    if len(counts) < 2:
        return math.nan
    distance, total = _distance(level, counts), counts.total()
    observed = math.fsum(_disagreement(Counter(ratings), distance) / (len(ratings) - 1) for ratings in paired)
    expected = _disagreement(counts, distance) / (total - 1)
    return 1 - observed / expected


def _disagreement(counts: Counter[float], distance: Callable[[float, float], float]) -> float:
    """Return the sum of the distances between all ordered pairs of ratings."""
    return math.fsum(m * n * distance(a, b) for a, m in counts.items() for b, n in counts.items())


def _distance(level: Level, counts: Counter[float]) -> Callable[[float, float], float]:
    if level == "nominal":
        return lambda a, b: float(a != b)
    if level == "interval":
        return lambda a, b: (a - b) ** 2
    # Ranks are shared by equal ratings: a rating stands at the middle of its own.
    below, places = 0, {}
    for rating in sorted(counts):
        places[rating] = below + counts[rating] / 2
        below += counts[rating]
    return lambda a, b: (places[a] - places[b]) ** 2
