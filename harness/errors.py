"""The one exception that is meant for people.

Whatever a user can get wrong (a path, a key, a file's content) is raised as `HarnessError` with one sentence that
says what is wrong, where, and what to do. The command line prints it and exits with 2; everything else is a bug and
keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class HarnessError(Exception):
    """A mistake its reader can mend; `str(error)` is the whole message, on one line whatever names it quotes."""

    def __init__(self, message: str) -> None:
        super().__init__(message.replace("\n", " "))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest of `known`, or `""` where none is close."""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
