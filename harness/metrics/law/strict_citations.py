"""Citations of articles of law in one strict form, `《law》第N条`, and Chinese numerals.

This is the form in which Lawyer LLaMA's articles and answers cite: the number directly follows the title, and further
articles of the same law follow the number (`《law》第三条、第五条`).

Not here: ranges (of 第三条至第五条 the first article is parsed), paragraphs (第三条第二款 is article 3, and articles
listed after it are not parsed), inserted articles (第三条之一 is a different article than article 3 and is not parsed),
titles within titles, other names of the same law, and whether an article exists. `citations` handles all forms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from harness.metrics.extraction.tuples import Counts, count_matches


class Citation(NamedTuple):
    """An article of a law."""

    law: str
    """The title as written between 《 and 》, without surrounding white space."""
    article: int


_DIGITS = {"零": 0, "〇": 0, "两": 2} | {digit: value for value, digit in enumerate("一二三四五六七八九", 1)}
_UNITS = {"十": 10, "百": 100, "千": 1000}
_ONES = "[一二三四五六七八九]"
_MANY = "[一二两三四五六七八九]"
_TENS = rf"{_ONES}?十{_ONES}?"
_HUNDREDS = rf"{_MANY}百(?:[零〇]{_ONES}|{_TENS})?"
_THOUSANDS = rf"{_MANY}千(?:[零〇](?:{_TENS}|{_ONES})|{_HUNDREDS})?"
_IN_WORDS = re.compile(rf"{_THOUSANDS}|{_HUNDREDS}|{_TENS}")
_DIGIT_BY_DIGIT = re.compile(rf"{_ONES}[零〇一二三四五六七八九]{{0,3}}")
_ARABIC = re.compile(r"[1-9１-９][0-9０-９]{0,3}")

_NUMBER = rf"[0-9０-９]{{1,4}}|[{''.join((*_DIGITS, *_UNITS))}]{{1,7}}"  # the longest is 九千九百九十九
_ARTICLE = rf"第\s*(?P<number>{_NUMBER})\s*条(?P<inserted>\s*之[一二三四五六七八九十])?"
_LAW = re.compile(r"《(?P<title>[^《》\n]+)》")
_FIRST = re.compile(rf"\s*{_ARTICLE}")
_NEXT = re.compile(rf"\s*(?:[、，,和与及或]|以及)\s*{_ARTICLE}")


def parse_citations(text: str) -> list[Citation]:
    """Return the articles that `text` cites in order, including repeated ones.

    White space is allowed between the parts. Further articles of a law, each with its own 第 and 条, are joined by a
    comma, 、 or a word for "and" or "or". Articles whose number `parse_numeral` does not accept are skipped.
    """
    citations = []
    for law in _LAW.finditer(text):
        title, article = law["title"].strip(), _FIRST.match(text, law.end())
        while title and article:
            number = parse_numeral(article["number"])
            if number is not None and not article["inserted"]:
                citations.append(Citation(title, number))
            article = _NEXT.match(text, article.end())
    return citations


def count_citations(text: str, expected: Iterable[Citation]) -> Counts:
    """Return how many of the articles cited in `text` are expected; repeated citations count once."""
    return count_matches(parse_citations(text), expected)


def parse_numeral(text: str) -> int | None:
    """Return the number from 1 to 9999 that `text` spells, or None if it is anything else.

    Accepted are Arabic digits of either width without leading zeros, Chinese digits one by one (一〇七六), and Chinese
    number words (一千零七十六). In number words, 零 or 〇 stands exactly where decimal places are skipped, 十 may omit
    its 一, and 百 and 千 may have 两 for 二.
    """
    if _ARABIC.fullmatch(text):
        return int(text)
    if _DIGIT_BY_DIGIT.fullmatch(text):
        return int("".join(str(_DIGITS[digit]) for digit in text))
    return _number_in_words(text) if _IN_WORDS.fullmatch(text) else None


def _number_in_words(text: str) -> int:
    value = digit = 0
    for character in text:
        if character in _UNITS:
            value, digit = value + (digit or 1) * _UNITS[character], 0
        else:
            digit = _DIGITS[character]
    return value + digit
