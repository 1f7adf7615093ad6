"""A crash-safe store of answers, keyed by content: SQLite, one transaction for each batch.

The key covers the checkpoint's fingerprint, the token ids and the settings. An answer is thus found only for exactly
the same question to exactly the same weights. lm-eval's cache, keyed by the prompt alone, returns adapter A's answers
for adapter B.

A row is an answer only if its checksum holds (`harness.backends.journal_rows`). A damaged file is replaced, even during
a run. Its sound rows go into a new file, the damaged file stays beside that, and `Journal.notes` says so. Several
processes may use one journal at once.

Not here: opening and replacing files (`harness.backends.journal_database`), or counting and dropping rows for people
(`harness.backends.journal_upkeep`).
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from harness.backends import journal_database
from harness.backends.journal_database import INSERT, Damaged, identity, open_sound, read_log, transaction
from harness.backends.journal_errors import DATABASE_ERRORS, DamageError, explained, is_damage
from harness.backends.journal_rows import Row, json_value, new_row
from harness.errors import HarnessError

NAME = "journal.sqlite"
"""The journal's name in an output folder."""
_SELECT = "SELECT key, answer, checkpoint, time, checksum FROM answers"
_KEYS_AT_ONCE = 200

_Result = TypeVar("_Result")


class Journal:
    """Answers of checkpoints, on disk. Several processes may have it open at once."""

    def __init__(self, file: Path) -> None:
        """Open or create the journal in `file`. Raises HarnessError if that is not possible."""
        self.notes: list[str] = []
        """What happened to the file: damage, and what was read in spite of it."""
        self.failed_rows = 0
        """Number of rows that were read and are no answers: their checksum or their value is wrong."""
        self._file = file
        self._place = Path(os.path.realpath(file))  # a link stays a link when the file is replaced
        self._open()

    @staticmethod
    def key(fingerprint: str, *question: object) -> bytes:
        """Return the key of a `question` (kind, settings, lists of token ids, …) to the checkpoint `fingerprint`."""
        digest = hashlib.sha256()
        for part in (fingerprint, *question):
            # There are many prompts of thousands of tokens; writing their ids as JSON would dominate the run time.
            content = array("q", part).tobytes() if isinstance(part, list) else json.dumps(part).encode()
            digest.update(f"{type(part).__name__} {len(content)} ".encode())
            digest.update(content)
        return digest.digest()

    def get(self, keys: Iterable[bytes], is_valid: Callable[[Any], bool] = lambda value: True) -> dict[bytes, Any]:
        """Return the stored answers by key, but only sound values that are not null and are `is_valid`.

        All other rows are counted in `failed_rows`. Raises HarnessError if the journal cannot be read.
        """
        answers = {}
        for row in self._do("read", lambda database: _rows(database, set(keys))):
            value = json_value(row)
            if value is not None and is_valid(value):
                answers[row.key] = value
            else:
                self.failed_rows += 1
        return answers

    def put(self, answers: Mapping[bytes, Any], fingerprint: str = "") -> None:
        """Store `answers` (JSON values) of the checkpoint `fingerprint`, all or none.

        Raises HarnessError if the journal cannot be written.
        """
        rows = [new_row(key, value, fingerprint).values for key, value in answers.items()]

        def insert(database: sqlite3.Connection) -> None:
            with transaction(database):
                database.executemany(INSERT, rows)

        self._do("written", insert)

    def close(self) -> None:
        """Close the file."""
        self._close()

    def _open(self, damaged: Damaged | None = None) -> None:
        """Open the file.

        If this object had it open before and it turned out to be damaged, `damaged` says which file is to be replaced.
        """
        try:
            opened = open_sound(self._place, damaged)
        except (*DATABASE_ERRORS, OSError, DamageError) as error:
            raise self._explained("opened", error) from error
        self._database = opened.database
        self._identity = identity(self._place)
        self.notes += opened.notes

    def _do(self, action: str, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Return the result of `work` on the open file, or on a new file if the open one is damaged or was replaced."""
        if identity(self._place) != self._identity:
            self.notes.append(
                f"{self._file.name} was replaced or removed while it was in use: the run goes on in a new file"
            )
            self._close()
            self._open()
        try:
            return work(self._database)
        except DATABASE_ERRORS as error:
            if not is_damage(error):
                raise self._explained(action, error) from error
            damaged = Damaged(self._identity, read_log(self._place), str(error))
        self._close()
        self._open(damaged)
        try:
            return work(self._database)
        except DATABASE_ERRORS as error:
            raise self._explained(action, error) from error

    def _close(self) -> None:
        with suppress(sqlite3.Error):  # closing writes the log into the file, which fails if the file is damaged
            self._database.close()

    def _explained(self, action: str, error: Exception) -> HarnessError:
        return explained(self._file, action, error, journal_database.TIMEOUT)


def _rows(database: sqlite3.Connection, keys: Collection[bytes]) -> list[Row]:
    """Return the rows of `keys`, including damaged rows."""
    rows: list[Row] = []
    remaining = iter(keys)
    while batch := list(islice(remaining, _KEYS_AT_ONCE)):
        places = ",".join("?" * len(batch))
        rows += map(Row._make, database.execute(f"{_SELECT} WHERE key IN ({places})", batch))
    return rows
