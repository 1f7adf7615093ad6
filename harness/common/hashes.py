"""The hash of a file's content, computed once and remembered while the file's stamp (size, times …) is the same."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from harness.common import resources, stamps
from harness.errors import HarnessError


def sha256(file: Path) -> str:
    """Return the hex sha256 of the file's content.

    The hash is remembered under the file's path and stamp (`harness.common.stamps`), so that an unchanged file is read
    once. A file without a stamp is read each time. The names of the hub's blobs are not believed, because writing
    through a snapshot's link changes a blob and keeps its name.
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
    """Return the hex sha256 of the file's content. The file is read even if its hash is remembered."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class BaseHashes:
    """Hashes of the weight files of one base, for as long as the base is in memory.

    A file whose size, times and inode are the same is not read again for the next adapter, even without a stamp: the
    answers come from the weights in memory, whose hash this is.
    """

    def __init__(self, weights: Iterable[Path]) -> None:
        self._weights = frozenset(weights)
        self._hashes: dict[tuple[Path, int, int, int, int], str] = {}

    def sha256(self, file: Path) -> str:
        """Return the hex sha256 of the file's content; any file but the weights goes to the function `sha256`."""
        if file not in self._weights:
            return sha256(file)
        stat = file.stat()
        key = (file, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if key not in self._hashes:
            self._hashes[key] = sha256(file)
        return self._hashes[key]

    def forget(self) -> None:
        """Read every file again at the next call."""
        self._hashes.clear()


# The memory only saves time: if it cannot be written, such as in a read-only home, files are read again.
def _remembered(file: Path, stamp: str) -> str | None:
    with suppress(sqlite3.Error, OSError, HarnessError), closing(_memory()) as memory:
        row = memory.execute("SELECT sha256 FROM hashes WHERE path=? AND stamp=?", (_key(file), stamp)).fetchone()
        return str(row[0]) if row else None
    return None


def _remember(file: Path, stamp: str, digest: str) -> None:
    with suppress(sqlite3.Error, OSError, HarnessError), closing(_memory()) as memory, memory:
        memory.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", (_key(file), stamp, digest))


def _key(file: Path) -> str:
    """Return the path of `file` as a text that SQLite takes, even if the path is not UTF-8."""
    return str(file).encode("utf-8", "backslashreplace").decode()


def _memory() -> sqlite3.Connection:
    memory = sqlite3.connect(resources.cache() / "hashes.sqlite", timeout=30)
    memory.execute("CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, stamp TEXT, sha256 TEXT)")
    return memory
