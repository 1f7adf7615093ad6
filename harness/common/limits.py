"""The limit on a task's documents: how many are evaluated or, below 1, which share of them, as in lm-eval."""

from __future__ import annotations

import math

Limit = int | float
"""At least 1: the number of documents, from the first. Below 1: their share of each task's documents, rounded up."""


def documents_within(limit: Limit | None, count: int) -> int:
    """Return how many of `count` documents are evaluated: lm-eval's `get_sample_size`, but never more than `count`."""
    if limit is None:
        return count
    return min(math.ceil(count * limit) if limit < 1 else int(limit), count)


def in_words(limit: Limit) -> str:
    """Return a limit in words: `limit 1,000 per task`, `limit 0.25 of each task`."""
    return f"limit {limit:,} per task" if limit >= 1 else f"limit {limit:g} of each task"
