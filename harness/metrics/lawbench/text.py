"""Parsing of references, labels and numerals, shared by LawBench's published and repaired metrics.

Not here: scores (`published`, `repaired`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from decimal import Decimal
from typing import Any


def unframed(start: str, reference: str, end: str = "") -> str:
    """Return the text of `reference` between `start` and `end`; in `start`, ： and : are treated as equal.

    Raises ValueError if the reference does not begin with `start` and end with `end`.
    """
    if not (reference.replace("：", ":").startswith(start.replace("：", ":")) and reference.endswith(end)):
        raise ValueError(f"a reference of this task reads {start}…{end}, not {reference[:40]!r}")
    return reference[len(start) : len(reference) - len(end)]


def letter_after(start: str, reference: str, letters: str) -> str:
    """Return the one of `letters` that follows `start` in `reference`.

    Raises ValueError if none of them does.
    """
    letter = unframed(start, reference)[:1]
    if not letter or letter not in letters:
        raise ValueError(f"after {start} there must be one of {letters}, not {reference[len(start) :][:40]!r}")
    return letter


def check_label(label: str, options: Collection[str]) -> str:
    """Return `label`. Raises ValueError if it is not one of `options`."""
    if label not in options:
        raise ValueError(f"the reference {label[:40]!r} is none of the task's {len(options)} labels")
    return label


def set_f1(predicted: set[Any], expected: set[Any]) -> float:
    """Return the F1 of two sets; 0 if they share nothing."""
    hits = len(predicted & expected)
    return 2 * hits / (len(predicted) + len(expected)) if hits else 0.0


def parse_integer(digits: str) -> int:
    """Return the number that `digits` spells, however many there are; `int` refuses more than 4,300."""
    return int(Decimal(digits))


_LONG_NUMERAL = re.compile(
    r"([0-9零〇一二两三四五六七八九十百千万亿点半廿负壹贰叁肆伍陆柒捌玖拾佰仟萬億貳兩參陸]{200,})"
)


def with_arabic_numerals(text: str) -> str:
    """Return `text` with Chinese numerals as Arabic ones, as cn2an converts them; what cn2an cannot convert stays.

    Numerals of 200 characters or more stay too: cn2an takes time quadratic in their length. LawBench's published
    answers have no such numerals.
    """
    import cn2an

    with warnings.catch_warnings(action="ignore"):
        parts = _LONG_NUMERAL.split(text)  # parts at odd indexes are long numerals
        parts[::2] = [str(cn2an.transform(part, "cn2an")) for part in parts[::2]]
    return "".join(parts)
