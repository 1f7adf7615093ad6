r"""Entities and relations read out of an answer, and how many of them are right.

The format is KnowLM's first, `(头实体,关系,尾实体),(…)` or `(实体,实体类型),(…)`, as the kg2instruction of
zjunlp/DeepKE@4b27718 writes it. Its prefix and its "NAN" are known, and a tuple that holds a "NAN" is none, as there.
Where its expression `\([^()]*\)?` ends at every bracket, or without one, and its commas are ASCII, `tuples` reads
brackets in pairs, and full-width punctuation too. Any text can be read, in time linear in its length.

Not here: KnowLM's other formats and IEPile's JSON, events and their arguments, matches that are less than exact, and
sums over documents (`aggregate`).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from itertools import pairwise
from typing import NamedTuple

NAN = "NAN"
"""What is written where there is nothing: for a whole answer and for one item."""

_SEPARATORS = (",", "，", "、")
_MARK = re.compile("[(（)）,，、]")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’"}
_AROUND = "".join((*_QUOTES, *_QUOTES.values(), "。."))
_PREFIX = re.compile(r"\s*输入中包含的(?:实体|关系三元组|事件)是[：:]")
_NOTHING = {NAN.casefold(), "无", "[]"}


class Counts(NamedTuple):
    """How many were said, how many were wanted, and how many of those said were wanted, in one document or in many."""

    hits: int
    said: int
    wanted: int

    @property
    def precision(self) -> float:
        """The share of what was said that was wanted; 0 where nothing was said."""
        return self.hits / self.said if self.said else 0.0

    @property
    def recall(self) -> float:
        """The share of what was wanted that was said; 0 where nothing was wanted."""
        return self.hits / self.wanted if self.wanted else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of both; 0 where nothing was said and nothing wanted, as in kg2instruction."""
        above, below = self.pair
        return above / below if below else 0.0

    @property
    def pair(self) -> tuple[float, float]:
        """Numerator and denominator of F1: `aggregate.ratio` over the pairs of documents is their micro F1.

        A document where nothing was said and nothing wanted is (0, 0) and changes no corpus.
        """
        return 2.0 * self.hits, float(self.said + self.wanted)


def counts(said: Iterable[Hashable], wanted: Iterable[Hashable]) -> Counts:
    """Return the counts of two sets: a repeated one counts once, and a hit is an equal one.

    kg2instruction's eval/metrics.py with `match_mode` "set", which takes an answer that cannot be parsed for an empty
    one: `tuples(answer) or []`.
    """
    ours, theirs = set(said), set(wanted)
    return Counts(len(ours & theirs), len(ours), len(theirs))


def tuples(text: str) -> list[tuple[str, ...]] | None:
    """Return the tuples in `text` in order of appearance, repeated ones too, or None where it is in no known form.

    A tuple is a pair of brackets, of either width, that holds a separator and, beside brackets, words. It is cut at the
    first of , ， and 、 that it has outside of inner brackets: the others stand within items, as the inner brackets do.
    Items lose white space and one pair of quotes around them. Tuples of any length are returned, and those in which an
    item is empty or "NAN" are left out. Text outside of brackets, and a bracket without its partner, count for nothing.

    The list is empty where only such tuples are left out, and where the answer is empty or says on each of its lines
    that there is nothing: "NAN" in any case, "无" or "[]".
    """
    brackets = _brackets(text)
    if not brackets:
        return [] if _says_nothing(text) else None
    found = (_items(text, bracket) for bracket in brackets)
    return [items for items in found if all(item not in ("", NAN) for item in items)]


def written(items: Iterable[tuple[str, ...]]) -> str:
    """Return tuples as kg2instruction writes them in Chinese, without its prefix.

    `tuples` reads the same out of it if each tuple has two items or more, and no item is empty, "NAN" or in quotes, has
    white space at its ends, or holds a bracket or an ASCII comma.
    """
    return ",".join(f"({','.join(item or NAN for item in one)})" for one in items) or NAN


class _Bracket:
    """A bracket that was opened at `start`, when `before` tuples had been read."""

    def __init__(self, start: int, before: int) -> None:
        self.start, self.end, self.before = start, start, before
        self.separators: list[int] = []
        self.has_words = False


def _brackets(text: str) -> list[_Bracket]:
    """Return the brackets that are tuples and lie in no other tuple; each mark of `text` is looked at once."""
    found: list[_Bracket] = []
    opened: list[_Bracket] = []
    after = 0
    for match in _MARK.finditer(text):
        here, mark = match.start(), match[0]
        if opened and text[after:here].strip():
            opened[-1].has_words = True
        after = here + 1
        if mark in "(（":
            opened.append(_Bracket(here, len(found)))
        elif opened and mark in _SEPARATORS:
            opened[-1].separators.append(here)
        elif opened:
            bracket = opened.pop()
            bracket.end = here
            if bracket.separators and bracket.has_words:
                del found[bracket.before :]
                found.append(bracket)
    return found


def _items(text: str, bracket: _Bracket) -> tuple[str, ...]:
    marks = [text[place] for place in bracket.separators]
    separator = next(mark for mark in _SEPARATORS if mark in marks)
    inner = (place for place, mark in zip(bracket.separators, marks, strict=True) if mark == separator)
    return tuple(_bare(text[start + 1 : end]) for start, end in pairwise((bracket.start, *inner, bracket.end)))


def _bare(item: str) -> str:
    """Return `item` without white space and one pair of quotes around it; “a” and “b” is not one pair."""
    item = item.strip()
    if len(item) < 2 or _QUOTES.get(item[0]) != item[-1]:
        return item
    inside = item[1:-1]
    return item if item[0] in inside or item[-1] in inside else inside.strip()


def _says_nothing(text: str) -> bool:
    prefix = _PREFIX.match(text)
    lines = text[prefix.end() if prefix else 0 :].splitlines()
    return all(line.strip().strip(_AROUND).casefold() in _NOTHING for line in lines if line.strip())
