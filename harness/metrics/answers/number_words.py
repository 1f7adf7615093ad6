"""Numbers in Chinese and English words within a text.

A well-formed run of two or more numerals is a number anywhere: 一百二十三, 二〇二四, 三点一四, 三分之一, two hundred. A
single numeral (一, 三, five) is so often a part of other words that it counts only if it is all of the answer, or if
one of "is", "=", a colon, 是, 为, 得, 于, 共 and 剩 precedes it and the clause ends after it or after a measure word
(是三个。). Not numbers: runs after 第 (第十二条) or in brackets, runs that begin with 百, 千, 万 or 亿, and up to three
digits without a scale (三五, 一一).
"""

from __future__ import annotations

from fractions import Fraction

from harness.metrics.answers import units
from harness.metrics.answers.number_digits import Item, Span, read_digits
from harness.metrics.answers.number_tokens import Kind
from harness.metrics.answers.numerals import (
    CHINESE_SCALES,
    ENGLISH_DIGITS,
    ENGLISH_SCALES,
    LONGEST_NUMERAL,
    chinese_decimals,
    chinese_value,
    english_value,
)

_PERCENT_OF = {"百": "%", "佰": "%", "千": "‰"}


def read_chinese(span: Span, i: int) -> Item | None:
    """Return the number in Chinese numerals that begins at token `i`, or None if none does."""
    run = span.text(i)
    if span.kind(i) is not Kind.NUMERAL or span.text(i - 1) in ("第", "初"):
        return None
    if span.text(i + 1) == "分" and span.text(i + 2) == "之":
        return _share(span, i)
    value, end = _number(span, i)
    if len(run) > 1 and run[-1] in "两兩":  # a unit: 五百两
        return Item(chinese_value(run[:-1]), end, unit="两", is_phrase=len(run) == 2)
    is_mark = span.kind(i - 1) is Kind.OPEN and span.kind(end) is Kind.CLOSE  # （十二）
    has_scale = any(letter in CHINESE_SCALES or letter in "廿卅" for letter in run)
    if span.text(end) == "分" and span.text(end + 1) == "之":
        return None
    if end > i + 1:  # with 点, or with Arabic digits behind a scale
        is_time = span.text(i + 1) == "点" and (value is None or span.text(end) in tuple("刻分滴半钟"))
        return Item(None if is_time else value, end)
    if run[0] in CHINESE_SCALES and run[0] not in "十拾":
        return None
    if span.text(i + 1) == "点" and span.kind(i + 2) in (Kind.NUMERAL, Kind.DIGITS):
        return Item(None, i + 3)  # a time
    if len(run) == 1:
        return Item(value, end, is_phrase=True)
    if not has_scale and len(run) < 4 and not any(letter in "零〇" for letter in run[1:]):
        return None
    is_vague = span.text(i - 1) in ("几", "数") or span.text(end) == "几"
    is_ambiguous = run[-1] in "千仟" and span.text(end) in units.BEHIND_THOUSAND  # 三千米
    return Item(None if is_vague or is_ambiguous else value, end, is_phrase=is_mark)


def read_scaled(span: Span, value: Fraction, i: int) -> Item | None:
    """Multiply `value` by the Chinese scales from token `i` on and add what follows (3万5千); None without a scale."""
    run = span.text(i)
    if span.kind(i) is not Kind.NUMERAL or run[0] not in CHINESE_SCALES:
        return None
    if run[-1] in "千仟" and span.text(i + 1) in units.BEHIND_THOUSAND:  # 5千米, 3万千瓦
        return Item(chinese_value([value, *run[:-1]]), i) if run[:-1] else None
    return Item(*_combined(span, [value], i))


def read_english(span: Span, i: int) -> Item | None:
    """Return the number in English words that begins at token `i`, or None if none does."""
    words: list[str] = []
    end = j = i
    if _word(span, i) in ("a", "an") and span.kind(i + 1) is Kind.SPACE and _word(span, i + 2) in ENGLISH_SCALES:
        words, j = ["one"], i + 2
    while _word(span, j) in ENGLISH_DIGITS or _word(span, j) in ENGLISH_SCALES:
        words.append(_word(span, j))
        end = j + 1
        is_joined = span.kind(end) is Kind.SPACE or (span.kind(end) is Kind.MINUS and span.kind(end + 1) is Kind.WORD)
        j = end + 1 if is_joined else end
        if words[-1] in ENGLISH_SCALES and _word(span, j) == "and" and _word(span, j + 2) in ENGLISH_DIGITS:
            j += 2
        if not is_joined:
            break
    if not words or (len(words) == 1 and words[0] in ENGLISH_SCALES):
        return None
    if _word(span, j) == "point":
        return Item(None, j)
    value = english_value(words)
    is_part = _word(span, span.before_spaces(i - 1)) in ("half", "quarter")  # half a million
    return Item(None if value is None or is_part else Fraction(value), end, is_phrase=len(words) == 1)


