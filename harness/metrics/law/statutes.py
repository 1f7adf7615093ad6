"""Statutes: the keys of their titles, the articles that exist, and the texts of articles.

Titles are compared by a key (`title_key`): without the leading 中华人民共和国, without an edition in brackets at the
end, and with the full name in place of a known short name. `STATUTES` lists the laws that consultations cite, with the
number of each law's last article, so that most invented articles are recognised without any text. A `StatuteBook` is
this list or another, with the texts of articles that are available.

The list is based on the longest edition of each law in LawRefBook/Laws@2f4c5c2, including repealed laws, up to March
2025. An article in the listed edition counts as existing even if it was later repealed or renumbered. An article that
only another edition has, such as a later edition, or an earlier edition with more articles (证券法 had 240 articles
until 2019), counts as not existing.

Not here: whether an article was in force, and the meaning of laws.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.metrics.law.strict_citations import parse_numeral


class Article(NamedTuple):
    """An article of a law. 第三条之一 is an article inserted after article 3, and so a different article."""

    law: str
    """The `title_key` of the article's law."""
    number: int
    inserted: int = 0
    """The number after 之, or 0 for an article that was not inserted."""

    def __str__(self) -> str:
        """Return `《law》第N条`, as people cite the article."""
        return f"《{self.law}》第{self.number}条" + (f"之{self.inserted}" if self.inserted else "")


_STATE = "中华人民共和国"
_NUMBER = r"[0-9０-９零〇一二三四五六七八九十百千两]"
_EDITION = re.compile(  # （2018年修正）, （2020）, （第二次修订）, （最新版）
    r"（(?=[^）])(?:[0-9]{4}年?)?(?:最新|第[一二三四五六七八九十]次)?(?:修正|修订|修改)?[案版本]?）$"
)
_ISSUER = re.compile(r"^(?:最高(?:人民法院|人民检察院|法|检)[、和]?)+(?=关于)")
_MARKS = str.maketrans("()〈〉＜＞<>", "（）《》《》《》")

ALIASES = {
    "民诉法": "民事诉讼法",
    "刑诉法": "刑事诉讼法",
    "行诉法": "行政诉讼法",
    "反家暴法": "反家庭暴力法",
    "家庭暴力法": "反家庭暴力法",
    "未保法": "未成年人保护法",
    "妇女权益法": "妇女权益保障法",
    "妇女保障法": "妇女权益保障法",
    "老年法": "老年人权益保障法",
    "治安处罚法": "治安管理处罚法",
    "治安管理法": "治安管理处罚法",
    "道交法": "道路交通安全法",
    "道路安全法": "道路交通安全法",
    "消法": "消费者权益保护法",
    "消保法": "消费者权益保护法",
    "劳动仲裁法": "劳动争议调解仲裁法",
    "土地承包法": "农村土地承包法",
    "破产法": "企业破产法",
    "计划生育法": "人口与计划生育法",
    "房地产管理法": "城市房地产管理法",
}
"""Full names of laws by short name, both as `title_key` returns them; names that two laws share are not listed."""

STATUTES: dict[str, int] = {
    "民法典": 1260,
    "刑法": 452,
    "宪法": 143,
    "民事诉讼法": 306,
    "刑事诉讼法": 308,
    "行政诉讼法": 103,
    "仲裁法": 80,
    "人民调解法": 35,
    "劳动争议调解仲裁法": 54,
    "国家赔偿法": 42,
    "行政处罚法": 86,
    "行政复议法": 90,
    "行政许可法": 83,
    "治安管理处罚法": 119,
    "道路交通安全法": 124,
    "居民身份证法": 23,
    "出境入境管理法": 93,
    "户口登记条例": 24,
    "婚姻登记条例": 22,
    "反家庭暴力法": 38,
    "妇女权益保障法": 86,
    "未成年人保护法": 132,
    "预防未成年人犯罪法": 68,
    "老年人权益保障法": 85,
    "残疾人保障法": 68,
    "母婴保健法": 39,
    "人口与计划生育法": 48,
    "中国公民收养子女登记办法": 16,
    "义务教育法": 63,
    "教育法": 86,
    "教师法": 43,
    "兵役法": 65,
    "公务员法": 113,
    "律师法": 60,
    "劳动法": 107,
    "劳动合同法": 98,
    "劳动合同法实施条例": 38,
    "劳动保障监察条例": 36,
    "社会保险法": 98,
    "工伤保险条例": 67,
    "失业保险条例": 33,
    "住房公积金管理条例": 47,
    "女职工劳动保护特别规定": 16,
    "职业病防治法": 88,
    "安全生产法": 119,
    "公司法": 266,
    "合伙企业法": 109,
    "个人独资企业法": 48,
    "企业破产法": 136,
    "票据法": 110,
    "保险法": 185,
    "证券法": 226,
    "信托法": 74,
    "海商法": 278,
    "专利法": 82,
    "商标法": 73,
    "著作权法": 67,
    "反不正当竞争法": 33,
    "消费者权益保护法": 63,
    "产品质量法": 74,
    "食品安全法": 154,
    "广告法": 74,
    "价格法": 48,
    "电子商务法": 89,
    "网络安全法": 79,
    "个人信息保护法": 74,
    "土地管理法": 87,
    "城市房地产管理法": 73,
    "农村土地承包法": 70,
    "村民委员会组织法": 41,
    "物业管理条例": 67,
    "建筑法": 85,
    "环境保护法": 70,
    "禁毒法": 71,
    "监狱法": 78,
    "社区矫正法": 63,
    "工会法": 58,
    # Repealed by the Civil Code on 1 January 2021, and still cited.
    "婚姻法": 51,
    "继承法": 37,
    "收养法": 34,
    "民法通则": 156,
    "民法总则": 206,
    "物权法": 247,
    "合同法": 428,
    "侵权责任法": 92,
    "担保法": 96,
}
"""The number of the last article of each law, by title key."""

