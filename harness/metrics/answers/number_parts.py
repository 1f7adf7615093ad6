"""Numbers that are parts of one statement with the number before them: compound quantities and alternatives.

3小时30分钟, 5 ft 6 in, $2 and 50 cents, an hour and 15 minutes: the smaller part alone is not the value of the
quantity. 3 or 5, 3个或5个: neither is the answer, unless both are equal (1/2 or 50%) or state one quantity in two units
(120 minutes or 2 hours); then the last one counts.

Not here: which units belong together (`harness.metrics.answers.units`).
"""

from __future__ import annotations

import re
from fractions import Fraction

from harness.metrics.answers import units
from harness.metrics.answers.number_digits import OPERATORS, Item, Span
from harness.metrics.answers.number_tokens import Kind

WHOLES = {"%": 100, "‰": 1000, "‱": 10_000}
"""The number of parts that make a whole, by sign: 100 for %."""
_LONGEST_GAP = 8
"""The most tokens between two numbers that may be parts of one statement."""
_LINK = re.compile(r"\s*(?:[,，、]?\s*(?:and|plus|&|零|又|和|加|外加|再加|另)|[,，、-])?\s*")
_ALTERNATIVE = re.compile(
    r"\s*[,，]?\s*(?:(?:and\s*/\s*)?or|或者?|抑或|还是)\s*(?:是|else|about|即)?\s*"
    r"(?:[A-Za-z]\w{0,2}\s*=\s*)?"
)
_CALENDAR = frozenset(("天", "日", "周", "星期", "个星期", "月", "个月", "年"))
_ROUNDING = Fraction(1, 100)
_SOLVED = re.compile(r"(?:^|[^\w\s^)}+*/−-]|[^\W\d]{2})\s*[^\W\d]\s*=\s*$")
"""Pattern of a lone variable before a sign of equality: x =, but not 5x = or x^2 =."""
_UNIT_BEFORE = re.compile(r"\d\s*([^\W\d]+|[′'’])[\s,，零又]*(?:and\s+)?$")
_ARITHMETIC = OPERATORS - {Kind.MINUS, Kind.PLUS_MINUS}
_ELLIPSIS = re.compile(r"\s*(?:…+|\.{2,})\s*")
_HYPHENED = re.compile(r"[-‐‑–]([A-Za-z]+)[-‐‑–,\s]*(?:and\s*)?")
_SQUARES = frozenset(("square", "sq", "cubic", "cu"))
_ONE = re.compile(
    r"(?:(?:(?:^|[^\w\s]|\b(?:is|was|be|takes?|took|for|in|of|about|needs?|lasts?|lasted|after|only|exactly|spends?"
    r"|spent|than|requires?|to|by|just|almost|nearly|equals|within|half|waits?|waited|walks?|walked|runs?|ran|drives?"
    r"|drove|adds?|added|uses?|used|sleeps?|slept))\s*\ban?|\banother)"
    r"\s+([a-z]+)\s+(?:and|plus|&)\s*"
    r"|半个?(小时|天|年|月|斤|公斤|米|公里|里)[零又])$",
    re.IGNORECASE,
)
"""Pattern of a unit with "a" instead of a number ("an hour and"), not in a rate ("8 hours a day, 40 hours a week")."""


def share(item: Item) -> Fraction | None:
    """Return the value of `item`, or None if it has none; a percentage is returned as a share (25 % as 1/4)."""
    return None if item.value is None else item.value / WHOLES.get(item.unit, 1)


def continues(span: Span, last: Item, item: Item) -> bool:
    """Return whether `item` is a further part of the quantity that `last` began, or an alternative to `last`."""
    if not last.end <= item.start <= last.end + _LONGEST_GAP:
        return False
    gap = "".join(span.text(i) if span.kind(i) is not Kind.NEWLINE else "\n" for i in range(last.end, item.start))
    if "\n" in gap:
        return False
    if _ALTERNATIVE.fullmatch(gap):
        return _is_alternative(span, last, item, gap)
    if _ELLIPSIS.fullmatch(gap):
        return True
    unit = _unit(span, item)
    if hyphened := _HYPHENED.fullmatch(gap):  # 6-foot, 2-inch
        unit = span.text(item.end + 1) if span.kind(item.end) is Kind.MINUS else unit
        return units.is_one_quantity(hyphened[1], unit)
    if last.unit in _SQUARES and unit == last.unit:  # 5 square feet 20 square inches
        return _LINK.fullmatch(gap.lstrip().lstrip("abcdefghijklmnopqrstuvwxyz")) is not None
    if gap.startswith(".") and units.is_abbreviation(last.unit):  # 1 hr. 30 min.
        gap = gap[1:]
    if not gap.strip() and span.text(last.start) == "一" and last.unit in _CALENDAR:  # 一天8小时: a rate
        return False
    is_linked, is_blank = _LINK.fullmatch(gap) is not None, not gap.strip()
    if not is_linked:
        return False
    if units.is_one_quantity(last.unit, unit) or (is_blank and units.is_one_quantity(unit, last.unit)):
        return True
    if last.unit in units.DOZENS:
        return True
    if not last.unit and span.is_priced(last.start) and unit.lower() in units.CENTS:
        return True
    return is_blank and not unit and (units.is_continued(last.unit, is_glued=not gap) or last.unit in WHOLES)


def _is_alternative(span: Span, last: Item, item: Item, gap: str) -> bool:
    """Return whether `item`, after `last` and "or", is a different value rather than the same quantity said again."""
    before = _text_before(span, last.start)
    if span.kind(span.after_spaces(item.end)) is Kind.RELATION:  # x = 100/5 or 20 = x
        return False
    if "=" in gap and not _SOLVED.search(before):  # 5x = 100 or x = 20; not x = 3 or x = 5
        return False
    if last.value is None and any(span.kind(i) in _ARITHMETIC for i in range(last.start, last.end)):
        return False  # 20 * 16, or 320
    unit, next_unit = (_unit(span, each) or ("$" if span.is_priced(each.start) else "") for each in (last, item))
    if unit and next_unit:
        is_compound = units.is_one_quantity(_unit_before(before), unit)  # 1 hour 30 minutes or 90 minutes
        if is_compound or not units.is_same(unit, next_unit):
            return False
    first, second = share(last), share(item)
    if first is None or second is None:
        return True
    is_rounded = (last.unit in WHOLES) != (item.unit in WHOLES) and abs(first - second) < _ROUNDING  # 1/3 or 33%
    return first != second and not is_rounded


def _unit_before(before: str) -> str:
    """Return the unit at the end of the text `before` a number: "hour" in "1 hour and "."""
    match = _UNIT_BEFORE.search(before)
    return match[1] if match else ""


def _text_before(span: Span, stop: int, count: int = _LONGEST_GAP + 4) -> str:
    """Return the text of the `count` tokens before token `stop`, with long tokens cut."""
    return "".join(span.text(i)[-12:] for i in range(stop - count, stop))


def follows_unit(span: Span, item: Item) -> bool:
    """Return whether a greater unit with "a" or 半 stands before the number `item`: an hour and 15 minutes."""
    match = _ONE.search(_text_before(span, item.start))
    return match is not None and units.is_one_quantity(match[1] or match[2], _unit(span, item))


def _unit(span: Span, item: Item) -> str:
    """Return the unit of the number `item`, which may be "in". Empty if the word after it is no unit: 6 feet 2 tall."""
    if not item.unit and span.text(span.after_spaces(item.end)) == "in":
        return "in"
    return "" if item.unit.lower() in units.NO_UNITS else item.unit
