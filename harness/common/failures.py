"""What `--keep-going` leaves out, and what it must not outlive.

Not here: which exceptions leave a document out (`harness.backends.isolation`, `harness.tasks.unscorable`), or how
reports and tables say so.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import NamedTuple

from harness.errors import HarnessError, StorageError

_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE)
_LONGEST_MESSAGE = 200
_MOST_REASONS = 5


class Failure(NamedTuple):
    """A document that could not be evaluated, or whose answer could not be scored."""

    doc_id: int
    message: str
    """Why: the message of a HarnessError, the type and message of any other exception."""


class FailedAnswer:
    """Takes the place of an answer that could not be computed."""

    def __init__(self, message: str) -> None:
        self.message = message
        """Why there is no answer."""


def ends_a_run(error: Exception) -> bool:
    """Return whether `error` is no fault of a document, a task or a checkpoint: whatever comes next would fail, too."""
    if isinstance(error, OSError):
        return error.errno in _STORAGE
    return isinstance(error, MemoryError | StorageError)


def reason(error: Exception) -> str:
    """Return why something failed: the message of a HarnessError, the type and message of any other exception."""
    return str(error) if isinstance(error, HarnessError) else describe(error)


def describe(error: Exception) -> str:
    """Return the type and the message of `error` in one line."""
    message = " ".join(str(error).split())
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}…"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def listed(failures: Sequence[Failure], limit: int = 10) -> str:
    """Return which documents failed and why, of each reason at most `limit` by number: `documents 3, 7: REASON`."""
    by_message: dict[str, list[int]] = {}
    for failure in failures:
        by_message.setdefault(failure.message, []).append(failure.doc_id)
    parts = []
    for message, doc_ids in list(by_message.items())[:_MOST_REASONS]:
        numbers = ", ".join(map(str, doc_ids[:limit]))
        more = f" and {len(doc_ids) - limit:,} more" if len(doc_ids) > limit else ""
        parts.append(f"document{'s' if len(doc_ids) > 1 else ''} {numbers}{more}: {message}")
    others = sum(len(doc_ids) for doc_ids in list(by_message.values())[_MOST_REASONS:])
    return "; ".join(parts) + (f"; {others:,} more for other reasons" if others else "")
