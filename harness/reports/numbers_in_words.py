"""Numbers as texts for people, in a terminal and on a page: scores with their intervals, counts, sizes, times."""

from __future__ import annotations

import math
from collections.abc import Collection

from harness.reports.report import Score


def value(score: Score) -> str:
    """Return the value of `score`: 45.3 for a fraction of 0.453; other values have four significant digits."""
    return _written(score.value, score)


def interval(score: Score) -> str:
    """Return the 95 % interval of `score` with as many decimals as the score: 43.1–47.5. Empty if it has none."""
    if score.low is None or score.high is None:
        return ""
    dash = " to " if score.low < 0 else "–"
    return f"{_written(score.low, score)}{dash}{_written(score.high, score)}"


def bound(number: float, score: Score) -> str:
    """Return `number` with as many decimals as `score`: 25.0. It is the chance or the ceiling of `score`."""
    return _written(number, score)


def change(number: float, score: Score) -> str:
    """Return `number`, a difference of two scores, with its sign: +1.2, −34.4. Fractions are in percentage points."""
    text = _written(number, score)
    if not text.strip("−0.,"):
        return text.removeprefix("−")
    return text if number < 0 else f"+{text}"


def short_bound(number: float, score: Score) -> str:
    """Return `number` as `bound` does, without trailing zeros, for use in a sentence: 25."""
    text = _written(number, score)
    return text.rstrip("0").rstrip(".") if "." in text else text


def parameters(count: int | None) -> str:
    """Return a model's number of parameters: 7.6 B. If the number is not known, return a dash."""
    if count is None:
        return "–"
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}\N{NO-BREAK SPACE}{unit}"
    return str(count)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in singular or plural: `1 document`, `1,346 documents`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def first_and_count(names: Collection[str], noun: str) -> str:
    """Return the first of `names` and the number of the others: `law`, `law and 51 more tasks`."""
    first, others = next(iter(names)), len(names) - 1
    return f"{first} and {counted(others, f'more {noun}')}" if others else first


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: 1 h 12 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def memory(count: int) -> str:
    """Return a number of bytes in GiB or MiB: 14.2 GiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _written(number: float, score: Score) -> str:
    """Return `number` in the unit of `score`, with as many digits as the score, so that an interval's ends line up."""
    if score.fraction:
        text = f"{100 * number:.1f}"
    else:
        size = math.floor(math.log10(abs(score.value))) if score.value else 0
        text = f"{number:,.{min(max(3 - size, 0), 4)}f}"
    return text.replace("-", "−")
