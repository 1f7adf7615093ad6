"""Text of checkpoints, tasks and answers without the characters that a terminal would obey."""

from __future__ import annotations

import re

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def one_line(text: str) -> str:
    """Return `text` on one line, unprintable characters replaced by U+FFFD."""
    return "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in " ".join(text.split()))


def printable(text: str) -> str:
    """Return `text` with control characters, except tabs and line ends, replaced by U+FFFD."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)
