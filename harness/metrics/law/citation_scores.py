"""Scores of the articles that an answer cites: are they right, do they exist, and do they say what the answer claims?

No standard is published. The two faults H1 and H2 are those of Lawyer LLaMA (arXiv 2305.15062 v2, section 5), where
people judged answers. The functions here find only what the text alone decides; people would find more cases of H1 and
H2. The paper does not define redundant citations:

- H1, `cites_fabricated`: at least one cited article is known not to exist. An article of a law that is not in the
  `StatuteBook` is neither real nor fabricated.
- H2, `cites_mistitled`: at least one existing article is cited under a wrong title or number. This is detected in two
  cases. A sentence repeats QUOTATION_LENGTH characters or more of an article's text, but it cites only other articles,
  and it is known that none of these says this. Or the answer cites an article that does not exist, and the question is
  about an article of another law with the same number. A paraphrase under a wrong number is not detected.
- `cites_redundant`: at least one cited article was in the prompt and is not cited by the reference answer.

The rates of H1 and H2 are shares of the answers that cite an article. The rate of redundancy counts only those of these
answers whose reference answer cites an article, too. Articles count once per answer.

Not here: parsing citations (`citations`), and averages over answers (`harness.metrics.stats.estimates`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from harness.metrics.extraction.tuples import Counts, count_matches
from harness.metrics.law.citations import KNOWN_LAWS, Provision, cited_articles
from harness.metrics.law.statutes import ALIASES, Article, StatuteBook
from harness.metrics.law.strict_citations import parse_numeral

QUOTATION_LENGTH = 15
"""The number of consecutive characters (not counting punctuation and white space) that make a quotation."""


class Share(NamedTuple):
    """A fraction, hits / total; `estimates.ratio` over the fractions of several answers gives their joint share."""

    hits: float
    total: float


def agreement(cited: Iterable[Article | Provision], reference: Iterable[Article | Provision]) -> Counts:
    """Return the counts of `cited` articles, where the articles that the `reference` answer cites are expected.

    Each `Article` counts once, whatever paragraphs are cited. If they are `Provision`s, each paragraph and item counts,
    and a whole article differs from its first paragraph.
    """
    return count_matches(cited, reference)


def existing_share(cited: Iterable[Article], book: StatuteBook) -> Share:
    """Return the share of the distinct cited articles that exist, among those whose law is in `book`."""
    exist = [book.has_article(article) for article in set(cited)]
    return Share(exist.count(True), len(exist) - exist.count(None))


def share_among(cited: Iterable[Article], articles: Iterable[Article]) -> Share:
    """Return the share of the distinct cited articles that are among `articles`."""
    distinct = set(cited)
    return Share(len(distinct & set(articles)), len(distinct))


def cites_fabricated(cited: Iterable[Article], book: StatuteBook) -> bool:
    """Return whether a cited article is known not to exist (H1)."""
    return any(book.has_article(article) is False for article in cited)


def cites_redundant(cited: Iterable[Article], given: Iterable[Article], needed: Iterable[Article]) -> bool:
    """Return whether a cited article was `given` in the prompt but is not `needed`."""
    return bool(set(cited) & set(given) - set(needed))


class Quotations:
    """Finds texts of a book's articles in answers, by an index with an entry for each character of these texts."""

    def __init__(self, book: StatuteBook) -> None:
        self._book = book
        self._sources: dict[str, set[Article]] = {}
        """For each run of QUOTATION_LENGTH characters, the articles whose text contains the run."""
        for article, text in book.texts.items():
            for run in (run for piece in _pieces(text) for run in _runs(piece)):
                self._sources.setdefault(run, set()).add(article)

    def quoted_articles(self, sentence: str) -> list[frozenset[Article]]:
        """Return, for each quoted stretch of `sentence`, the articles whose text contains a part of it."""
        stretches: list[set[Article]] = []
        for piece in _pieces(sentence):
            continues = False
            for run in _runs(piece):
                sources = self._sources.get(run)
                if sources and continues:
                    stretches[-1] |= sources
                elif sources:
                    stretches.append(set(sources))
                continues = bool(sources)
        return [frozenset(sources) for sources in stretches]

    def is_misattributed(self, cited: Collection[Article], sentence: str) -> bool:
        """Return whether `sentence`, which cites the articles `cited`, quotes a text that is in none of them.

        Articles that the sentence names by number alone, as in 《民法典》第三条规定…，而第五条规定…, count as cited.
        The result is False if there are no `cited` articles, or if it is not known what one of them says.
        """
        if not cited or not all(self._is_content_known(article) for article in cited):
            return False
        numbers_alone = _article_numbers(sentence) - {article[1:] for article in cited}
        return any(
            sources.isdisjoint(cited) and numbers_alone.isdisjoint(source[1:] for source in sources)
            for sources in self.quoted_articles(sentence)
        )

    def _is_content_known(self, article: Article) -> bool:
        """Return whether the text of `article` is known, or it is known that the article does not exist."""
        return article in self._book.texts or self._book.has_article(article) is False


def cites_mistitled(
    answer: str,
    about: Iterable[Article],
    quotations: Quotations,
    book: StatuteBook,
    names: Iterable[str] = KNOWN_LAWS,
    aliases: Mapping[str, str] = ALIASES,
) -> bool:
    """Return whether `answer` cites an existing article under a wrong title or number (fault H2).

    Only cases that the text alone decides are found. `about` are the articles that the question is about, such as those
    that the data set provides for it.
    """
    names = frozenset(names)
    laws_by_number: dict[tuple[int, int], set[str]] = {}
    for article in about:
        laws_by_number.setdefault(article[1:], set()).add(article.law)
    for sentence in _SENTENCE_END.split(answer):
        cited = cited_articles(sentence, names, aliases)
        if any(
            book.has_article(article) is False and laws_by_number.get(article[1:], set()) - {article.law}
            for article in cited
        ):
            return True
        if quotations.is_misattributed(cited, sentence):
            return True
    return False


_SENTENCE_END = re.compile(r"(?<=[。！？!?；;\n])")


_DIGITS = "[0-9０-９零〇一二三四五六七八九十百千两]"
_CITATION = re.compile(rf"《[^《》\n]*》|第{_DIGITS}{{1,9}}[条款项]")
_NUMBER = re.compile(rf"第({_DIGITS}{{1,9}})条(?:之({_DIGITS}{{1,3}}))?")


def _article_numbers(sentence: str) -> set[tuple[int, int]]:
    """Return the (number, number after 之 or 0) of each article that `sentence` mentions, of whatever law."""
    matches = _NUMBER.finditer(sentence)
    pairs = ((parse_numeral(match[1]), parse_numeral(match[2]) if match[2] else 0) for match in matches)
    return {(number, inserted) for number, inserted in pairs if number is not None and inserted is not None}


def _pieces(text: str) -> list[str]:
    """Return the letters and digits between citations in `text`, because equal citations are not a quotation."""
    return ["".join(character for character in piece if character.isalnum()) for piece in _CITATION.split(text)]


def _runs(piece: str) -> list[str]:
    return [piece[start : start + QUOTATION_LENGTH] for start in range(len(piece) - QUOTATION_LENGTH + 1)]
