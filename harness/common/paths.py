"""Paths as people type them: in lists, in double quotes if a comma is part of the path, and as patterns.

"my set, v2/q.jsonl",ceval          a name in double quotes may hold commas; a quote inside it is doubled
exams[1]/*.jsonl                    a part of a pattern is literal if a file or folder has exactly that name
"""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from harness.common import places
from harness.errors import HarnessError

LONGEST = 4096
"""Most characters of a path, as on Linux; a longer text names no file."""
PARTS = 128
"""Most parts of a pattern: each one is looked up in turn."""
QUOTED = re.compile(r'\s*"((?:[^"]|"")*+)"\s*')
"""A text in double quotes, and the white space around it."""
OPENING = re.compile(r'\s*"')
"""A double quote, and the white space before it."""


def unquoted(match: re.Match[str]) -> str:
    """Return the text inside the quotes of a match of `QUOTED`."""
    return match[1].replace('""', '"')


def quoted(text: str) -> str:
    """Return `text` in double quotes, with the quotes inside it doubled."""
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def exists(path: str) -> bool:
    """Return whether there is a file or folder at `path`, in which `~` is the home folder."""
    if not 0 < len(path) <= LONGEST:
        return False
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # a name too long for a file system, no such user, a NUL
        return False


def is_pattern(path: str) -> bool:
    """Return whether `path` has `*`, `?` or `[`, and no file or folder has exactly this name."""
    return glob.has_magic(path) and not exists(path)


def matching(pattern: str) -> list[str]:
    """Return the paths that match `pattern`, sorted; `**` matches any number of folders.

    A part such as `exams[1]` is literal if a file or folder has exactly that name. Nothing matches a pattern of more
    than `LONGEST` characters or `PARTS` parts.

    Raises HarnessError if a folder in which matches may be cannot be read, or if the name of a match is not UTF-8.
    """
    try:
        os.fsencode(pattern)
    except UnicodeEncodeError:  # half a surrogate pair, from a JSON text
        return []
    parts = os.path.expanduser(pattern).split("/")  # noqa: PTH111 - leaves `~` alone if there is no such user
    parts = [part for part, before in zip(parts, ["", *parts], strict=False) if (part, before) != ("**", "**")]
    if len(pattern) > LONGEST or len(parts) > PARTS:
        return []
    are_literal = [exists("/".join(parts[: count + 1])) for count in range(len(parts))]
    escaped = [glob.escape(part) if known else part for part, known in zip(parts, are_literal, strict=True)]
    for count, part in enumerate(escaped):
        if glob.has_magic(part):
            _require_readable("/".join(escaped[: count + (part == "**")]) or ("/" if count else "."))
    matches = sorted(glob.glob("/".join(escaped), recursive=True))  # noqa: PTH207 - Path drops a leading ./
    for match in matches:
        require_text(match, f"a match of '{pattern}'")
    return matches


def _require_readable(pattern: str) -> None:
    """Raise HarnessError if a folder that matches `pattern` may not be read: in such a folder, glob finds nothing."""
    for folder in glob.glob(pattern, recursive=True):  # noqa: PTH207
        if os.path.isdir(folder):  # noqa: PTH112
            places.require_readable(Path(folder))


def require_text(path: str, what: str) -> None:
    """Raise HarnessError if a path or text has bytes that are not UTF-8, which no report can hold; `what` has it."""
    if any("\ud800" <= letter <= "\udfff" for letter in path):
        printable = path.encode(errors="replace").decode()
        raise HarnessError(f"{what} is not UTF-8 ({printable}): rename the file, or write the text in UTF-8")
