"""The words around a number that make it something other than a value: dates, bounds, ranges, operations, denials.

`is_value` looks at the number that decides an answer, and at a bounded stretch of its line on either side. These state
no value: a part of a date or time of day with several parts, a bound marked by a sign of inequality, the end of a
range, an operand, a denied number. Bounds in words (at least 5, 超过5) and approximations (≈5, 约5) are values, because
they answer a question for a value.

Not here: compound quantities and alternatives (`harness.metrics.answers.number_parts`), and operators that the grammar
reads (`harness.metrics.answers.number_grammar`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.metrics.answers.number_digits import Item
from harness.metrics.answers.number_tokens import Kind, Token
from harness.metrics.answers.units import NO_UNITS, ORDINALS

_REACH = 40
"""The number of tokens that are looked at on either side of a number."""
_LONGEST_TOKEN = 40

# -- words

_N = (
    r"(?:\d[\d.,]{0,12}|[½¼¾⅓⅔]|(?<![一-鿿])[零〇一二两三四五六七八九十百千万]{1,6}"
    r"|\b(?i:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen"
    r"|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million)\b)"
)
_MONTH_NAMES = (
    "January|February|March|April|May|June|July|August|September|October|November|December"
    "|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec"
)
_MONTH = rf"(?<![A-Za-z])(?i:{_MONTH_NAMES})(?![A-Za-z])\.?"
_WEEKDAY = r"(?<![A-Za-z])(?i:mon|tues|wednes|thurs|fri|satur|sun)day(?![A-Za-z])"
_ORDINAL_WORDS = (
    r"(?:(?:twenty|thirty)[ -])?(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)|tenth|eleventh|twelfth"
    r"|(?:thir|four|fif|six|seven|eigh|nine)teenth|twentieth|thirtieth"
)
_DAY = rf"(?:\d{{1,2}}(?:st|nd|rd|th)?|(?i:{_ORDINAL_WORDS}))"
_OF = r"(?:(?i:of|in)\s+)?"
_DATE = (
    rf"(?:{_MONTH}\s*(?:(?i:the)\s+)?{_DAY}|{_DAY}\s*(?:(?i:of)\s+)?{_MONTH}|\d月\s?[\d一二三四五六七八九十]+[日号]?)"
)

# -- what stands before a number

_BEFORE_DAY = re.compile(rf"{_MONTH}\s*(?:(?i:the)\s+)?$")
_BEHIND_WEEKDAY = re.compile(rf"{_WEEKDAY},?\s+(?:(?i:the)\s+)?$")
_COUNT_BEHIND = re.compile(r"\s*(?i:were|are|have|had|will|would|remain(?:ed)?|came|left|sold|more|other|of)\b")
_BEFORE_YEAR = re.compile(
    rf"(?:{_MONTH}\s*,?\s*{_OF}['’]?|{_DATE}\s*,?\s*{_OF}['’]?|\bQ[1-4]\s*,?\s*{_OF}"
    rf"|\b(?i:spring|summer|autumn|fall|winter|quarter)\s+(?:(?i:of)\s+)?)$"
)
_BEFORE_TIME = re.compile(rf"(?:{_DATE}\D{{0,12}}|(?<![\d.,])\d{{1,2}}\s)$")
_TIME_UNITS = frozenset(("点", "点钟", "时", "點", "點鐘", "時"))
_OF_YEAR = re.compile(r"\d年\s?第?$")
_PAST = re.compile(rf"(?:(?i:half|{_N})\s+(?i:past)|(?i:quarter|minutes?|mins?)\s+(?i:past|to|till|after|before))\s+$")
_SIGN = (
    r"(?:[≠≢≥≤≧≦⩾⩽≪≫≮≯≰≱≲≳≶≷∉≁∝]|(?<![-=—–~<>])(?:>=|<=|=<|<>|[<>＜＞])|(?<![\d)\]}])!=|=/=|&(?:lt|gt|le|ge|ne|#6[02]);|\\not\s*=|/="
    r"|\\(?:leqslant|geqslant|leqq|geqq|leq|geq|le|ge|neq|ne|lt|gt|ll|gg|nless|ngtr|nleq|ngeq|lesssim|gtrsim|notin)"
    r"(?![A-Za-z]))"
)
_BEHIND_SIGN = re.compile(rf"{_SIGN}\s*[(（]?\s*(?:(?i:about|approximately)\s|[约~≈])?\s*$")
_BEHIND_TAG = re.compile(r"<\s*[/|!]?[A-Za-z][^<>]*>\s*[(（]?\s*$")
_QUOTATION = re.compile(r"\s*>[>\s]*$")
_COUNTED = rf"[$£€¥]?\s*{_N}(?:\s?[^\W\d]{{1,12}}){{0,2}}?"
_BETWEEN = re.compile(
    rf"(?:(?<![A-Za-z])(?i:between)\s+(?:[^\W\d]+\s+){{0,2}}{_COUNTED}\s*(?:\s(?i:and|or|to)|[&-])"
    rf"|(?<![A-Za-z])(?i:sum|product|difference|quotient|average|mean|gcd|lcm)\s+(?i:of|between)\s+(?:[^\W\d]+\s+){{0,2}}"
    rf"{_COUNTED}(?:\s*,\s*{_COUNTED})*\s*,?\s+(?i:and|or)|\b(?i:ratio\s+of)\s+(?i:the\s+)?{_COUNTED}\s+(?i:to)"
    r"|介于.{1,16}[和与跟同及到至-])\s*[$£€¥]?\s*$"
)
_LEAST = (
    r"(?:\b(?i:at least|more than|greater than|over|above|minimum(?: of)?|min)\b"
    r"|至少|最少|不少于|不小于|不低于|大于|多于|超过|高于)"
)
_MOST = (
    r"(?:\b(?i:at most|less than|fewer than|under|below|up to|maximum(?: of)?|max)\b"
    r"|至多|最多|不多于|不大于|不超过|小于|少于|低于)"
)
_AND = r"\s*(?:(?i:and|but|or)\b|并?且|但|而|又)?\s*"
_BOUNDED = re.compile(
    rf"(?:{_LEAST}\s*{_COUNTED}{_AND}{_MOST}|{_MOST}\s*{_COUNTED}{_AND}{_LEAST}"
    rf"|\b(?i:from)\s+{_COUNTED}\s+(?i:up to))\s*$"
)
_ABOVE = re.compile(rf"{_N}.{{0,3}}以上[,，、]?[且到至]?\s*$")
_BELOW = re.compile(r".{0,3}以[下内]")
_DENIED_BEFORE = re.compile(
    r"(?:(?i:\bnot|\bcannot|n['’]t|\bnever|\brather than|\binstead of|\bneither|\bnor|\banything but"
    r"|\bexcept(?:\s+for)?)"
    r"(?:\s+(?i:be|been|equals?(?:\s+to)?|is|the|exactly|simply|just))*"
    r"|(?:不会?|并不|并非|绝不|绝非|而不|不应该?|不可能|不能)(?:就?是|等于|为|得)|而非|并非|除了|(?<![一-鿿])非)\s*$"
)
_INFIX = re.compile(
    rf"(?:{_N}(?:\s+[^\W\d]{{1,12}})?\s+(?i:multiplied by|added to|subtracted from"
    r"|raised to(?: the)?(?: power)?(?: of)?|to the(?: power)?(?: of)?|takes? away"
    r"|versus|vs\.?|(?:for|in|out of) (?:every|each))"
    rf"|{_N}\s+(?i:choose|remainder|rem|r|modulo|mod|div)"
    rf"|{_N}\s*[%％‰]?\s+(?i:of(?: the)?|in|less|per|from|(?:more|less|fewer|greater) than|through|thru|till|until)"
    rf"|{_N}\s*[%％‰]?\s*的|(?:^|[^\w一-鿿]|[是为求案])比{_N}.{{0,2}}[多少大小高低长短重轻])\s*$"
)
_OPERATION = re.compile(
    r"(?:\b(?i:twice|thrice|double|triple|(?<!in )half)"
    r"|\b(?i:half|halves|thirds?|quarters?|fourths?|fifths?|sixths?|eighths?|tenths?|squared?|cubed?"
    r"|(?:square |cube )?roots?|reciprocal|inverse|opposite|negation|negative|factorial|absolute value"
    r"|logarithm|log|sine|cosine|tangent|multiples?|powers?|percent|percentage)\s+(?i:of)(?:\s+(?i:the|the number))?"
    r"|\b(?i:give or take)|加减|正负|上下(?:浮动|波动)?)\s*$"
)
_PLUS_OR_MINUS = re.compile(r"(?i:plus|\+)\s*(?:(?i:or|and)|/|-)?\s*$")

# -- what stands behind a number

_CAPITAL_MONTH = rf"(?:{_MONTH_NAMES}|{_MONTH_NAMES.upper()})"
_LOWER_MONTH = "january|february|april|june|july|august|september|october|november|december"
_MONTH_BEHIND = re.compile(
    rf"\s*(?:(?i:day)\s+)?(?:(?i:of)\s+(?i:{_MONTH_NAMES})|(?:{_CAPITAL_MONTH}|{_LOWER_MONTH}))(?![A-Za-z])"
)
_NOON = re.compile(r"\s*(?i:[ap]\.?\s?m)(?![A-Za-z])")
_HOUR = re.compile(r"\s*(?:(?i:[ap]\.?\s?m)(?![A-Za-z])|(?i:o['’]clock)|点|时)")
_BEFORE_SIGN = re.compile(rf"\s*(?!<[-—–]+\s){_SIGN}\s*[^\s<>]")
_TAG = re.compile(r"\s*<(?:[/|!]?|\s*[/|!]\s*)[A-Za-z][^<>]*>")
_RANGE_BEHIND = re.compile(
    rf"\s*(?:之间|中间|取模|取余|求余|以外|除外|(?:mod|MOD|[rR])\d|Q[1-4]\b|(?i:minutes?\s+)?(?i:past)\s+{_N})"
)
_CLAUSE_END = r"\s*(?:[.。,，;；:：!！?？)）\n*]|$)"
_RIGHT = (
    r"(?:an? |the )?(?:(?:final|correct|right|valid|possible) )?(?:answer|solution|result)\b"
    r"|(?:correct|right|true|valid|it)\b"
)
_DENIED_BEHIND = re.compile(
    r"\s*(?:(?i:(?:is|was|are|were)(?: also| clearly| definitely)?\s+"
    rf"(?:not\s+(?:{_RIGHT})|(?:not|no|wrong|incorrect|false){_CLAUSE_END}|(?:(?:the|an?)\s+)?(?:wrong|incorrect|false)\s+"
    rf"(?:because|since|as|answer|result|solution)\b))"
    rf"|(?i:(?:is|was)n['’]t)(?:\s+(?i:{_RIGHT})|{_CLAUSE_END})"
    rf"|是?不对(?![称应等])|(?:并|是)?不正确|(?:并|是)?不是(?:(?:正确|最终)?(?:的?答案|的)|{_CLAUSE_END})|是?错[了误的])"
)

_DENIED_GLOSS = re.compile(r"[(（]\s*(?:(?i:wrong|incorrect|false|no)|错误?|错的|不对|不正确)\s*[)）]$")


def is_value(tokens: Sequence[Token], bounds: tuple[int, int], item: Item) -> bool:
    """Return whether the number `item` states a value, as far as the words around it within `bounds` of `tokens` show.

    The time this takes does not depend on the length of the text.
    """
    last = tokens[item.end - 1]
    is_word = bool(item.unit) and last.kind is Kind.WORD
    before = _joined(tokens[max(bounds[0], item.start - _REACH) : item.start]).rpartition("\n")[2]
    behind = _joined(tokens[item.end - is_word : min(bounds[1], item.end + _REACH)]).partition("\n")[0]
    is_minus = tokens[item.start].kind is Kind.MINUS or tokens[item.start].text.lower() == "minus"
    return not (
        (_ABOVE.search(before) and _BELOW.match(behind))
        or _is_bound(before, behind)
        or _is_date(item, before, behind)
        or _is_time(item, before, behind)
        or _RANGE_BEHIND.match(behind)
        or _DENIED_BEHIND.match(behind)
        or _DENIED_GLOSS.search(_joined(tokens[max(item.start, item.end - 6) : item.end]))
        or (is_minus and _PLUS_OR_MINUS.search(before))
        or any(pattern.search(before) for pattern in (_BETWEEN, _BOUNDED, _DENIED_BEFORE, _INFIX, _OPERATION))
    )


def _joined(tokens: Sequence[Token]) -> str:
    """Return the text of `tokens`, with every space and line end in its plain form, and with long tokens cut."""
    texts = []
    for token in tokens:
        if token.kind in (Kind.SPACE, Kind.THIN):
            texts.append(" ")
        else:
            texts.append("\n" if token.kind is Kind.NEWLINE else token.text[-_LONGEST_TOKEN:])
    return "".join(texts)


def _is_bound(before: str, behind: str) -> bool:
    """Return whether a sign of inequality is beside a number: x ≥ 5, 5 < x; but not <b>5</b>, <5> or a quoted line."""
    if _QUOTATION.match(before):
        before = ""
    if _BEHIND_SIGN.search(before) and not _BEHIND_TAG.search(before):
        return not (before.endswith("<") and behind.startswith(">"))
    return _BEFORE_SIGN.match(behind) is not None and _TAG.match(behind) is None and not before.endswith("<")


def _is_date(item: Item, before: str, behind: str) -> bool:
    """Return whether a number is the day or the year of a date with a month or a weekday: May 5, 2024."""
    if item.value is None or item.value.denominator != 1:
        return False
    if _OF_YEAR.search(before):  # 2024年第3季度
        return True
    is_day, is_year = 1 <= item.value <= 31, 1500 <= item.value <= 2100
    if is_day and _MONTH_BEHIND.match(behind.removeprefix(item.unit) if item.unit in ORDINALS else behind):
        return True
    if item.unit.isascii() and item.unit not in ORDINALS and item.unit.lower() not in ("", *NO_UNITS):
        return False  # in May, 12 people
    if _COUNT_BEHIND.match(behind):
        return False  # by May 20 were left
    if item.unit in ORDINALS and _BEHIND_WEEKDAY.search(before):
        return True
    is_short_year = before.endswith(("'", "’"))
    return ((is_day or is_year) and _BEFORE_DAY.search(before) is not None) or (
        (is_year or is_short_year) and _BEFORE_YEAR.search(before) is not None
    )


def _is_time(item: Item, before: str, behind: str) -> bool:
    """Return whether a number is part of a time of day with several parts: 3.30 pm, half past 3, May 5 at 3 pm."""
    if _PAST.search(before) and (not item.unit.isascii() or item.unit.lower() in ("", "am", "pm", *NO_UNITS)):
        return True
    if _NOON.match(behind) and not item.is_whole and item.value is not None and item.value.denominator != 1:
        return True
    is_hour = _HOUR.match(behind) is not None or item.unit in _TIME_UNITS
    return is_hour and _BEFORE_TIME.search(before) is not None
