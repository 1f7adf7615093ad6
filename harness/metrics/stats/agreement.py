"""Agreement between raters: Krippendorff's alpha.

Alpha is 1 minus the disagreement within items divided by the disagreement expected if the same ratings were spread over
the items at random. It supports any number of raters, and items that not every rater rated. Krippendorff 2011,
"Computing Krippendorff's Alpha-Reliability"; 2019, *Content Analysis*, ch. 12.

Not here: averages of ratings (`harness.metrics.stats.estimates`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

Level = Literal["nominal", "ordinal", "interval"]


def alpha(items: Iterable[Sequence[float]], level: Level = "interval") -> float:
    """Return Krippendorff's alpha of `items`, each the ratings of one item.

    `level` defines the distance of two ratings: 1 if they differ (nominal), the square of the number of ranks between
    them (ordinal), or the square of their difference (interval). 1 is perfect agreement, 0 is agreement by chance, and
    below 0 is systematic disagreement. NaN if no item has two ratings or all ratings are equal.
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
    """Return the sum of the distances between all ordered pairs of the ratings in `counts` (rating → frequency)."""
    return math.fsum(m * n * distance(a, b) for a, m in counts.items() for b, n in counts.items())


def _distance(level: Level, counts: Counter[float]) -> Callable[[float, float], float]:
    if level == "nominal":
        return lambda a, b: float(a != b)
    if level == "interval":
        return lambda a, b: (a - b) ** 2
    # Equal ratings share their ranks: the place of a rating is the middle of its ranks.
    below, places = 0, {}
    for rating in sorted(counts):
        places[rating] = below + counts[rating] / 2
        below += counts[rating]
    return lambda a, b: (places[a] - places[b]) ** 2
