"""Brackets in a text: which pairs contain which, and where each pair is divided by commas.

An opening bracket without a partner groups nothing: its content belongs to the enclosing pair. A closing bracket
without a partner is ordinary text. Each bracket and comma is visited once, so that any text takes time linear in its
length.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

_SEPARATORS = (",", "，", "、")
_OPENING = {"(": "(", "（": "(", "[": "[", "【": "[", "{": "{", "<": "<", "＜": "<"}
_CLOSING = {")": "(", "）": "(", "]": "[", "】": "[", "}": "{", ">": "<", "＞": "<"}


class Group:
    """A pair of brackets at the positions `start` and `end`; a whole text is a group from -1 to its length."""

    __slots__ = ("end", "groups", "has_words", "kind", "separators", "start")

    def __init__(self, kind: str, start: int) -> None:
        self.kind, self.start, self.end = kind, start, start
        self.separators: list[int] = []
        """Positions of the commas that are in no inner group."""
        self.groups: list[Group] = []
        """The pairs of brackets directly inside this pair, in text order."""
        self.has_words = False
        """Whether the group contains anything but white space and commas outside of inner groups."""

    def outermost_tuples(self, kind: str) -> Iterator[Group]:
        """Yield the inner groups of `kind` that are tuples (have commas and words) and are inside no other tuple."""
        pending = self.groups[::-1]
        while pending:
            group = pending.pop()
            if group.kind == kind and group.separators and group.has_words:
                yield group
            else:
                pending += group.groups[::-1]

    def field_spans(self, text: str) -> list[tuple[int, int]]:
        """Return the start and end of each field. One kind of comma divides fields (see `primary_separators`)."""
        positions = primary_separators(text, self.separators)
        return [(left + 1, right) for left, right in pairwise((self.start, *positions, self.end))]


def primary_separators(text: str, positions: Sequence[int]) -> list[int]:
    """Return those of `positions` where `text` has the primary kind of comma.

    The primary kind is the first of , ， and 、 that `text` has at any of `positions`.
    """
    marks = {text[position] for position in positions}
    primary = next((mark for mark in _SEPARATORS if mark in marks), None)
    return [position for position in positions if text[position] == primary]


def parse_brackets(text: str, kinds: str) -> Group:
    """Return `text` as a group of its brackets. `kinds` are some of "(", "[", "{" and "<", each in either width."""
    opening = {mark: kind for mark, kind in _OPENING.items() if kind in kinds}
    closing = {mark: kind for mark, kind in _CLOSING.items() if kind in kinds}
    marks = re.compile(f"[{re.escape(''.join((*opening, *closing, *_SEPARATORS)))}]")
    stack, open_counts, previous_end = [Group("", -1)], Counter[str](), 0
    for match in marks.finditer(text):
        position, mark = match.start(), match[0]
        if not stack[-1].has_words and text[previous_end:position].strip():
            stack[-1].has_words = True
        previous_end = position + 1
        if mark in opening:
            stack.append(Group(opening[mark], position))
            open_counts[opening[mark]] += 1
        elif mark in _SEPARATORS:
            stack[-1].separators.append(position)
        elif open_counts[kind := closing[mark]]:
            _close(stack, open_counts, kind, position)
        else:
            stack[-1].has_words = True
    whole = stack[0]
    _absorb(whole, stack[1:])
    whole.has_words = whole.has_words or bool(text[previous_end:].strip())
    whole.end = len(text)
    return whole


def _close(stack: list[Group], open_counts: Counter[str], kind: str, position: int) -> None:
    """Close the innermost open group of `kind` at `position`, and take it and all groups inside it off `stack`."""
    index = next(index for index in range(len(stack) - 1, -1, -1) if stack[index].kind == kind)
    group, unclosed = stack[index], stack[index + 1 :]
    del stack[index:]
    open_counts.subtract(popped.kind for popped in (group, *unclosed))
    _absorb(group, unclosed)
    group.end = position
    stack[-1].groups.append(group)


def _absorb(group: Group, unclosed: list[Group]) -> None:
    """Move the content of the `unclosed` brackets, in text order, into the `group` that encloses them."""
    for inner in unclosed:
        group.separators += inner.separators
        group.groups += inner.groups
        group.has_words = True
