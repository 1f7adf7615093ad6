r"""Regular expressions that come with a checkpoint: whether matching one may take for ever.

A backtracking engine may try every way to match a text. If a repeated part can match the same text in two ways, as in
`(a+)+`, `(a|a)*` and `(\w|\d)+`, the number of ways doubles with each character. A pattern is judged by its text alone,
so that the result holds for Python's syntax and for Oniguruma's. The judgement errs on the side of "may hang".

The method: the positions of a repeated part (its characters and classes) form an automaton, Glushkov's. Two different
walks through it that begin and end at the same positions and match the same text mean exponential time (Weber and
Seidl, "On the degree of ambiguity of finite automata", 1991). Whether two classes share a character is tried with the
characters that the pattern names and with samples of every Unicode category (`harness.common.character_classes`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

from harness.common import character_classes

LONGEST = 100_000
"""Number of characters in the longest pattern that is accepted."""
_REPEATS = 12
"""Largest number of repeats without an upper limit (`*`, `+`, `{2,}`) that one match of a pattern may pass."""
_OPTIONS = 24
"""Largest number of optional parts (`?`) that one match of a pattern may pass."""
_DEPTH = 100
"""Largest number of groups within one another."""
_COPIES = 6
"""Number of times that the part of an exact repeat, `{3}`, is written out; more times are taken for this number."""
_POSITIONS = 2_000
"""Largest number of positions of a repeated part."""
_STEPS = 300_000
"""Largest number of pairs of positions that are compared."""
_TOKEN = re.compile(
    r"(?P<class>\[)|(?P<comment>\(\?#[^)]*\))|(?P<same>\(\?P=\w+\))"
    r"|(?P<open>\((?:\?(?:[:=!>|~]|<[=!]|P?<\w+>|'\w+'|[\w-]+[:)])?)?)|(?P<close>\))"
    r"|(?P<repeat>[*+?]|\{\d*,\d*\}|\{\d+\})(?:\?|(?<=[*+?])\+)?|(?P<either>\|)|(?P<edge>\^|\$|\\[bBAzZGK])"
    r"|(?P<call>\\g[<'{])|(?P<atom>\\[pP](?:\{[^}]*\}|\w)|\\x\{[^}]*\}|\\x\w\w|\\u\w{4}|\\[kN][<{][^>}]*[>}]|\\.|.)",
    re.DOTALL,
)


@functools.lru_cache(maxsize=64)
def may_hang(pattern: str) -> bool:
    """Return whether matching `pattern` may take time that grows faster than a small power of the text's length."""
    if len(pattern) > LONGEST:
        return True
    try:
        for nests in (False, True):
            _Parser(pattern, nests=nests).pattern()
    except _HangingError:
        return True
    return False


class _HangingError(Exception):
    """A part of the pattern may hang."""


@dataclass
class _Part:
    """A part of a pattern as an automaton: how matches begin and end, and what follows what."""

    is_nullable: bool = True
    """Whether it can match the empty text."""
    is_doubtful: bool = False
    """Whether it, or a part of it, can match the empty text in two ways."""
    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    follow: dict[int, list[int]] = field(default_factory=dict)
    """The positions that can come next, by position; each position of the part is a key."""
    repeats: int = 0
    """Repeats without an upper limit that one match may pass."""
    options: int = 0
    """Optional parts that one match may pass."""


