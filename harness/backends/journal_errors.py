"""What SQLite's errors mean for a journal: damage, a missing feature of the file system, or a sentence for people."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from harness.errors import StorageError

DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""The exceptions that Python's sqlite3 raises. The second occurs if the message of an error quotes damaged text."""
_DAMAGE = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,  # "no such column": our statements fit our table
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_RANGE,
}
_UNREADABLE = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}
_NO_SHARED_MEMORY = {
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMLOCK,
    sqlite3.SQLITE_IOERR_SHMMAP,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_NO_ACCESS = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_COMMAND_LENGTH = 100


class DamageError(Exception):
    """A journal's content is damaged; `str(error)` says what shows the damage."""


class Holder(NamedTuple):
    """A process that holds a lock."""

    pid: int
    command: str
    """The process's command line, shortened; empty if unknown."""

    def __str__(self) -> str:
        return f"process {self.pid}" + (f" ({self.command})" if self.command else "")


def is_damage(error: Exception) -> bool:
    """Return whether `error`, one of `DATABASE_ERRORS`, comes from the content of the file."""
    code = _code(error)
    return isinstance(error, UnicodeDecodeError) or code & 0xFF in _DAMAGE or code in _UNREADABLE


def lacks_shared_memory(error: Exception) -> bool:
    """Return whether `error` may mean that the file system does not support write-ahead logs."""
    return _code(error) in _NO_SHARED_MEMORY


def is_read_only(error: Exception) -> bool:
    """Return whether `error` means that the file cannot be written."""
    return _code(error) & 0xFF == sqlite3.SQLITE_READONLY


def explained(
    file: Path, action: str, error: Exception, seconds: float, otherwise: str = "choose another --output"
) -> StorageError:
    """Return a sentence on the `error` when the journal was to be "opened", "read" or "written" (`action`).

    `seconds` is how long the process waited for a lock. `otherwise` is what else to do if the cause cannot be removed;
    it is empty if there is nothing.
    """
    code = _code(error) & 0xFF
    number = error.errno if isinstance(error, OSError) else None
    if code in _BUSY or isinstance(error, TimeoutError):
        return locked(file, seconds)
    if code == sqlite3.SQLITE_FULL or number in (errno.ENOSPC, errno.EDQUOT):
        reason, advice = "no space is left", "free some space and run the same command again; stored answers are kept"
    elif code in _NO_ACCESS or number in (errno.EROFS, errno.EACCES, errno.EPERM):
        reason, advice = _no_access(file, error)
        advice += f", or {otherwise}" if otherwise else ""
    elif isinstance(error, OSError):
        reason, advice = _reason(error), otherwise or "check the path"
    else:
        reason, advice = _reason(error), "check the disk, which may be full or failing; stored answers are kept"
        advice = f"{otherwise}, or {advice}" if otherwise else advice
    return StorageError(f"the journal {file} cannot be {action} ({reason}): {advice}")


def _no_access(file: Path, error: Exception) -> tuple[str, str]:
    """Return why this process may not open or write the journal, and what to do about it."""
    parts = [file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")]
    closed = next((part for part in parts if os.access(part, os.F_OK) and not os.access(part, os.R_OK)), None)
    if closed is not None:
        return f"{os.strerror(errno.EACCES)}: {closed.name}", "give this user access to it (ls -l, chmod)"
    if _code(error) & 0xFF == sqlite3.SQLITE_CANTOPEN and not os.access(file.parent, os.W_OK):
        return "its folder is read-only", "make it and its folder writable"
    return "it is read-only" if is_read_only(error) else _reason(error), "make it and its folder writable"


def locked(file: Path, seconds: float) -> StorageError:
    """Return the sentence for a journal that another process has locked for `seconds`."""
    holder = lock_holder([file, file.with_name(f"{file.name}-shm"), file.parent])
    return StorageError(
        f"the journal {file} has been locked for {seconds:g} seconds by {holder or 'another process'}: wait for it or "
        "stop it, then run the same command again; stored answers are kept"
    )


def lock_holder(files: Iterable[Path]) -> Holder | None:
    """Return another process that has one of `files` locked, else one that has one open, else None.

    Linux only: it reads `/proc`. Locks for writing come first.
    """
    inodes = set()
    for file in files:
        with suppress(OSError):
            inodes.add(file.stat().st_ino)
    pids = [pid for _, pid in sorted(_locks(inodes))] or list(_users(inodes))
    return next((Holder(pid, _command(pid)) for pid in pids if pid > 0 and pid != os.getpid()), None)


def _locks(inodes: set[int]) -> Iterator[tuple[bool, int]]:
    """Yield, for each lock on one of the files `inodes`: whether others may read, and the id of the locking process."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return
    for line in lines:  # 1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 120 120
        fields = line.split()
        with suppress(ValueError, IndexError):  # a line of another form, or of a process that waits (1: -> POSIX …)
            if int(fields[5].split(":")[2]) in inodes:
                yield fields[3] != "WRITE", int(fields[4])


def _users(inodes: set[int]) -> Iterator[int]:
    """Yield the ids of processes that have one of the files `inodes` open, as far as this process may see that."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(_inode(descriptor) in inodes for descriptor in (process / "fd").iterdir()):
                yield int(process.name)


def _inode(descriptor: Path) -> int | None:
    with suppress(OSError):
        return descriptor.stat().st_ino
    return None


def _command(pid: int) -> str:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").strip("\0").split("\0")
        command = " ".join(words)
        return command if len(command) <= _COMMAND_LENGTH else f"{command[: _COMMAND_LENGTH - 1]}…"
    return ""


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0)
