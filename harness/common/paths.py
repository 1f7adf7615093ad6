"""Paths as people type them: inside lists, in double quotes where a comma is part of them, and as patterns.

"my set, v2/q.jsonl",ceval          a name in double quotes may hold commas; a quote inside it is doubled
exams[1]/*.jsonl                    a part of a pattern that exists by that very name stands for itself
"""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

QUOTED = re.compile(r'\s*"((?:[^"]|"")*+)"\s*')
"""A text in double quotes, and the white space around it."""


def unquoted(match: re.Match[str]) -> str:
    """Return the text that a match of `QUOTED` quotes."""
    return match[1].replace('""', '"')


def quoted(text: str) -> str:
    """Return `text` in double quotes, with those inside doubled."""
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def exists(path: str) -> bool:
    """Return whether a file or folder has this name; `~` is the home folder."""
    try:
        return bool(path) and Path(path).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # a name too long for a file system, no such user, a NUL
        return False


def is_pattern(path: str) -> bool:
    """Return whether `path` has `*`, `?` or `[`, and nothing has this very name."""
    return glob.has_magic(path) and not exists(path)


def matching(pattern: str) -> list[str]:
    """Return what matches `pattern`, sorted; `**` stands for any number of folders.

    A part such as `exams[1]` that exists by that very name stands for itself.
    """
    parts = os.path.expanduser(pattern).split("/")  # noqa: PTH111 - leaves `~` alone if there is no such user
    are_literal = [exists("/".join(parts[: count + 1])) for count in range(len(parts))]
    escaped = [glob.escape(part) if known else part for part, known in zip(parts, are_literal, strict=True)]
    return sorted(glob.glob("/".join(escaped), recursive=True))  # noqa: PTH207 - Path drops a leading ./