class _Parser:
    """Reads a pattern from left to right. Every method raises _HangingError as soon as a repeated part may hang."""

    def __init__(self, pattern: str, *, nests: bool) -> None:
        """With `nests`, a square bracket within a class begins a class, as in Oniguruma; in Python, it does not."""
        self._pattern, self._nests, self._place, self._depth = pattern, nests, 0, 0
        self._edges = self._steps = 0
        self._classes: dict[int, frozenset[str]] = {}
        """The sample characters that each position matches."""
        flags = "".join(re.findall(r"\(\?([\w-]+)[:)]", pattern))
        self._ignores_case, self._ignores_space = "i" in flags, "x" in flags
        escapes = re.findall(r"\\(?:x\w\w|u\w{4}|x\{\w+\})", pattern)
        named = {*pattern, *map(character_classes.literal, escapes)} | character_classes.samples()
        self._samples = frozenset(named)
        self._sets: dict[str, frozenset[str]] = {}

    def pattern(self) -> _Part:
        """Return the whole pattern. What follows a bracket that closes no group is joined to it."""
        part = self._alternatives()
        while self._place < len(self._pattern):
            self._place += 1
            part = self._joined(part, self._alternatives())
        return part

    def _alternatives(self) -> _Part:
        """Read alternatives up to a closing bracket, which stays, or the end."""
        self._depth += 1
        if self._depth > _DEPTH:
            raise _HangingError
        result: _Part | None = None
        while True:
            part, ended = self._sequence()
            result = part if result is None else _either(result, part)
            if ended:
                self._depth -= 1
                return result

    def _sequence(self) -> tuple[_Part, bool]:
        """Read one alternative. Return it, and whether it is the last one."""
        result, item = _Part(), _Part()
        while self._place < len(self._pattern):
            token = _TOKEN.match(self._pattern, self._place)
            assert token is not None
            if token["close"]:
                return self._joined(result, item), True
            self._place = token.end()
            if token["either"]:
                return self._joined(result, item), False
            if token["repeat"]:
                item = self._repeated(item, token["repeat"])
                continue
            if self._ignores_space and (token[0].isspace() or token[0] == "#"):
                end = self._pattern.find("\n", self._place) + 1 if token[0] == "#" else self._place
                self._place = end or len(self._pattern)
                continue
            result, item = self._joined(result, item), self._item(token)
        return self._joined(result, item), True

    def _item(self, token: re.Match[str]) -> _Part:
        """Return what a token begins, without its repeat."""
        if token["call"]:  # Oniguruma calls a group, perhaps from within itself
            raise _HangingError
        if opened := token["open"]:
            if opened.endswith(")"):
                return _Part()
            if opened == "(?~":  # Oniguruma's absent operator
                raise _HangingError
            part = self._alternatives()
            self._place += 1
            if opened.startswith(("(?=", "(?!", "(?<=", "(?<!")):
                return _Part(repeats=part.repeats, options=part.options)
            return part
        if token["class"]:
            return self._position(self._members(self._bracketed()))
        if token["same"]:
            return self._position(self._samples)
        if token["atom"]:
            return self._position(self._members(token["atom"]))
        return _Part()

    def _bracketed(self) -> str:
        """Read a class in square brackets, the first of which has been read, and return its text."""
        start, depth = self._place - 1, 1
        rest = re.compile(r"\^?\]?").match(self._pattern, self._place)
        assert rest is not None
        self._place = rest.end()
        while depth and self._place < len(self._pattern):
            character = self._pattern[self._place]
            self._place += 2 if character == "\\" else 1
            depth += (character == "[" and self._nests) - (character == "]")
        return self._pattern[start : self._place]

    def _position(self, members: frozenset[str]) -> _Part:
        place = len(self._classes)
        self._classes[place] = members
        return _Part(is_nullable=False, first=[place], last=[place], follow={place: []})

    def _members(self, text: str) -> frozenset[str]:
        """Return the sample characters that the class or character `text` matches."""
        if text not in self._sets:
            character = None if text.startswith("[") else character_classes.character_of(text)
            if character is None and len(self._sets) * len(self._samples) > _STEPS:
                raise _HangingError
            matches = character_classes.predicate(text)
            result = frozenset(
                {character} if character else filter(matches, self._samples) if matches else self._samples
            )
            if self._ignores_case:
                result |= {form for character in result for form in (character.lower(), character.upper())}
            self._sets[text] = result
        return self._sets[text]

    def _joined(self, left: _Part, right: _Part) -> _Part:
        """Return `left` followed by `right`."""
        if left.repeats + right.repeats > _REPEATS or left.options + right.options > _OPTIONS:
            raise _HangingError
        self._edges += len(left.last) * len(right.first)
        if self._edges > _STEPS:
            raise _HangingError
        follow = left.follow
        follow.update(right.follow)
        for place in left.last if right.first else ():
            follow[place] = follow[place] + right.first
        return _Part(
            left.is_nullable and right.is_nullable,
            left.is_doubtful or right.is_doubtful,
            left.first + right.first if left.is_nullable else left.first,
            left.last + right.last if right.is_nullable else right.last,
            follow,
            left.repeats + right.repeats,
            left.options + right.options,
        )

    def _repeated(self, part: _Part, repeat: str) -> _Part:
        """Return `part` with a repeat after it."""
        least, most = _bounds(repeat)
        if most is not None and most <= 1:
            is_option = most == 1 and least == 0
            part.is_doubtful |= is_option and part.is_nullable
            part.is_nullable |= is_option
            part.options += is_option
            return part if most else _Part()
        if not part.follow:  # edges and lookarounds
            return part
        loop = self._loop(part)
        if least == most and not part.is_nullable:
            return self._copied(part, most or 0)
        if least == most and most is not None and most > _COPIES:
            raise _HangingError  # which of the repeats match nothing?
        loop.is_doubtful = part.is_nullable and least != 1
        loop.is_nullable |= least == 0
        loop.repeats += most is None or most > 100
        return loop

    def _loop(self, part: _Part) -> _Part:
        """Return one or more of `part`."""
        if part.is_doubtful or len(part.follow) > _POSITIONS:
            raise _HangingError
        follow = dict(part.follow)
        first = set(part.first)
        for place in part.last:
            if not first.isdisjoint(follow[place]):  # the same step within the part, or from its end to its start
                raise _HangingError
            follow[place] = follow[place] + part.first
        if len(part.follow) > 1 and self._is_ambiguous(follow):
            raise _HangingError
        return _Part(part.is_nullable, False, part.first, part.last, follow, part.repeats, part.options)

    def _copied(self, part: _Part, count: int) -> _Part:
        """Return `count` of `part`, one after the other, or as many as are written out."""
        if len(part.follow) * min(count, _COPIES) > _POSITIONS:
            raise _HangingError
        result = _Part()
        for _ in range(min(count, _COPIES)):
            places = {place: len(self._classes) + number for number, place in enumerate(part.follow)}
            self._classes |= {new: self._classes[old] for old, new in places.items()}
            copy = _Part(
                part.is_nullable,
                part.is_doubtful,
                [places[place] for place in part.first],
                [places[place] for place in part.last],
                {places[place]: [places[other] for other in after] for place, after in part.follow.items()},
            )
            result = self._joined(result, copy)
        result.repeats, result.options = part.repeats * min(count, 100), part.options * min(count, 100)
        return result

    def _is_ambiguous(self, follow: dict[int, list[int]]) -> bool:
        """Return whether two walks that part at a position and meet at another can match the same text."""
        pending: list[tuple[int, int]] = []
        visited: set[tuple[int, int]] = set()

        def visit(pairs: Iterable[tuple[int, int]]) -> bool:
            for pair in pairs:
                self._steps += 1
                if self._steps > _STEPS:
                    return True
                if pair in visited or self._classes[pair[0]].isdisjoint(self._classes[pair[1]]):
                    continue
                if pair[0] == pair[1]:
                    return True
                visited.add(pair)
                pending.append(pair)
            return False

        if any(visit(combinations(after, 2)) for after in {*map(tuple, follow.values())}):
            return True
        while pending:
            left, right = pending.pop()
            if visit((one, other) for one in follow[left] for other in follow[right]):
                return True
        return False


def _either(left: _Part, right: _Part) -> _Part:
    """Return `left` or `right`."""
    left.first += right.first
    left.last += right.last
    left.follow.update(right.follow)
    return _Part(
        left.is_nullable or right.is_nullable,
        left.is_doubtful or right.is_doubtful or (left.is_nullable and right.is_nullable),
        left.first,
        left.last,
        left.follow,
        max(left.repeats, right.repeats),
        max(left.options, right.options),
    )


def _bounds(repeat: str) -> tuple[int, int | None]:
    """Return the least and the largest number of times that a repeat allows; None: any number."""
    if len(repeat) > 20:
        raise _HangingError
    if repeat in ("*", "+", "?"):
        return (1 if repeat == "+" else 0), (1 if repeat == "?" else None)
    least, comma, most = repeat[1:-1].partition(",")
    if not comma:
        return int(least), int(least)
    return int(least or 0), (int(most) if most else None)
