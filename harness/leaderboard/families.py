"""Families of scores: the columns of the page before a reader unfolds them.

A family is one headline score, or several whose names begin alike (`lawbench_1_1`, `lawbench_1_2`, …), where there are
more headline scores than fit on a screen.

Not here: averages over a family, which the page computes (leaderboard/overview.js).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.leaderboard.table import Series

FITTING = 12
"""Up to this number of headline scores, each is its own family."""
FEWEST = 3
"""The smallest number of scores that are folded into one family."""


def families(columns: Sequence[Series]) -> list[dict[str, Any]]:
    """Return the families of the headline `columns`, in their order: a name and the numbers of the columns."""
    if len(columns) <= FITTING:
        return [{"name": column.key.task, "columns": [number]} for number, column in enumerate(columns)]
    beginnings: dict[str, list[int]] = {}
    for number, column in enumerate(columns):
        beginnings.setdefault(column.key.task.split("_")[0], []).append(number)
    result = []
    for name, numbers in beginnings.items():
        if len({columns[number].key.task for number in numbers}) >= FEWEST:
            result.append({"name": name, "columns": numbers})
        else:
            result += [{"name": columns[number].key.task, "columns": [number]} for number in numbers]
    return result
