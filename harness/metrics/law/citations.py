"""Citations of law in any form: (law, article, paragraph, item), whatever numerals and names the text uses.

Supported are ranges (第三条至第五条), lists (第三条、第五条, 第三条、五条 or 第三、五条, 第三条第一款、第二款),
inserted articles (第三条之一 is a different article than article 3), paragraphs (款), items (项), titles within titles,
and laws without 《》 whose names are known. A remark in brackets and the divisions of the law (婚姻家庭编, 第二章) may
stand between a title and its articles. 该法, 本法 and 同法 refer to the law named last.

Any text can be parsed, in time linear in its length.

Not here: articles without a named law (第五条 alone), whether an article exists (`statutes`), and the strict form that
Lawyer LLaMA writes (`strict_citations`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from harness.metrics.law.statutes import ALIASES, STATUTES, Article, title_key
from harness.metrics.law.strict_citations import parse_numeral

LONGEST_RANGE = 100
"""A range whose two numbers differ by this or more stands for the articles at its two ends only."""


class Provision(NamedTuple):
    """What is cited: an article, or a paragraph or an item of it (0 if no paragraph or item is named)."""

    article: Article
    paragraph: int = 0
    item: int = 0

    def __str__(self) -> str:
        """Return the citation as people write it, in Arabic digits."""
        text = str(self.article)
        text += f"第{self.paragraph}款" if self.paragraph else ""
        return text + (f"第（{self.item}）项" if self.item else "")


KNOWN_LAWS = frozenset({*STATUTES, *ALIASES})
"""Names of laws that are recognised without 《》."""


def cited_provisions(
    text: str, names: Iterable[str] = KNOWN_LAWS, aliases: Mapping[str, str] = ALIASES
) -> list[Provision]:
    """Return what `text` cites, in order and including repeated citations.

    Laws are named by their key (`statutes.title_key` with `aliases`). The names in `names` are recognised without 《》
    too, unless they are the end of a longer word. Numbers that `strict_citations.parse_numeral` does not accept are
    skipped.
    """
    provisions: list[Provision] = []
    last_law: str | None = None
    end = 0
    for start, name_end, name in _law_mentions(text, frozenset(names)):
        if start < end:  # inside a list of articles that is already parsed
            continue
        law = last_law if name is None else title_key(name, aliases)
        if not law:
            continue
        last_law = law
        end = _parse_articles(text, name_end, law, provisions)
    return provisions


def cited_articles(text: str, names: Iterable[str] = KNOWN_LAWS, aliases: Mapping[str, str] = ALIASES) -> list[Article]:
    """Return the distinct articles that `text` cites, in order of appearance, without paragraphs and items."""
    return list(dict.fromkeys(provision.article for provision in cited_provisions(text, names, aliases)))


# --- laws -------------------------------------------------------------------------------------------------------------

_LONGEST_TITLE = 120
# Characters that may precede a law's name without making it part of a longer one: 依据民法典, but not 海商保险法.
_BEFORE_NAME = "据照依按循凭和与及或、在由从对于以用反犯合的了是为国即如有见看考到新旧原行"
_SAME_LAW = r"(?P<same>该法|本法|同法)"


@functools.lru_cache(maxsize=16)
def _law_pattern(names: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    alternatives = "|".join(map(re.escape, longest_first)) or "(?!)"
    return re.compile(
        rf"(?P<open>《)|(?P<close>》)|{_SAME_LAW}"
        rf"|(?:(?<=[{_BEFORE_NAME}])|(?<![一-鿿]))(?P<name>{alternatives})(?=[^》])"
    )


def _law_mentions(text: str, names: frozenset[str]) -> Iterator[tuple[int, int, str | None]]:
    """Yield the start, end and name of each mention of a law in `text`; the name is None for 该法, 本法 and 同法.

    Of titles within titles, only the outermost is yielded.
    """
    open_positions: list[int] = []
    mentions: list[tuple[int, int, str | None]] = []
    for match in _law_pattern(names).finditer(text):
        position = match.start()
        if match["open"]:
            open_positions.append(position)
        elif match["close"]:
            if open_positions:
                start = open_positions.pop()
                if position - start <= _LONGEST_TITLE and "\n" not in text[start:position]:
                    while mentions and mentions[-1][0] > start:
                        mentions.pop()
                    mentions.append((start, match.end(), text[start + 1 : position]))
        else:
            mentions.append((position, match.end(), match["name"]))
    yield from mentions


# --- articles of a law ------------------------------------------------------------------------------------------------

_N = r"(?:[0-9０-９]{1,4}|[零〇一二三四五六七八九十百千两]{1,9})"
_S = r"[ \t　]{0,4}"
_AND = "(?:以及|及其|或者|[和与及或])"
_JOINT = rf"{_S}(?:[、，,](?:{_S}{_AND})?|{_AND}){_S}"
_TO = rf"{_S}(?:至|到|[-－—–~～]{{1,2}}){_S}"
# What may stand between a title and its first article; asterisks are Markdown's bold.
_BEFORE_ARTICLE = re.compile(
    rf"\*{{0,2}}{_S}(?:[（(][^（）()\n]{{0,80}}[)）]){{0,2}}{_S}"
    rf"(?:[中的之]{{1,2}})?{_S}(?:[一-鿿]{{1,10}}编[的中]?)?{_S}(?:第{_S}{_N}{_S}[编分章节]{{1,2}}(?:[^第，。、\n]{{0,20}})?){{0,3}}{_S}\*{{0,2}}"
)
_OPEN_BRACKET = re.compile(rf"{_S}[（(]{_S}")
# 第三条, 第三条之一, 第三、五条, 第三至五条
_NUMBERED = (
    rf"(?P<numbers>{_N}(?:(?:{_TO}|{_JOINT}){_N}){{0,20}}){_S}条"
    rf"(?:{_S}之{_S}(?P<inserted>[一二三四五六七八九十]{{1,3}}|[0-9０-９]{{1,2}}))?"
)
_ARTICLE = re.compile(rf"第{_S}{_NUMBERED}")
# 五条 after 第三条、 or 第三条至, but not 一条, which means "one of them".
_NEXT_ARTICLE = re.compile(rf"(?:第{_S}|(?<![，,])(?!一条)){_NUMBERED}")
_PARAGRAPH = re.compile(rf"{_S}第{_S}(?P<numbers>{_N}(?:(?:{_TO}|{_JOINT}){_N}){{0,20}}){_S}款")
_ITEM = re.compile(rf"{_S}第{_S}(?P<numbers>[（(]?{_N}[)）]?(?:(?:{_TO}|{_JOINT})[（(]?{_N}[)）]?){{0,20}}){_S}项")
_JOIN = re.compile(_JOINT)
_JOIN_ARTICLES = re.compile(rf"(?:的?规定)?{_JOINT}")
_RANGE = re.compile(_TO)
_NUMBER = re.compile(rf"(?P<to>{_TO})?(?:{_JOINT})?[（(]?(?P<number>{_N})[)）]?")


def _parse_articles(text: str, start: int, law: str, provisions: list[Provision]) -> int:
    """Append the articles of `law` that are listed from `start` on; return where the list ends."""
    starts = [start, *(match.end() for lead in (_BEFORE_ARTICLE, _OPEN_BRACKET) if (match := lead.match(text, start)))]
    article = next((match for position in starts if (match := _ARTICLE.match(text, position))), None)
    if article is None:
        return start
    range_start: Article | None = None
    while article is not None:
        end = article.end()
        listed = [Article(law, number, inserted) for number, inserted in _article_numbers(article)]
        if range_start is not None and listed:
            provisions += map(Provision, _articles_inside(range_start, listed[0]))
        end = _parse_parts(text, end, listed, provisions)
        range_start, joint = None, _RANGE.match(text, end)
        if joint and listed:
            range_start = listed[-1]
        else:
            joint = _JOIN_ARTICLES.match(text, end)
        article = _NEXT_ARTICLE.match(text, joint.end()) if joint else None
    return end


def _article_numbers(match: re.Match[str]) -> list[tuple[int, int]]:
    """Return (number, number after 之 or 0) of each article. A 之 belongs to the last. Empty if a number is invalid."""
    numbers = _parse_numbers(match["numbers"])
    inserted = parse_numeral(match["inserted"]) if match["inserted"] else 0
    if not numbers or inserted is None:
        return []
    return [*((number, 0) for number in numbers[:-1]), (numbers[-1], inserted)]


def _articles_inside(first: Article, last: Article) -> list[Article]:
    """Return the articles between `first` and `last`, as far as the two numbers determine which articles there are."""
    if first.number == last.number:
        return [first._replace(inserted=inserted) for inserted in range(first.inserted + 1, last.inserted)]
    return [Article(first.law, number) for number in _numbers_inside(first.number, last.number)]


def _parse_parts(text: str, start: int, listed: list[Article], provisions: list[Provision]) -> int:
    """Append `listed` articles, the last one with the paragraphs and items from `start` on. Return where these end."""
    provisions += map(Provision, listed[:-1])
    parts: list[tuple[int, int]] = []
    paragraph, end, to = _PARAGRAPH.match(text, start), start, None
    while paragraph is not None:
        numbers = _parse_numbers(paragraph["numbers"])
        if to and numbers and parts:  # 第二款至第四款
            parts += [(number, 0) for number in _numbers_inside(parts[-1][0], numbers[0])]
        parts += [(number, 0) for number in numbers[:-1]]
        items, end = _parse_items(text, paragraph.end())
        parts += [(number, item) for number in numbers[-1:] for item in items or [0]]
        to = _RANGE.match(text, end)
        joint = to or _JOIN.match(text, end)
        paragraph = _PARAGRAPH.match(text, joint.end()) if joint else None
    if not parts:
        items, end = _parse_items(text, end)
        parts = [(0, item) for item in items or [0]]
    provisions += [Provision(article, *part) for article in listed[-1:] for part in parts]
    return end


def _parse_items(text: str, start: int) -> tuple[list[int], int]:
    """Return the numbers of the items listed from `start` on, and where the list ends."""
    items: list[int] = []
    match, end, to = _ITEM.match(text, start), start, None
    while match is not None:
        end, numbers = match.end(), _parse_numbers(match["numbers"])
        if to and numbers and items:
            items += _numbers_inside(items[-1], numbers[0])
        items += numbers
        to = _RANGE.match(text, end)
        joint = to or _JOIN.match(text, end)
        match = _ITEM.match(text, joint.end()) if joint else None
    return items, end


def _parse_numbers(text: str) -> list[int]:
    """Return the numbers in `三`, `三、五` or `三至五` (3, 4 and 5); invalid numbers are skipped."""
    numbers: list[int] = []
    for match in _NUMBER.finditer(text):
        number = parse_numeral(match["number"])
        if number is None:
            continue
        if match["to"] and numbers:
            numbers += _numbers_inside(numbers[-1], number)
        numbers.append(number)
    return numbers


def _numbers_inside(first: int, last: int) -> range:
    """Return the numbers between `first` and `last`; none if these differ by LONGEST_RANGE or more."""
    return range(first + 1, last) if last - first < LONGEST_RANGE else range(0)
