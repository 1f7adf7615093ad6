"""The visible text of an answer, and its first line.

White space and characters without a shape (control and format characters, such as a zero-width space or a byte order
mark) are invisible; those at the ends of a text never count in a comparison.
"""

from __future__ import annotations

import functools
import unicodedata


def trimmed(text: str) -> str:
    """Return `text` without the invisible characters at its ends."""
    start, end = 0, len(text)
    while start < end and _is_invisible(text[start]):
        start += 1
    while end > start and _is_invisible(text[end - 1]):
        end -= 1
    return text[start:end]


def first_line(text: str) -> str:
    """Return the first line of `text` that has visible characters, trimmed; an empty text if there is none."""
    lines = trimmed(text).splitlines()
    return trimmed(lines[0]) if lines else ""


def is_one_line(text: str) -> bool:
    """Return whether the trimmed `text` is at most one line."""
    return len(trimmed(text).splitlines()) <= 1


@functools.lru_cache(maxsize=4096)
def _is_invisible(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cf")
