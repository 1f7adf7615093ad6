"""Whether a function takes time proportional to the length of its text, measured so that a busy machine fails nothing.

A growth is a ratio of processor times in one process: the longer text may take up to four times its share. Another
process may disturb a measurement, so the best of a few counts. Quadratic work fails each of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SLACK = 4
ATTEMPTS = 4
UNMEASURABLE = 1e-3
"""Seconds that are too short for a ratio."""


def is_proportional(read: Callable[[str], object], piece: str, short: int, long: int) -> bool:
    """Return whether `long` times a piece takes `read` at most four times as long as its length would ask.

    No text is read twice, since results may be cached.
    """
    return any(_ratio(read, piece, short, long, attempt) <= SLACK * long / short for attempt in range(ATTEMPTS))


def _ratio(read: Callable[[str], object], piece: str, short: int, long: int, attempt: int) -> float:
    least = min(_seconds(read, piece * (short + 3 * attempt + repeat)) for repeat in range(3))
    return _seconds(read, piece * (long + attempt)) / max(least, UNMEASURABLE)


def _seconds(read: Callable[[str], object], text: str) -> float:
    started = time.process_time()
    read(text)
    return time.process_time() - started
