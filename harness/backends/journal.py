"""A crash-safe store of answers, keyed by content: SQLite, one transaction for each batch.

The key covers the checkpoint's fingerprint, the token ids and the settings, so an answer is only found for exactly the
same question to exactly the same weights. lm-eval's cache, keyed by the prompt alone, returns adapter A's answers for
adapter B.
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
    """Answers of checkpoints, on disk. Several processes may have it open at once."""

    def __init__(self, file: Path) -> None:
        """Open or create the journal in `file`. Raises HarnessError if that is not possible."""
        self._file = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(file, timeout=60)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL)")
        except (sqlite3.Error, OSError) as error:
            raise HarnessError(
                f"the journal {file} cannot be opened ({error}): remove it, or choose another --output"
            ) from error

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

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Any]:
        """Return the stored answers by key; missing and damaged ones are left out.

        Raises HarnessError if the journal cannot be read.
        """
        answers = {}
        try:
            for key in set(keys):
                row = self._database.execute("SELECT answer FROM answers WHERE key=?", (key,)).fetchone()
                if row:
                    with suppress(ValueError):  # a damaged answer is computed again
                        answers[key] = json.loads(row[0])
        except sqlite3.Error as error:
            raise self._error("read", error) from error
        return answers

    def put(self, answers: Mapping[bytes, Any]) -> None:
        """Store `answers` (JSON values), all or none. Raises HarnessError if the journal cannot be written."""
        rows = [(key, json.dumps(value)) for key, value in answers.items()]
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise self._error("written", error) from error

    def _error(self, action: str, error: Exception) -> HarnessError:
        advice = "free some disk space, or remove it if it is damaged"
        return HarnessError(f"the journal {self._file} cannot be {action} ({error}): {advice}")

    def close(self) -> None:
        """Close the file."""
        self._database.close()
