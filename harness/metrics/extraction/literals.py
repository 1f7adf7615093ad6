"""The dictionaries in an answer, written as Python or as JSON writes them, or as a checkpoint mixes both.

Nothing is evaluated, and no text is too deep or too long: one pass reads token by token with a stack of its own, in
time linear in the text. An object that breaks off or makes no sense is left out, with whatever holds it, and reading
goes on at the next one, so that an answer cut short keeps what it had said.

Not here: what the dictionaries mean (`extraction_parsers`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

Value: TypeAlias = "str | list[Value] | dict[str, Value]"
"""A number or another bare word is a string as it is spelled; null and None are empty strings."""

_TOKEN = re.compile(
    r"""\s*+(?:
        (?P<string> '(?:[^'\\\n]++|\\.)*+' | "(?:[^"\\\n]++|\\.)*+" )
      | (?P<mark> [][(){}:,] )
      | (?P<word> [^][(){}:,'"\s]++ )
    )""",
    re.VERBOSE | re.DOTALL,
)
_QUOTE = re.compile(r"""\s*+(['"])""")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""} | {mark: mark for mark in "\\/'\""}
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_NULL = ("null", "None")
_CLOSES = {"{": "}", "[": "]", "(": ")"}


def dictionaries(text: str) -> Iterator[dict[str, Value]]:
    """Yield every dictionary of `text` that is whole, those within others too, in the order in which they end.

    Of equal keys the last counts. Lists may be in round brackets, as Python's tuples are; commas may trail.
    """
    reader, place = _Reader(text), text.find("{")
    while place >= 0:
        yield from reader.read(place)
        place = text.find("{", reader.place)


class _Reader:
    """Reads one object after another; `place` is how far it has come."""

    def __init__(self, text: str) -> None:
        self.text, self.place = text, 0
        self._open_until = {"'": 0, '"': 0}
        """Up to where no string of this quote can begin, since none ends there."""

    def read(self, place: int) -> Iterator[dict[str, Value]]:
        """Yield the dictionaries of the object that begins at `place`, up to its end or to what makes no sense."""
        self.place = place
        stack: list[_Frame] = []
        while (token := self._token()) is not None:
            kind, what = token
            if kind == "mark" and what in _CLOSES:
                if stack and not stack[-1].wants_value:
                    return
                stack.append(_Frame(what))
                self.place += 1
                continue
            self.place = self._after
            if kind != "mark":
                if not stack[-1].take(self._value(kind, what)):
                    return
            elif what in "}])":
                frame = stack.pop()
                if not frame.closes_with(what):
                    return
                if isinstance(frame.made, dict):
                    yield frame.made
                if not stack:
                    return
                stack[-1].take(frame.made)
            elif not stack[-1].punctuate(what):
                return

    def _token(self) -> tuple[str, str] | None:
        """Return the next token, `place` being where it begins; None at the end, or where a string does not end."""
        if (quote := _QUOTE.match(self.text, self.place)) and quote.start(1) < self._open_until[quote[1]]:
            self.place = quote.end()
            return None
        match = _TOKEN.match(self.text, self.place)
        if match is None or match.lastgroup is None:
            if quote:
                line = self.text.find("\n", quote.end())
                self._open_until[quote[1]] = len(self.text) if line < 0 else line
            self.place = quote.end() if quote else len(self.text)
            return None
        self._after = match.end()
        self.place = match.start(match.lastgroup)
        return match.lastgroup, match[match.lastgroup]

    def _value(self, kind: str, what: str) -> str:
        if kind == "string":
            return _unescaped(what[1:-1])
        return "" if what in _NULL else what


class _Frame:
    """An object that is being read."""

    def __init__(self, bracket: str) -> None:
        self._closing = _CLOSES[bracket]
        self.made: dict[str, Value] | list[Value] = {} if bracket == "{" else []
        self._key = ""
        self._next = "key" if bracket == "{" else "value"

    @property
    def wants_value(self) -> bool:
        return self._next == "value"

    def take(self, value: Value) -> bool:
        """Take over a key or a value; tell whether one could stand here."""
        if self._next == "key" and isinstance(value, str):
            self._key, self._next = value, "colon"
            return True
        if self._next != "value":
            return False
        if isinstance(self.made, dict):
            self.made[self._key] = value
        else:
            self.made.append(value)
        self._next = "comma"
        return True

    def punctuate(self, mark: str) -> bool:
        """Take over a colon or a comma; tell whether it could stand here."""
        if mark == ":" and self._next == "colon":
            self._next = "value"
            return True
        if mark == "," and self._next == "comma":
            self._next = "key" if isinstance(self.made, dict) else "value"
            return True
        return False

    def closes_with(self, mark: str) -> bool:
        """Tell whether `mark` ends the object where it has come to."""
        unfinished = self._next == "colon" or (self._next == "value" and isinstance(self.made, dict))
        return mark == self._closing and not unfinished


def _unescaped(text: str) -> str:
    """Return `text` with its escapes, of either language, replaced; what is no escape stays."""
    if "\\" not in text:
        return text
    return _SURROGATES.sub(_joined, _ESCAPE.sub(_character, text))


def _character(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code is None:
        return _SHORT.get(match[4], match[0])
    return chr(int(code, 16)) if int(code, 16) <= 0x10FFFF else match[0]


def _joined(match: re.Match[str]) -> str:
    return match[0].encode("utf-16", "surrogatepass").decode("utf-16")