def english_scale(span: Span, i: int) -> tuple[int, int]:
    """Return the product of the English scales from token `i` on (2 hundred thousand), and the index after them."""
    scale, end = 1, i
    while _word(span, i) in ENGLISH_SCALES and scale < 10**15:
        scale *= ENGLISH_SCALES[_word(span, i)]
        end = i + 1
        i = span.after_spaces(end)
    return scale, end


def measure(span: Span, i: int) -> tuple[str, int]:
    """Return the longest Chinese measure word at token `i` (empty if there is none) and the index after it."""
    written, longest, end = "", "", i
    for j in range(i, i + units.LONGEST_MEASURE):
        if span.kind(j) not in (Kind.HAN, Kind.NUMERAL):
            break
        written += span.text(j)
        if written in units.MEASURES:
            longest, end = written, j + 1
    return longest, end


def _word(span: Span, i: int) -> str:
    return span.text(i).lower() if span.kind(i) is Kind.WORD else ""


def _number(span: Span, i: int) -> tuple[Fraction | None, int]:
    """Return the value of the numeral at token `i` (None if it is not well formed), and the index after it."""
    run, after = span.text(i), span.text(i + 2)
    if span.text(i + 1) == "点" and span.kind(i + 2) is Kind.NUMERAL:
        digits = after.rstrip("".join(CHINESE_SCALES))
        whole, decimals = chinese_value(run), chinese_decimals(digits)
        if whole is None or decimals is None or after[len(digits) :].startswith(("十", "拾")):  # a time: 三点五十
            return None, i + 1 if whole is None else i + 3
        scales = after[len(digits) :]
        return (chinese_value([whole + decimals, *scales]) if scales else whole + decimals), i + 3
    return _combined(span, [], i)


def _combined(span: Span, parts: list[str | Fraction], i: int) -> tuple[Fraction | None, int]:
    """Return the value of `parts` and the numerals from token `i` on (None if malformed), and the index after them."""
    end, is_read = i, True
    while span.kind(end) is Kind.NUMERAL:
        parts += span.text(end)[: LONGEST_NUMERAL + 1]
        end += 1
        if span.kind(end) is not Kind.DIGITS or parts[-1] not in CHINESE_SCALES:
            break
        item = read_digits(span, end)
        if item is None or item.value is None or not item.is_whole or item.is_list:
            is_read = False
        elif item.value is not None:
            parts.append(item.value)
        end = end + 1 if item is None else item.end
    return (chinese_value(parts) if is_read else None), end


def _share(span: Span, i: int) -> Item | None:
    """Return the fraction (三分之一) or the percentage (百分之三) whose denominator is at token `i`."""
    run, top = span.text(i), read_number(span, i + 3)
    if top is None:
        return None
    if run in _PERCENT_OF:
        return Item(top.value, top.end, unit=_PERCENT_OF[run])
    bottom = chinese_value(run) or CHINESE_SCALES.get(run)  # 万分之一
    return Item(top.value / bottom if top.value is not None and bottom else None, top.end)


def read_number(span: Span, i: int) -> Item | None:
    """Return the number in digits or Chinese numerals at token `i`. A single numeral counts. None without a number."""
    if span.kind(i) is Kind.NUMERAL:
        value, end = _number(span, i)
        return Item(Fraction(100) if span.text(i) in ("百", "佰") else value, end)
    return read_digits(span, i) if span.kind(i) is Kind.DIGITS else None


def integer(span: Span, i: int) -> int | None:
    """Return the small integer that token `i` alone writes, in digits or Chinese numerals, or None."""
    text = span.text(i)
    if span.kind(i) is Kind.DIGITS:
        return int(text) if len(text) < 6 else None
    value = chinese_value(text) if span.kind(i) is Kind.NUMERAL else None
    return int(value) if value is not None and value < 10**5 else None
