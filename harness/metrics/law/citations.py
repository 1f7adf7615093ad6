"""Articles of law that a text cites, understood: (law, article, paragraph, item), whatever numerals and names it uses.

Read are ranges (第三条至第五条), lists (第三条、第五条, 第三条、五条 or 第三、五条, 第三条第一款、第二款), inserted
articles (第三条之一 is another than article 3), paragraphs (款) and items (项), titles within titles, and laws without
《》 if their names are given. Between a title and its articles there may stand a remark in brackets and the parts of
the law (婚姻家庭编, 第二章). 该法, 本法 and 同法 are the law named last.

`citations` of `harness.metrics.law.strict_citations` knows one strict form of this, and keeps what it finds. `written`
counts by two plain patterns, for comparison with figures that were counted so: STRICT and WIDE.

Not here: articles whose law is not named (第五条 alone), and whether an article exists
(`harness.metrics.law.statutes`).
Any text can be read, in time linear in its length.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from harness.metrics.law.statutes import ALIASES, STATUTES, Article, title
from harness.metrics.law.strict_citations import numeral

LONGEST_RANGE = 100
"""Articles of a range that are read one by one; of a longer one, which cites none of them, the two ends."""


class Cited(NamedTuple):
    """What is cited: an article, or a paragraph or an item of it; 0 where none is named."""

    article: Article
    paragraph: int = 0
    item: int = 0

    def __str__(self) -> str:
        """Return it as people write it, in Arabic digits."""
        text = str(self.article)
        text += f"第{self.paragraph}款" if self.paragraph else ""
        return text + (f"第（{self.item}）项" if self.item else "")


KNOWN = frozenset({*STATUTES, *ALIASES})
"""Names of laws that are plain enough to be read without 《》."""

# By these, 631 and 637 of the 1,000 answers in Lawyer LLaMA's legal_counsel_with_article_v2 cite, 1,197 and 1,212 times
# (every match counts), and 1,138 are among the provided articles by both (title and number written as there).
STRICT = re.compile(r"《(?P<title>[^《》\n]+)》第(?P<number>[零一二三四五六七八九十百千]+)条")
"""`《X》第N条`: the number in Chinese, right behind the title."""
WIDE = re.compile(
    r"《(?P<title>[^《》\n]+)》(?:（[^（）\n]*）|\([^()\n]*\))?第(?P<number>[零〇一二三四五六七八九十百千两0-9０-９]+)条"
)
"""`《X》（…）第N条`: the number in Chinese or in Arabic digits; a remark in brackets may stand before it."""


def written(text: str, pattern: re.Pattern[str] = STRICT) -> list[tuple[str, str]]:
    """Return the (title, number) of every match of STRICT or WIDE in `text`, both as they are written.

    Nothing is understood: 1079 is another number than 一千零七十九, and of a list the first article is found.
    """
    return [(match["title"], match["number"]) for match in pattern.finditer(text)]


def cited(text: str, names: Iterable[str] = KNOWN, aliases: Mapping[str, str] = ALIASES) -> list[Cited]:
    """Return what `text` cites in order of appearance, what is cited twice twice.

    A law is called by its key (`statutes.title` with `aliases`). Those in `names` are read without 《》, too, where
    they do not end a longer word. A number that `legal.numeral` cannot read is passed over.
    """
    found: list[Cited] = []
    last: str | None = None
    end = 0
    for start, stop, name in _laws(text, frozenset(names)):
        if start < end:  # within a chain of articles that has been read
            continue
        law = last if name is None else title(name, aliases)
        if not law:
            continue
        last = law
        end = _chain(text, stop, law, found)
    return found


def articles(text: str, names: Iterable[str] = KNOWN, aliases: Mapping[str, str] = ALIASES) -> list[Article]:
    """Return the articles that `text` cites in order of appearance, each once, paragraphs and items left out."""
    return list(dict.fromkeys(one.article for one in cited(text, names, aliases)))


def mentions(text: str, names: Iterable[str] = KNOWN, aliases: Mapping[str, str] = ALIASES) -> list[Article]:
    """Return the articles that `text` cites in order of appearance, one that is cited twice twice."""
    return [one.article for one in cited(text, names, aliases)]


# --- laws -------------------------------------------------------------------------------------------------------------

_LONGEST_TITLE = 120
# What may stand right before a law's name that is not part of a longer one: 依据民法典, but not 海商保险法.
_BEFORE = "据照依按循凭和与及或、在由从对于以用反犯合的了是为国即如有见看考到新旧原行"
_SAME = r"(?P<same>该法|本法|同法)"


@functools.lru_cache(maxsize=16)
def _pattern(names: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    known = "|".join(map(re.escape, longest_first)) or "(?!)"
    return re.compile(
        rf"(?P<open>《)|(?P<close>》)|{_SAME}|(?:(?<=[{_BEFORE}])|(?<![一-鿿]))(?P<name>{known})(?=[^》])"
    )


def _laws(text: str, names: frozenset[str]) -> Iterator[tuple[int, int, str | None]]:
    """Yield where each law is named, from start to end, and how; None for 该法. Of titles within titles, the outer."""
    opened: list[int] = []
    spans: list[tuple[int, int, str | None]] = []
    for match in _pattern(names).finditer(text):
        here = match.start()
        if match["open"]:
            opened.append(here)
        elif match["close"]:
            if opened:
                start = opened.pop()
                if here - start <= _LONGEST_TITLE and "\n" not in text[start:here]:
                    while spans and spans[-1][0] > start:
                        spans.pop()
                    spans.append((start, match.end(), text[start + 1 : here]))
        else:
            spans.append((here, match.end(), match["name"]))
    yield from spans


# --- articles of a law ------------------------------------------------------------------------------------------------

_N = r"(?:[0-9０-９]{1,4}|[零〇一二三四五六七八九十百千两]{1,9})"
_S = r"[ \t　]{0,4}"
_AND = "(?:以及|及其|或者|[和与及或])"
_JOINT = rf"{_S}(?:[、，,](?:{_S}{_AND})?|{_AND}){_S}"
_TO = rf"{_S}(?:至|到|[-－—–~～]{{1,2}}){_S}"
# What may stand between a title and its first article; asterisks make a piece of it bold.
_LEAD = re.compile(
    rf"\*{{0,2}}{_S}(?:[（(][^（）()\n]{{0,80}}[)）]){{0,2}}{_S}"
    rf"(?:[中的之]{{1,2}})?{_S}(?:[一-鿿]{{1,10}}编[的中]?)?{_S}(?:第{_S}{_N}{_S}[编分章节]{{1,2}}(?:[^第，。、\n]{{0,20}})?){{0,3}}{_S}\*{{0,2}}"
)
_BRACKET = re.compile(rf"{_S}[（(]{_S}")
# 第三条, 第三条之一, 第三、五条, 第三至五条
_NUMBERED = (
    rf"(?P<numbers>{_N}(?:(?:{_TO}|{_JOINT}){_N}){{0,20}}){_S}条"
    rf"(?:{_S}之{_S}(?P<inserted>[一二三四五六七八九十]{{1,3}}|[0-9０-９]{{1,2}}))?"
)
_ARTICLE = re.compile(rf"第{_S}{_NUMBERED}")
# 五条 behind 第三条、 or 第三条至, but not 一条, which is "one of them".
_NEXT_ARTICLE = re.compile(rf"(?:第{_S}|(?<![，,])(?!一条)){_NUMBERED}")
_PARAGRAPH = re.compile(rf"{_S}第{_S}(?P<numbers>{_N}(?:(?:{_TO}|{_JOINT}){_N}){{0,20}}){_S}款")
_ITEM = re.compile(rf"{_S}第{_S}(?P<numbers>[（(]?{_N}[)）]?(?:(?:{_TO}|{_JOINT})[（(]?{_N}[)）]?){{0,20}}){_S}项")
_JOIN = re.compile(_JOINT)
_JOIN_ARTICLES = re.compile(rf"(?:的?规定)?{_JOINT}")
_RANGE = re.compile(_TO)
_ONE = re.compile(rf"(?P<to>{_TO})?(?:{_JOINT})?[（(]?(?P<number>{_N})[)）]?")


def _chain(text: str, at: int, law: str, found: list[Cited]) -> int:
    """Add to `found` the articles of `law` that are listed from `at` on; return where the list ends."""
    starts = [at, *(lead.end() for pattern in (_LEAD, _BRACKET) if (lead := pattern.match(text, at)))]
    article = next((match for start in starts if (match := _ARTICLE.match(text, start))), None)
    if article is None:
        return at
    before: Article | None = None  # the article that a range begins with
    while article is not None:
        end = article.end()
        listed = [Article(law, number, place) for number, place in _listed_articles(article)]
        if before is not None and listed:
            for between in _between(before, listed[0]):
                found.append(Cited(between))
        end = _parts(text, end, listed, found)
        before, follows = None, _RANGE.match(text, end)
        if follows and listed:
            before = listed[-1]
        else:
            follows = _JOIN_ARTICLES.match(text, end)
        article = _NEXT_ARTICLE.match(text, follows.end()) if follows else None
    return end


def _listed_articles(match: re.Match[str]) -> list[tuple[int, int]]:
    numbers = _numbers(match["numbers"])
    place = numeral(match["inserted"]) if match["inserted"] else 0
    if not numbers or place is None:
        return []
    return [*((number, 0) for number in numbers[:-1]), (numbers[-1], place)]


def _between(first: Article, last: Article) -> list[Article]:
    """Return the articles of a range without its two ends, as far as their numbers tell."""
    if first.number == last.number:
        return [first._replace(inserted=place) for place in range(first.inserted + 1, last.inserted)]
    return [Article(first.law, number) for number in _inside(first.number, last.number)]


def _parts(text: str, at: int, listed: list[Article], found: list[Cited]) -> int:
    """Add `listed` articles, the last with its paragraphs and items from `at` on; return where these end."""
    found += map(Cited, listed[:-1])
    parts: list[tuple[int, int]] = []
    paragraph, end, follows = _PARAGRAPH.match(text, at), at, None
    while paragraph is not None:
        numbers = _numbers(paragraph["numbers"])
        if follows and numbers and parts:  # 第二款至第四款
            parts += [(between, 0) for between in _inside(parts[-1][0], numbers[0])]
        parts += [(number, 0) for number in numbers[:-1]]
        items, end = _items(text, paragraph.end())
        parts += [(number, item) for number in numbers[-1:] for item in items or [0]]
        follows = _RANGE.match(text, end)
        joint = follows or _JOIN.match(text, end)
        paragraph = _PARAGRAPH.match(text, joint.end()) if joint else None
    if not parts:
        items, end = _items(text, end)
        parts = [(0, item) for item in items or [0]]
    found += [Cited(article, *part) for article in listed[-1:] for part in parts]
    return end


def _items(text: str, at: int) -> tuple[list[int], int]:
    """Return the items listed from `at` on, and where they end."""
    items: list[int] = []
    match, end, follows = _ITEM.match(text, at), at, None
    while match is not None:
        end, numbers = match.end(), _numbers(match["numbers"])
        if follows and numbers and items:
            items += _inside(items[-1], numbers[0])
        items += numbers
        follows = _RANGE.match(text, end)
        joint = follows or _JOIN.match(text, end)
        match = _ITEM.match(text, joint.end()) if joint else None
    return items, end


def _numbers(text: str) -> list[int]:
    """Return the numbers of `三`, `三、五` or `三至五`; one that cannot be read is left out."""
    found: list[int] = []
    for match in _ONE.finditer(text):
        number = numeral(match["number"])
        if number is None:
            continue
        if match["to"] and found:
            found += _inside(found[-1], number)
        found.append(number)
    return found


def _inside(first: int, last: int) -> range:
    """Return the numbers between the two ends of a range; none of a longer one than LONGEST_RANGE."""
    return range(first + 1, last) if last - first < LONGEST_RANGE else range(0)
