r"""KnowLM's tuple format for entities and relations, and counts of correct predictions.

The format is the first of KnowLM's, `(头实体,关系,尾实体),(…)` or `(实体,实体类型),(…)`, as kg2instruction in
zjunlp/DeepKE@4b27718 writes it. As there, an answer may begin with a prefix, "NAN" stands for nothing, and a tuple that
contains "NAN" is dropped. kg2instruction's own pattern, `\([^()]*\)?`, ends a tuple at the first bracket inside it,
accepts a tuple that is never closed, and splits only at ASCII commas; `parse_tuples` pairs up brackets and accepts
full-width punctuation too. `parse_tuples` parses any text, in time linear in its length.

Not here: KnowLM's other formats and events (`parse`), IEPile's JSON (`iepile`), partial matches, and sums over
documents (`harness.metrics.stats.estimates`).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from itertools import pairwise
from typing import NamedTuple

NAN = "NAN"
"""The text that is written for an empty answer, and for an empty item of a tuple."""

_SEPARATORS = (",", "，", "、")
_MARK = re.compile("[(（)）,，、]")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’"}
_STRIPPED = "".join((*_QUOTES, *_QUOTES.values(), "。."))
_PREFIX = re.compile(r"\s*输入中包含的(?:实体|关系三元组|事件)是[：:]")
_NOTHING = {NAN.casefold(), "无", "[]"}


class Counts(NamedTuple):
    """Numbers of correct, predicted and expected items, in one document or in several."""

    hits: int
    """The number of predicted items that are expected."""
    predicted: int
    expected: int

    @property
    def precision(self) -> float:
        """The share of predicted items that are expected; 0 if nothing is predicted."""
        return self.hits / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """The share of expected items that are predicted; 0 if nothing is expected."""
        return self.hits / self.expected if self.expected else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 if nothing is predicted or expected, as in kg2instruction."""
        numerator, denominator = self.f1_pair
        return numerator / denominator if denominator else 0.0

    @property
    def f1_pair(self) -> tuple[float, float]:
        """The numerator and denominator of F1: `estimates.ratio` over the pairs of all documents is their micro F1.

        A document in which nothing is predicted or expected has (0, 0), which changes no total.
        """
        return 2.0 * self.hits, float(self.predicted + self.expected)


def count_matches(predicted: Iterable[Hashable], expected: Iterable[Hashable]) -> Counts:
    """Return the counts of two sets of items: repeated items count once, and only equal items match.

    This is kg2instruction's eval/metrics.py with `match_mode` "set". There, an answer that cannot be parsed counts as
    an empty answer: pass `parse_tuples(answer) or []`.
    """
    predicted_set, expected_set = set(predicted), set(expected)
    return Counts(len(predicted_set & expected_set), len(predicted_set), len(expected_set))


def parse_tuples(text: str) -> list[tuple[str, ...]] | None:
    """Return the tuples in `text` in order, including repeated ones, or None if `text` is in no known form.

    A tuple is a pair of brackets of either width that contains a separator and, outside of inner brackets, at least one
    word. It is split at one kind of separator, the first of , ， and 、 that it has outside of inner brackets; other
    separators and inner brackets belong to its items. Items lose surrounding white space and one pair of quotes. Tuples
    of any length are returned, except those with an item that is empty or "NAN". Text outside of brackets, and brackets
    without a partner, are ignored.

    The list is empty if every tuple is dropped for such an item, if `text` is empty, or if each of its lines says that
    there is nothing: "NAN" in any case, "无" or "[]".
    """
    brackets = _tuple_brackets(text)
    if not brackets:
        return [] if _says_nothing(text) else None
    candidates = (_items(text, bracket) for bracket in brackets)
    return [items for items in candidates if all(item not in ("", NAN) for item in items)]


def format_tuples(tuples: Iterable[tuple[str, ...]]) -> str:
    """Return tuples in the format that kg2instruction uses in Chinese, without the answer's prefix.

    `parse_tuples` returns the same tuples if each has two items or more, and no item is empty, "NAN" or in quotes, has
    surrounding white space, or contains a bracket or an ASCII comma.
    """
    return ",".join(f"({','.join(item or NAN for item in items)})" for items in tuples) or NAN


class _Bracket:
    """A bracket that opens at `start`, when `tuples_before` tuples have been completed."""

    def __init__(self, start: int, tuples_before: int) -> None:
        self.start, self.end, self.tuples_before = start, start, tuples_before
        self.separators: list[int] = []
        self.has_words = False


def _tuple_brackets(text: str) -> list[_Bracket]:
    """Return the brackets that are tuples and not inside another tuple, in one pass over `text`."""
    tuples: list[_Bracket] = []
    stack: list[_Bracket] = []
    previous_end = 0
    for match in _MARK.finditer(text):
        position, mark = match.start(), match[0]
        if stack and text[previous_end:position].strip():
            stack[-1].has_words = True
        previous_end = position + 1
        if mark in "(（":
            stack.append(_Bracket(position, len(tuples)))
        elif stack and mark in _SEPARATORS:
            stack[-1].separators.append(position)
        elif stack:
            bracket = stack.pop()
            bracket.end = position
            if bracket.separators and bracket.has_words:
                del tuples[bracket.tuples_before :]
                tuples.append(bracket)
    return tuples


def _items(text: str, bracket: _Bracket) -> tuple[str, ...]:
    marks = [text[position] for position in bracket.separators]
    separator = next(mark for mark in _SEPARATORS if mark in marks)
    splits = (position for position, mark in zip(bracket.separators, marks, strict=True) if mark == separator)
    return tuple(_unquoted(text[start + 1 : end]) for start, end in pairwise((bracket.start, *splits, bracket.end)))


def _unquoted(item: str) -> str:
    """Return `item` without outer white space, and without quotes if one pair encloses it all (not “a” and “b”)."""
    item = item.strip()
    if len(item) < 2 or _QUOTES.get(item[0]) != item[-1]:
        return item
    inside = item[1:-1]
    return item if item[0] in inside or item[-1] in inside else inside.strip()


def _says_nothing(text: str) -> bool:
    """Return whether every line of `text` says that there is nothing."""
    prefix = _PREFIX.match(text)
    lines = text[prefix.end() if prefix else 0 :].splitlines()
    return all(line.strip().strip(_STRIPPED).casefold() in _NOTHING for line in lines if line.strip())
