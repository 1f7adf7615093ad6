"""The visible text of an answer, and its first line.

Invisible characters (`harness.common.visible`) at the ends of a text never count if texts are compared.
"""

from __future__ import annotations

from harness.common.visible import first_visible, is_visible


def trimmed(text: str) -> str:
    """Return `text` without the invisible characters at its ends."""
    start, end = first_visible(text), len(text)
    while end > start and not is_visible(text[end - 1]):
        end -= 1
    return text[start:end]


def first_line(text: str) -> str:
    """Return the first line of `text` that has visible characters, trimmed; an empty text if there is none."""
    lines = trimmed(text).splitlines()
    return trimmed(lines[0]) if lines else ""


def is_one_line(text: str) -> bool:
    """Return whether the trimmed `text` is at most one line."""
    return len(trimmed(text).splitlines()) <= 1
