"""Dictionaries in an answer, written as Python or JSON literals or as a mixture of both.

Nothing is evaluated, and no text is too deep or too long: one pass reads token by token with an explicit stack, in time
linear in the text. A malformed or unfinished object is dropped together with the objects that contain it, and parsing
resumes at the next one, so that a truncated answer keeps its complete dictionaries.

Not here: what the dictionaries mean (`parse`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

Value: TypeAlias = "str | list[Value] | dict[str, Value]"
"""A number or another bare word is a string, spelled as in the text; null and None are empty strings."""

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
_SHORT_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""} | {mark: mark for mark in "\\/'\""}
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_NULL = ("null", "None")
_CLOSING = {"{": "}", "[": "]", "(": ")"}


def parse_dictionaries(text: str) -> Iterator[dict[str, Value]]:
    """Yield every complete dictionary in `text`, including nested ones, in the order in which they end.

    The last of equal keys wins. Lists may be in round brackets, as Python's tuples are, and may have trailing commas.
    """
    parser, position = _Parser(text), text.find("{")
    while position >= 0:
        yield from parser.parse(position)
        position = text.find("{", parser.position)


class _Parser:
    """Parses one dictionary or list after another; `position` is where the parser has arrived in the text."""

    def __init__(self, text: str) -> None:
        self.text, self.position = text, 0
        self._unterminated_until = {"'": 0, '"': 0}
        """For each kind of quote, the position before which no string can begin, because no closing quote follows."""

    def parse(self, position: int) -> Iterator[dict[str, Value]]:
        """Yield the dictionaries in the object (dictionary or list) at `position`, up to its end or a syntax error."""
        self.position = position
        stack: list[_Frame] = []
        while (next_token := self._token()) is not None:
            kind, token = next_token
            if kind == "mark" and token in _CLOSING:
                if stack and not stack[-1].expects_value:
                    return
                stack.append(_Frame(token))
                self.position += 1
                continue
            self.position = self._token_end
            if kind != "mark":
                if not stack[-1].add(self._value(kind, token)):
                    return
            elif token in "}])":
                frame = stack.pop()
                if not frame.can_close(token):
                    return
                if isinstance(frame.value, dict):
                    yield frame.value
                if not stack:
                    return
                stack[-1].add(frame.value)
            elif not stack[-1].punctuate(token):
                return

    def _token(self) -> tuple[str, str] | None:
        """Return the next token and move `position` to its start; None at the end or at an unterminated string."""
        if (quote := _QUOTE.match(self.text, self.position)) and quote.start(1) < self._unterminated_until[quote[1]]:
            self.position = quote.end()
            return None
        match = _TOKEN.match(self.text, self.position)
        if match is None or match.lastgroup is None:
            if quote:
                line_end = self.text.find("\n", quote.end())
                self._unterminated_until[quote[1]] = len(self.text) if line_end < 0 else line_end
            self.position = quote.end() if quote else len(self.text)
            return None
        self._token_end = match.end()
        self.position = match.start(match.lastgroup)
        return match.lastgroup, match[match.lastgroup]

    def _value(self, kind: str, token: str) -> str:
        if kind == "string":
            return _unescaped(token[1:-1])
        return "" if token in _NULL else token


class _Frame:
    """A dictionary or a list that is being parsed."""

    def __init__(self, bracket: str) -> None:
        self._closing = _CLOSING[bracket]
        self.value: dict[str, Value] | list[Value] = {} if bracket == "{" else []
        self._key = ""
        self._expected = "key" if bracket == "{" else "value"

    @property
    def expects_value(self) -> bool:
        return self._expected == "value"

    def add(self, value: Value) -> bool:
        """Add a key or a value to the dictionary or list; return whether one is allowed at this point."""
        if self._expected == "key" and isinstance(value, str):
            self._key, self._expected = value, "colon"
            return True
        if self._expected != "value":
            return False
        if isinstance(self.value, dict):
            self.value[self._key] = value
        else:
            self.value.append(value)
        self._expected = "comma"
        return True

    def punctuate(self, mark: str) -> bool:
        """Accept `mark`, a colon or a comma; return whether it is allowed at this point."""
        if mark == ":" and self._expected == "colon":
            self._expected = "value"
            return True
        if mark == "," and self._expected == "comma":
            self._expected = "key" if isinstance(self.value, dict) else "value"
            return True
        return False

    def can_close(self, mark: str) -> bool:
        """Return whether the bracket `mark` may close the dictionary or list at this point."""
        is_unfinished = self._expected == "colon" or (self._expected == "value" and isinstance(self.value, dict))
        return mark == self._closing and not is_unfinished


def _unescaped(text: str) -> str:
    """Return `text` with Python's and JSON's escapes replaced; unknown escapes stay."""
    if "\\" not in text:
        return text
    return _SURROGATES.sub(_combined, _ESCAPE.sub(_character, text))


def _character(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code is None:
        return _SHORT_ESCAPES.get(match[4], match[0])
    return chr(int(code, 16)) if int(code, 16) <= 0x10FFFF else match[0]


def _combined(match: re.Match[str]) -> str:
    return match[0].encode("utf-16", "surrogatepass").decode("utf-16")
