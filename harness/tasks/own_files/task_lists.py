"""Lists of tasks as people type them, `ceval,"my set, v2/q.jsonl",ppl:texts`, split into names.

Not here: what a name stands for (`harness.tasks.catalogue`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.common import paths
from harness.errors import HarnessError
from harness.tasks.own_files.file_tasks import PREFIX, names_files

_MOST_PARTS = 8
"""The largest number of parts, split at commas, that are joined to look for a file whose name has commas."""
_TASK_NAME = re.compile(r"[\w./*?\[\]-]+")
_BEGINNING = re.compile(rf"\s*(?:{PREFIX})?")


class _Piece(NamedTuple):
    """A part of a list, up to a comma."""

    text: str
    """A name that was in quotes, or else the text as typed, including the comma after it."""
    is_quoted: bool


def split(text: str, *, keep_going: bool = False) -> tuple[str, ...]:
    """Return the names in a list separated by commas.

    A name in double quotes may contain commas; so may the name of a user's own file, even without quotes, if the file
    exists. Raises HarnessError if a quote is not closed, or if `text` may mean one file as well as several tasks. With
    `keep_going`, a file that does not exist is a task that cannot be built.
    """
    pieces = list(_pieces(text))
    names: list[str] = []
    place = 0
    while place < len(pieces):
        piece, following = pieces[place], pieces[place : place + _MOST_PARTS]
        count = _pieces_of_a_file(following)
        name = piece.text if piece.is_quoted else _joined(following[:count])
        path = name.removeprefix(PREFIX)
        if (
            names
            and not keep_going
            and not piece.is_quoted
            and names_files(name)
            and not paths.exists(path)
            and not paths.is_pattern(path)
        ):
            raise HarnessError(f"there is no file {path}: check the path, or put a name with commas in double quotes")
        names.append(name)
        place += count
    return tuple(name for name in names if name)


def _pieces(text: str) -> Iterator[_Piece]:
    position = 0
    while position < len(text):
        prefix = _BEGINNING.match(text, position)
        start = prefix.end() if prefix else position
        if match := paths.QUOTED.match(text, start):
            if text[match.end() : match.end() + 1] not in ("", ","):
                raise HarnessError(f"'{text}' has '{text[match.end() :]}' after a quote: write a comma there")
            yield _Piece(text[position:start].strip() + paths.unquoted(match), is_quoted=True)
            position = match.end() + 1
            continue
        if paths.OPENING.match(text, start):
            raise HarnessError(f"'{text}' has a quote that is not closed: double quotes that belong to a name")
        end = text.find(",", position) + 1 or len(text)
        yield _Piece(text[position:end], is_quoted=False)
        position = end


def _joined(pieces: Sequence[_Piece]) -> str:
    return "".join(piece.text for piece in pieces).removesuffix(",").strip()


def _pieces_of_a_file(pieces: Sequence[_Piece]) -> int:
    """Return how many of the first `pieces` form the name of an existing file with commas; 1 if no such file exists."""
    plain = list(itertools.takewhile(lambda piece: not piece.is_quoted, pieces))
    for count in range(len(plain), 1, -1):
        name = _joined(plain[:count])
        if not _is_there(name):
            continue
        parts = [_joined([piece]) for piece in plain[:count]]
        if all(_is_there(part) if names_files(part) else _TASK_NAME.fullmatch(part) for part in parts):
            raise HarnessError(f"'{name}' may be one file or {count} tasks: put the file's name in double quotes")
        return count
    return 1


def _is_there(name: str) -> bool:
    """Return whether `name` is the path of an existing file with questions or, after `ppl:`, of existing texts."""
    path = name.removeprefix(PREFIX)
    return names_files(name) and (paths.exists(path) or (paths.is_pattern(path) and bool(paths.matching(path))))