# Of these laws, only 刑法 has inserted articles: one after each article below, or as many as _INSERTED_COUNTS says.
_CRIMINAL_LAW_INSERTIONS = (
    *(17, 37, 133, 134, 135, 139, 142, 162, 169, 175, 177, 185, 205, 210, 219, 224, 234, 236, 244, 253, 260, 262),
    *(276, 280, 284, 286, 287, 291, 293, 299, 307, 308, 334, 336, 342, 344, 355, 388, 390, 399, 408, 120),
)
_INSERTED_COUNTS = {**dict.fromkeys((133, 162, 262, 280, 287, 291), 2), 120: 6}
INSERTED = frozenset(
    Article("刑法", number, inserted)
    for number in _CRIMINAL_LAW_INSERTIONS
    for inserted in range(1, _INSERTED_COUNTS.get(number, 1) + 1)
)
"""The inserted articles of the laws in `STATUTES`."""


def title_key(text: str, aliases: Mapping[str, str] = ALIASES) -> str:
    """Return the key by which titles are compared: the same for 中华人民共和国民法典, 《民法典》 and 民法典（2020年）.

    The key has no white space, no outer 《》, no 中华人民共和国 in front of the title or of a title inside it, no
    issuing court in front of 关于 and no edition in brackets; brackets and inner 〈〉 have one width. A key in
    `aliases` is replaced by the full name that `aliases` has for it.
    """
    key = "".join(unicodedata.normalize("NFKC", text).split()).translate(_MARKS)
    if key.startswith("《") and _is_one_pair(key):
        key = key[1:-1]
    key = _EDITION.sub("", key).replace("《" + _STATE, "《")
    if key.startswith(_STATE) and key != _STATE:
        key = key.removeprefix(_STATE)
    key = _ISSUER.sub("", key)
    return aliases.get(key, key)


def _is_one_pair(key: str) -> bool:
    """Return whether the first 《 of `key` is closed by the last 》, so that the pair encloses the whole title."""
    depth = 0
    for position, character in enumerate(key):
        depth += (character == "《") - (character == "》")
        if depth <= 0:
            return position == len(key) - 1
    return False


@dataclass(frozen=True)
class StatuteBook:
    """Statutes: which articles exist, and the texts of some of them."""

    last_articles: Mapping[str, int] = field(default_factory=lambda: STATUTES)
    """The number of the last article of each law; all articles up to this number exist."""
    extra_articles: frozenset[Article] = INSERTED
    """Further articles that exist: inserted articles, and articles of laws whose last article is not known."""
    texts: Mapping[Article, str] = field(default_factory=dict)
    """The texts of articles, without `《X》第N条`; every article in this mapping exists."""

    def has_article(self, article: Article) -> bool | None:
        """Return whether `article` exists, or None if its law is not in this book."""
        if article in self.texts or article in self.extra_articles:
            return True
        if article.law not in self.last_articles:
            return None
        return not article.inserted and 1 <= article.number <= self.last_articles[article.law]


_NUMBERED = rf"第(?P<number>{_NUMBER}{{1,9}})条(?:之(?P<inserted>{_NUMBER}{{1,3}}))?"
_ENTRY = re.compile(rf"\s*《(?P<law>[^\n]{{1,200}}?)》\s*{_NUMBERED}[:：\s　]*")
_LINE = re.compile(rf"^(?:\*\*|#+[ \t]*)?{_NUMBERED}(?:\*\*)?(?=[\s　:：]|$)[ \t　:：]*", re.MULTILINE)
_HEADING = re.compile(r"\s*#[ \t]*(?P<law>[^\n]+)")
_DIVISION = re.compile(r"^#+ .*$", re.MULTILINE)


def parse_entry(text: str) -> tuple[Article, str] | None:
    """Return the article and its text from `《X》第N条：…`, or None if `text` does not have this form."""
    match = _ENTRY.match(text)
    article = match and _article(title_key(match["law"]), match)
    return (article, text[match.end() :].strip()) if match and article else None


def split_articles(text: str, law: str | None = None) -> Iterator[tuple[Article, str]]:
    """Yield the articles in the full `text` of a law, each with the text of the article.

    `law` is the title; by default it is the text's `# heading`, and a text without a heading has no articles. An
    article begins on a new line with 第N条 and white space, and ends where the next article or a `## heading` begins.
    Articles with equal numbers are all yielded.
    """
    heading = _HEADING.match(text)
    key = title_key(law or (heading["law"] if heading else ""))
    starts = list(_LINE.finditer(text)) if key else []
    ends = [*(start.start() for start in starts[1:]), len(text)]
    for start, end in zip(starts, ends, strict=bool(starts)):
        if article := _article(key, start):
            article_text = _DIVISION.split(text[start.end() : end], maxsplit=1)[0]
            yield article, article_text.strip()


def _article(law: str, match: re.Match[str]) -> Article | None:
    number, inserted = parse_numeral(match["number"]), parse_numeral(match["inserted"] or "1")
    if number is None or inserted is None:
        return None
    return Article(law, number, inserted if match["inserted"] else 0)
