"""A crash-safe store of answers, keyed by content: SQLite, one transaction a batch.

The key covers the checkpoint's fingerprint, the token ids and the settings, so an answer can only be found again for
the very same question to the very same weights. lm-eval's cache, keyed by the prompt alone, hands adapter A's answers
to adapter B.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from array import array
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import HarnessError


class Journal:
    """Answers of checkpoints, on disk. Safe to open from several processes at once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(file, timeout=60)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL)")
        except (sqlite3.Error, OSError) as error:
            raise HarnessError(
                f"the journal {file} cannot be opened ({error}): remove it, or choose another --output"
            ) from error

    @staticmethod
    def key(fingerprint: str, *question: Any) -> bytes:
        """Return the key of `question` (kind, settings, lists of token ids, …) put to a checkpoint."""
        digest = hashlib.sha256()
        for part in (fingerprint, *question):
            # Prompts of thousands of tokens are many; spelling their ids out in JSON would take longer than all else.
            said = array("q", part).tobytes() if isinstance(part, list) else json.dumps(part).encode()
            digest.update(f"{type(part).__name__} {len(said)} ".encode())
            digest.update(said)
        return digest.digest()

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Any]:
        """Return the answers held, by key."""
        found = {}
        try:
            for key in set(keys):
                row = self._db.execute("SELECT answer FROM answers WHERE key=?", (key,)).fetchone()
                if row:
                    with suppress(ValueError):  # an answer that was damaged is asked for again
                        found[key] = json.loads(row[0])
        except sqlite3.Error as error:
            raise self._told("read", error) from error
        return found

    def put(self, answers: Mapping[bytes, Any]) -> None:
        """Keep `answers` (JSON values) for good, all or none."""
        rows = [(key, json.dumps(value)) for key, value in answers.items()]
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise self._told("written", error) from error

    def _told(self, what: str, error: Exception) -> HarnessError:
        advice = "make room, or remove it if it is damaged"
        return HarnessError(f"the journal {self._file} cannot be {what} ({error}): {advice}")

    def close(self) -> None:
        """Release the file."""
        self._db.close()
