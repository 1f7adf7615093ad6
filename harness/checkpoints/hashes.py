"""The hash of a file's content, computed once and remembered for as long as the file's stamp holds."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from harness.common import resources, stamps
from harness.errors import HarnessError


def sha256(file: Path) -> str:
    """Return the hex sha256 of the file's content.

    It is remembered under the file's path and stamp (`harness.common.stamps`), so that an unchanged file is read once.
    A file without a stamp is read each time, and the names of the hub's blobs are not believed: writing through a
    snapshot's link changes a blob and keeps its name.
    """
    real = file.resolve()
    stamp = stamps.stamp(real)
    known = stamp and _remembered(real, stamp)
    if known:
        return known
    digest = fresh_sha256(real)
    if stamp is not None and stamps.stamp(real) == stamp:  # otherwise it was changed while it was read
        _remember(real, stamp, digest)
    return digest


def fresh_sha256(file: Path) -> str:
    """Return the hex sha256 of the file's content, which is read whatever is remembered of it."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# The memory only saves time: if it cannot be written, such as in a read-only home, files are read again.
def _remembered(file: Path, stamp: str) -> str | None:
    with suppress(sqlite3.Error, OSError, HarnessError), closing(_memory()) as memory:
        row = memory.execute("SELECT sha256 FROM hashes WHERE path=? AND stamp=?", (str(file), stamp)).fetchone()
        return str(row[0]) if row else None
    return None


def _remember(file: Path, stamp: str, digest: str) -> None:
    with suppress(sqlite3.Error, OSError, HarnessError), closing(_memory()) as memory, memory:
        memory.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", (str(file), stamp, digest))


def _memory() -> sqlite3.Connection:
    memory = sqlite3.connect(resources.cache() / "hashes.sqlite", timeout=30)
    memory.execute("CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, stamp TEXT, sha256 TEXT)")
    return memory
