"""The last number of a worked answer.

The patterns of lm-eval and OpenCompass for GSM8K read "1,200" as 200, "−3" as 3, and no full-width digits; these read
numbers as a person does. Numbers are exact fractions, so 0.5, 1/2 and ½ are equal.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # full-width forms of ASCII
_MINUS = dict.fromkeys(map(ord, "−﹣‐‑‒–"), "-")  # not "—", which is a dash in Chinese texts
_GROUPED = r"\d{1,3}(?:,\d{3})+(?!\d)"
_PLAIN = rf"(?:{_GROUPED}|\d+)(?:\.\d+)?|\.\d+"
# A minus is a sign if digits follow it directly and no operand precedes it: 5-3 and 5 - 3 end with 3, x = -3 with -3.
_NUMBER = re.compile(
    rf"(?P<sign>(?<![\d.)\]a-zA-Z%-])-(?=[$¥￥€£.\d]))?[$¥￥€£]?"
    rf"(?:(?P<whole>\d+) (?=\d+/\d))?(?P<top>{_PLAIN})(?:/(?P<bottom>\d+))?"
)


def last_number(text: str) -> Fraction | None:
    """Return the last number in `text`, or None if there is none.

    Supports thousands separated by commas, decimals, fractions (1/2), mixed numbers (3 1/2), currency signs before the
    digits, full-width forms and the various minus signs.
    """
    last = None
    for match in _NUMBER.finditer(_plain(text)):
        last = match
    return None if last is None else _value(last)


def is_number(text: str) -> bool:
    """Return whether `text` is one number and nothing else except white space, a % or a full stop."""
    return _NUMBER.fullmatch(re.sub(r"[%.。]\Z", "", _plain(text).strip())) is not None


def _plain(text: str) -> str:
    """Return `text` with digits, minus signs and punctuation converted to ASCII and fractions such as ½ spelled out."""
    spelled = (f" {unicodedata.normalize('NFKC', c)}" if _is_fraction(c) else c for c in text)
    return "".join(spelled).replace("\u2044", "/").translate(_WIDE).translate(_MINUS)


def _is_fraction(letter: str) -> bool:
    return unicodedata.decomposition(letter).startswith("<fraction>")


def _value(match: re.Match[str]) -> Fraction:
    value = Fraction(match["top"].replace(",", ""))
    if match["bottom"] is not None:
        denominator = int(match["bottom"])
        value = value / denominator if denominator else Fraction(0)
    value += int(match["whole"] or 0)
    return -value if match["sign"] else value
