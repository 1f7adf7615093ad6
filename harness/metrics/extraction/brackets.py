"""Brackets in a text that was meant to have them in pairs: which hold which, and where each is divided.

A bracket that never closes holds nothing: what is in it belongs to what it is in. One that closes without having been
opened is a letter like others. Each mark is looked at once, so that any text takes time linear in its length.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

SEPARATORS = (",", "，", "、")
_OPENING = {"(": "(", "（": "(", "[": "[", "【": "[", "{": "{", "<": "<", "＜": "<"}
_CLOSING = {")": "(", "）": "(", "]": "[", "】": "[", "}": "{", ">": "<", "＞": "<"}


class Group:
    """A pair of brackets, at the places `start` and `end`; a whole text is one from -1 to its length."""

    __slots__ = ("end", "groups", "has_words", "kind", "separators", "start")

    def __init__(self, kind: str, start: int) -> None:
        self.kind, self.start, self.end = kind, start, start
        self.separators: list[int] = []
        """Places of commas that are in no inner group."""
        self.groups: list[Group] = []
        self.has_words = False
        """Something but white space stands in it outside of inner groups."""

    def outermost(self, kind: str) -> Iterator[Group]:
        """Yield the inner groups of `kind` that are tuples, but for those within tuples: they have commas and words."""
        waiting = self.groups[::-1]
        while waiting:
            group = waiting.pop()
            if group.kind == kind and group.separators and group.has_words:
                yield group
            else:
                waiting += group.groups[::-1]

    def fields(self, text: str) -> list[tuple[int, int]]:
        """Return the parts of the group, start and end of each: cut at the first of , ， and 、 that it has."""
        places = of_one_kind(text, self.separators)
        return [(before + 1, after) for before, after in pairwise((self.start, *places, self.end))]


def of_one_kind(text: str, places: Sequence[int]) -> list[int]:
    """Return those of the commas at `places` that are of the first kind, of , ， and 、, that is among them."""
    marks = {text[place] for place in places}
    mark = next((mark for mark in SEPARATORS if mark in marks), None)
    return [place for place in places if text[place] == mark]


def grouped(text: str, kinds: str) -> Group:
    """Return the whole of `text` as a group, its brackets of `kinds` ("(", "[", "{", "<", of either width) in it."""
    opening = {mark: kind for mark, kind in _OPENING.items() if kind in kinds}
    closing = {mark: kind for mark, kind in _CLOSING.items() if kind in kinds}
    marks = re.compile(f"[{re.escape(''.join((*opening, *closing, *SEPARATORS)))}]")
    stack, opened, after = [Group("", -1)], Counter[str](), 0
    for match in marks.finditer(text):
        here, mark = match.start(), match[0]
        if not stack[-1].has_words and text[after:here].strip():
            stack[-1].has_words = True
        after = here + 1
        if mark in opening:
            stack.append(Group(opening[mark], here))
            opened[opening[mark]] += 1
        elif mark in SEPARATORS:
            stack[-1].separators.append(here)
        elif opened[kind := closing[mark]]:
            _close(stack, opened, kind, here)
        else:
            stack[-1].has_words = True
    whole = stack[0]
    _dissolve(whole, stack[1:])
    whole.has_words = whole.has_words or bool(text[after:].strip())
    whole.end = len(text)
    return whole


def _close(stack: list[Group], opened: Counter[str], kind: str, here: int) -> None:
    place = next(place for place in range(len(stack) - 1, -1, -1) if stack[place].kind == kind)
    group, unclosed = stack[place], stack[place + 1 :]
    del stack[place:]
    opened.subtract(one.kind for one in (group, *unclosed))
    _dissolve(group, unclosed)
    group.end = here
    stack[-1].groups.append(group)


def _dissolve(group: Group, unclosed: list[Group]) -> None:
    """Give what is in brackets that never close to `group`; they come in the order of the text."""
    for one in unclosed:
        group.separators += one.separators
        group.groups += one.groups
        group.has_words = True
