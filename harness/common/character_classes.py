r"""Which characters a class in a regular expression matches: `[^a-z]`, `\w`, `\p{L}`, `\x41`, `.`.

The notation is what Python's syntax and Oniguruma's have in common. A class that is not understood matches anything,
so that `harness.common.patterns`, which needs these functions, errs on the side of caution.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable
from functools import cache, partial


@cache
def samples() -> frozenset[str]:
    """Return characters of every Unicode category, and the last character, which no class names."""
    by_category: dict[str, list[str]] = {}
    for character in map(chr, [*range(0x3100), 0x4E2D, 0x6587, 0xAC00, 0xE000, 0xFF01, 0xFF21, 0x1F600]):
        examples = by_category.setdefault(unicodedata.category(character), [])
        if len(examples) < 4 or ord(character) > 0x3000:
            examples.append(character)
    return frozenset(character for examples in by_category.values() for character in examples) | {
        *"abzABZ019_ \t\r\n.-'\"",
        chr(sys.maxunicode),
    }


def literal(text: str) -> str:
    """Return the character of an escape with a number, `\\x41`, or an arbitrary one if the number is wrong."""
    try:
        return chr(int(text[2:].strip("{}"), 16))
    except (ValueError, OverflowError):
        return text[-1]


def predicate(text: str) -> Callable[[str], bool] | None:
    """Return whether a character belongs to the class `text`; None: any character may."""
    if not text.startswith("["):
        return _member(text)
    body = text[1:-1] if text.endswith("]") else text[1:]
    is_negated = body.startswith("^")
    pieces = ["\\." if piece == "." else piece for piece in _PIECE.findall(body[is_negated:])]
    if "&&" in body or "[" in pieces:
        return None
    tests: list[Callable[[str], bool]] = []
    place = 0
    while place < len(pieces):
        if pieces[place + 1 : place + 2] == ["-"] and place + 2 < len(pieces):
            low, high = character_of(pieces[place]), character_of(pieces[place + 2])
            if low is not None and high is not None:
                tests.append(partial(_is_within, low, high))
                place += 3
                continue
        test = _member(pieces[place])
        if test is None:
            return None
        tests.append(test)
        place += 1
    return lambda character: any(test(character) for test in tests) != is_negated


def _is_within(low: str, high: str, character: str) -> bool:
    return low <= character <= high


_PIECE = re.compile(r"\\[pP](?:\{[^}]*\}|\w)|\\x\{[^}]*\}|\\x\w\w|\\u\w{4}|\\.|.", re.DOTALL)
_KINDS: dict[str, Callable[[str], bool]] = {
    "d": str.isdigit,
    "w": lambda character: character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M",
    "s": str.isspace,
    "h": lambda character: character in "0123456789abcdefABCDEF",
}
"""The classes of an escape with a small letter; the capital letter means every other character."""
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b", "0": "\0"}


def _member(text: str) -> Callable[[str], bool] | None:
    """Return whether a character belongs to a class or character outside square brackets; None: any may."""
    if text.startswith(("\\p", "\\P")):
        name = text[2:].strip("{}")
        is_negated = (text[1] == "P") != name.startswith("^")
        name = name.lstrip("^")
        if name == "Han":
            return lambda character: unicodedata.name(character, "").startswith("CJK UNIFIED") != is_negated
        if name in _CATEGORIES:
            return lambda character: unicodedata.category(character).startswith(name) != is_negated
        return None
    if text[0] == "\\" and text[1:].lower() in _KINDS:
        kind = _KINDS[text[1:].lower()]
        return kind if text[1].islower() else lambda character: not kind(character)
    literal = character_of(text)
    return None if literal is None else literal.__eq__


_CATEGORIES = {*"LMNPSZC", *(unicodedata.category(chr(code)) for code in range(0x3000)), "Co", "Cn", "Cs"}


def character_of(text: str) -> str | None:
    """Return the character that `text`, a character or an escape, stands for; None if it is a class or unknown."""
    if text[0] != "\\":
        return None if text == "." or len(text) > 1 else text
    if text[1:] in _CONTROLS:
        return _CONTROLS[text[1:]]
    if len(text) > 2:
        return literal(text) if text[1] in "xu" else None
    return None if text[1:].isalnum() else text[1:]
