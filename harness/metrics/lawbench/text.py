"""What LawBench's metrics and their repaired variants both read: references, labels and numerals.

Not here: what an answer is worth (`lawbench`, `lawbench_repaired`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from decimal import Decimal
from typing import Any


def inner(start: str, reference: str, end: str = "") -> str:
    """Return what of `reference` stands between `start` and `end`, where ： is as good as a colon.

    Raises ValueError where it is not so framed.
    """
    if not (reference.replace("：", ":").startswith(start.replace("：", ":")) and reference.endswith(end)):
        raise ValueError(f"a reference of this task reads {start}…{end}, not {reference[:40]!r}")
    return reference[len(start) : len(reference) - len(end)]


def behind(start: str, reference: str, letters: str) -> str:
    """Return the one of `letters` that stands in `reference` behind `start`.

    Raises ValueError where there is none.
    """
    answer = inner(start, reference)[:1]
    if not answer or answer not in letters:
        raise ValueError(f"behind {start} there must be one of {letters}, not {reference[len(start) :][:40]!r}")
    return answer


def known(label: str, options: Collection[str]) -> str:
    """Return `label`; raises ValueError where it is none of `options`."""
    if label not in options:
        raise ValueError(f"the reference {label[:40]!r} is none of the task's {len(options)} labels")
    return label


def f1(said: set[Any], wanted: set[Any]) -> float:
    """Return F1 of what is said against what is wanted."""
    hits = len(said & wanted)
    return 2 * hits / (len(said) + len(wanted)) if hits else 0.0


def integer(digits: str) -> int:
    """Return the number, of however many digits; `int` refuses more than 4,300."""
    return int(Decimal(digits))


_LONG_NUMERAL = re.compile(
    r"([0-9零〇一二两三四五六七八九十百千万亿点半廿负壹贰叁肆伍陆柒捌玖拾佰仟萬億貳兩參陸]{1000,})"
)


def arabic(text: str) -> str:
    """Return `text` with Chinese numerals as Arabic ones, as cn2an writes them; what it cannot read stays as it is.

    So does a numeral of a thousand characters, over which cn2an takes the square of its length.
    """
    import cn2an

    with warnings.catch_warnings(action="ignore"):
        parts = _LONG_NUMERAL.split(text)  # every second one is a numeral
        parts[::2] = [str(cn2an.transform(part, "cn2an")) for part in parts[::2]]
    return "".join(parts)
