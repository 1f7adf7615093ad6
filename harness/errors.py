"""The exception for errors that a user can correct.

Anything a user can get wrong (a path, a key, the content of a file) is raised as `HarnessError`, with one sentence that
says what is wrong, where, and what to do. The command line prints the sentence and exits with 2. Any other exception is
a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class HarnessError(Exception):
    """An error that the user can correct; `str(error)` is the whole message, on one line."""

    def __init__(self, message: str) -> None:
        super().__init__(message.replace("\n", " "))  # names quoted in the message may contain line breaks


class PlaceError(HarnessError):
    """A file or folder that the operating system does not let this process read or write."""


class StorageError(PlaceError):
    """A place that cannot be written or read, such as a full disk: no later work of the same run would fare better."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest of `known`, or `""` if none is close."""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
