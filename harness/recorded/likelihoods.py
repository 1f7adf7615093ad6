"""Checks of recorded log-likelihoods: numbers that cannot be natural logarithms of probabilities are refused.

Not here: reading log-likelihoods (`harness.recorded.formats`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

NOT_FINITE = ("with a value that is no number", "with a value that is NaN or infinite")
"""What `problem` returns for values that are not finite numbers."""
_ROUNDING = 1e-3
"""How far above 0 a sum of logarithms may be, as a result of rounding."""


def problem(values: Sequence[object]) -> str | None:
    """Return why `values` cannot be log-likelihoods of different texts, as the end of a sentence, or None."""
    numbers = [number for value in values if (number := _number(value)) is not None]
    if len(numbers) < len(values):
        return NOT_FINITE[0]
    if not all(map(math.isfinite, numbers)):
        return NOT_FINITE[1]
    highest = max(numbers, default=0.0)
    if highest > _ROUNDING:
        kind = "probabilities" if all(0 <= number <= 1 for number in numbers) else "no logarithms"
        return f"with {highest:g}, which is above 0: these are {kind}, write natural logarithms of probabilities"
    if len(numbers) > 1 and all(number == 0 for number in numbers):
        return "with nothing but zeros, so that every choice would be certain: write natural logarithms"
    return None


def _number(value: object) -> float | None:
    """Return a JSON value as a float, or None if it is not a number; numbers too large for a float become infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
