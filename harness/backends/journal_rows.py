"""The journal's table, the checksum in each of its rows, and the values that can be answers.

The checksum covers everything else in a row, so that a row in which any bit changed is never taken for an answer. It
detects damage but is no signature: whoever may write the file can write answers into it.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any, NamedTuple

TABLE = (
    "CREATE TABLE answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL, checkpoint TEXT NOT NULL, "
    "time INTEGER NOT NULL, checksum BLOB NOT NULL)"
)
TABLE_WITHOUT_CHECKSUMS = "CREATE TABLE answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL)"
"""The table of journals written before rows had checksums."""

CHECKPOINT_DIGITS = 12
"""Number of leading digits of a checkpoint's fingerprint that each row holds; tables of reports show as many."""
CHECKSUM_BYTES = 8


class Row(NamedTuple):
    """One row as SQLite returns it; in a damaged row, every field may have any type."""

    key: bytes
    answer: bytes
    """The answer as JSON."""
    checkpoint: bytes
    """The first digits of the checkpoint's fingerprint, by which rows are counted and pruned."""
    time: int
    """When the answer was stored, in seconds since 1970 (UTC)."""
    checksum: bytes

    @property
    def is_sound(self) -> bool:
        """Return whether the checksum is that of the other fields."""
        try:
            return self.checksum == _checksum(self.key, self.answer, self.checkpoint, self.time)
        except TypeError:  # a damaged field of another type
            return False

    @property
    def values(self) -> tuple[bytes, str, str, int, bytes]:
        """The fields as they are written to the table. Only for sound rows."""
        return self.key, self.answer.decode(), self.checkpoint.decode(), self.time, self.checksum


def new_row(key: bytes, value: Any, fingerprint: str) -> Row:
    """Return the row that stores the JSON `value` of the checkpoint `fingerprint` under `key`, as of now."""
    answer, checkpoint, now = json.dumps(value).encode(), fingerprint[:CHECKPOINT_DIGITS].encode(), int(time.time())
    return Row(key, answer, checkpoint, now, _checksum(key, answer, checkpoint, now))


def json_value(row: Row) -> Any:
    """Return the JSON value in a row, or None if the row is damaged."""
    if not row.is_sound:
        return None
    try:
        return json.loads(row.answer)
    except (ValueError, RecursionError):
        return None


def is_log_likelihood(value: Any) -> bool:
    """Return whether `value` can be a log-likelihood: a number up to 0, and a flag."""
    return _is_pair(value, float) and bool(value[0] <= 0)  # false for NaN


def is_generation(value: Any) -> bool:
    """Return whether `value` can be a generation: a text, and a flag."""
    return _is_pair(value, str)


def is_answer(value: Any) -> bool:
    """Return whether `value` can be the answer to a request of any kind."""
    return is_log_likelihood(value) or is_generation(value)


def _is_pair(value: Any, kind: type) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and type(value[0]) is kind and type(value[1]) is bool


def _checksum(key: bytes, answer: bytes, checkpoint: bytes, seconds: int) -> bytes:
    lengths = b"%d %d %d " % (len(key), len(checkpoint), seconds)
    return hashlib.blake2b(lengths + key + checkpoint + answer, digest_size=CHECKSUM_BYTES).digest()
