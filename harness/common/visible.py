"""Which characters of a text are visible.

White space and characters without a shape (control and format characters, such as a zero-width space or a byte order
mark) are invisible.
"""

from __future__ import annotations

import functools
import unicodedata


@functools.lru_cache(maxsize=4096)
def is_visible(character: str) -> bool:
    """Return whether `character` has a shape."""
    return not character.isspace() and unicodedata.category(character) not in ("Cc", "Cf")


def first_visible(text: str, start: int = 0) -> int:
    """Return the place of the first visible character of `text` from `start` on, or its length if there is none."""
    return next((place for place in range(start, len(text)) if is_visible(text[place])), len(text))


def has_visible(text: str) -> bool:
    """Return whether `text` has a visible character."""
    return first_visible(text) < len(text)
