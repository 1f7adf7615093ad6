"""The hash of a file's content, computed once and remembered."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from harness.common import resources
from harness.errors import HarnessError


def sha256(file: Path) -> str:
    """Return the hex sha256 of the file's content.

    The hub's cache names large files by their sha256; any other file is read once, and its hash is remembered under
    its path, size, times and inode.
    """
    real = file.resolve()
    if real.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", real.name):
        return real.name
    stat = real.stat()
    # Change time and inode reveal another file that was put in place with the same size and date (cp -p, tar).
    key = (str(real), f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}")
    cached = _cached_hash(key)
    if cached:
        return cached
    with real.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    _cache_hash(key, digest)
    return digest


# The cache only saves time: if it cannot be written, such as in a read-only home, files are read again.
def _cached_hash(key: tuple[str, str]) -> str | None:
    with suppress(sqlite3.Error, OSError, HarnessError), closing(_hash_cache()) as cache:
        row = cache.execute("SELECT sha256 FROM hashes WHERE path=? AND stamp=?", key).fetchone()
        return str(row[0]) if row else None
    return None


def _cache_hash(key: tuple[str, str], digest: str) -> None:
    with suppress(sqlite3.Error, OSError, HarnessError), closing(_hash_cache()) as cache, cache:
        cache.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", (*key, digest))


def _hash_cache() -> sqlite3.Connection:
    cache = sqlite3.connect(resources.cache() / "hashes.sqlite", timeout=30)
    cache.execute("CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, stamp TEXT, sha256 TEXT)")
    return cache
