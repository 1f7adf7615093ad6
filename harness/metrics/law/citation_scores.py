"""Whether the articles an answer cites are right, exist, were given, and say what the answer says they say.

No standard is published. H1 and H2 are those of Lawyer LLaMA (arXiv 2305.15062 v2, section 5), where people judged;
here is what text alone decides, and people would find more of both. What it calls redundant is not defined there:

- H1, `fabricates`: at least one cited article is known not to exist. An article of a law that the book has not is
  neither real nor fabricated.
- H2, `mistitles`: at least one article that exists stands under a wrong title or number. That is told where a sentence
  repeats RUN letters or more of an article's text and cites only others, all known not to say that; and where an
  article that does not exist has the number of one the question is about, of another law. A paraphrase under a wrong
  number is not seen.
- `redundant`: at least one article is cited that was put before the model and that the reference answer does not cite.

The denominator of H1 and H2 is answers that cite an article, that of redundancy answers that cite one where the
reference does, too. Articles count once an answer.

Not here: reading citations (`harness.metrics.law.citations`), and sums over answers
(`harness.metrics.stats.estimates`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from harness.metrics.extraction.tuples import Counts, count_matches
from harness.metrics.law.citations import KNOWN, Cited, articles
from harness.metrics.law.statutes import ALIASES, Article, Book
from harness.metrics.law.strict_citations import numeral

RUN = 15
"""Letters in a row that are a quotation; punctuation and white space are none."""


class Share(NamedTuple):
    """So many of so many: `aggregate.ratio` over those of several answers is their share."""

    hits: float
    of: float


def agreement(said: Iterable[Article | Cited], gold: Iterable[Article | Cited]) -> Counts:
    """Return how many of those `said` are in `gold`; precision, recall and F1 are its properties.

    Of articles each counts once, whatever its paragraphs; of what `citations.cited` returns, each paragraph and item
    does, and a whole article is another than its first paragraph.
    """
    return count_matches(said, gold)


def existing(said: Iterable[Article], book: Book) -> Share:
    """Return how many articles of `said` exist, of those whose law is in `book`; each counts once."""
    told = [book.has(article) for article in set(said)]
    return Share(told.count(True), len(told) - told.count(None))


def among(said: Iterable[Article], some: Iterable[Article]) -> Share:
    """Return how many articles of `said` are in `some`; each counts once."""
    found = set(said)
    return Share(len(found & set(some)), len(found))


def fabricates(said: Iterable[Article], book: Book) -> bool:
    """Tell whether an article of `said` is known not to exist (H1)."""
    return any(book.has(article) is False for article in said)


def redundant(said: Iterable[Article], given: Iterable[Article], needed: Iterable[Article]) -> bool:
    """Tell whether `said` has an article that was `given` and is not `needed`."""
    return bool(set(said) & set(given) - set(needed))


class Quotations:
    """Finds the texts of a book's articles in answers; it holds an entry for each letter of them."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._owners: dict[str, set[Article]] = {}
        for article, text in book.texts.items():
            for run in (run for piece in _pieces(text) for run in _runs(piece)):
                self._owners.setdefault(run, set()).add(article)

    def repeated(self, sentence: str) -> list[frozenset[Article]]:
        """Return, for each stretch of `sentence` that is made of quotations, the articles that say any part of it."""
        stretches: list[set[Article]] = []
        for piece in _pieces(sentence):
            goes_on = False
            for run in _runs(piece):
                owners = self._owners.get(run)
                if owners and goes_on:
                    stretches[-1] |= owners
                elif owners:
                    stretches.append(set(owners))
                goes_on = bool(owners)
        return [frozenset(owners) for owners in stretches]

    def wrong(self, cited: Collection[Article], sentence: str) -> bool:
        """Tell whether `sentence`, which cites these articles, repeats one that it does not cite, and none of them.

        One that it names by number alone, as in 《民法典》第三条规定…，而第五条规定…, is cited, too.
        """
        if not cited or not all(self._told(article) for article in cited):
            return False
        alone = _numbers(sentence) - {article[1:] for article in cited}
        return any(
            owners.isdisjoint(cited) and alone.isdisjoint(owner[1:] for owner in owners)
            for owners in self.repeated(sentence)
        )

    def _told(self, article: Article) -> bool:
        """Tell whether it is known what `article` says: its text is here, or there is no such article."""
        return article in self._book.texts or self._book.has(article) is False


def mistitles(
    answer: str,
    about: Iterable[Article],
    quotations: Quotations,
    book: Book,
    names: Iterable[str] = KNOWN,
    aliases: Mapping[str, str] = ALIASES,
) -> bool:
    """Tell whether `answer` has an existing article under a wrong title or number (H2), as far as text tells.

    `about` are the articles that the question is about, such as those its data provide.
    """
    names = frozenset(names)
    of_number: dict[tuple[int, int], set[str]] = {}
    for article in about:
        of_number.setdefault(article[1:], set()).add(article.law)
    for sentence in _SENTENCE_END.split(answer):
        said = articles(sentence, names, aliases)
        if any(book.has(one) is False and of_number.get(one[1:], set()) - {one.law} for one in said):
            return True
        if quotations.wrong(said, sentence):
            return True
    return False


_SENTENCE_END = re.compile(r"(?<=[。！？!?；;\n])")


_DIGITS = "[0-9０-９零〇一二三四五六七八九十百千两]"
_CITATION = re.compile(rf"《[^《》\n]*》|第{_DIGITS}{{1,9}}[条款项]")
_NUMBER = re.compile(rf"第({_DIGITS}{{1,9}})条(?:之({_DIGITS}{{1,3}}))?")


def _numbers(sentence: str) -> set[tuple[int, int]]:
    """Return the numbers of articles in `sentence`, and at which place behind such an article each is inserted."""
    found = ((numeral(match[1]), numeral(match[2]) if match[2] else 0) for match in _NUMBER.finditer(sentence))
    return {(number, place) for number, place in found if number is not None and place is not None}


def _pieces(text: str) -> list[str]:
    """Return the letters of `text` between its citations: that two texts cite the same makes neither a quotation."""
    return ["".join(letter for letter in piece if letter.isalnum()) for piece in _CITATION.split(text)]


def _runs(letters: str) -> list[str]:
    return [letters[start : start + RUN] for start in range(len(letters) - RUN + 1)]
