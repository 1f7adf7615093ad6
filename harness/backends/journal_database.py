"""Opens the journal's SQLite file, whatever state it is in.

A file that is damaged, or whose version has no checksums, is renamed and stays in the folder. A new file with the rows
whose checksums hold takes its place. Opening and replacing happen under a lock on the folder: if several processes find
the damage, one replaces the file and the others open the new one.

Without shared memory (some network and virtual file systems) there is no write-ahead log: SQLite's rollback journal
takes its place.

Not here: answers (`harness.backends.journal`), or sentences for errors (`harness.backends.journal_errors`).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from harness.backends import journal_salvage
from harness.backends.journal_errors import DATABASE_ERRORS, DamageError, is_damage, is_read_only, lacks_shared_memory
from harness.backends.journal_rows import TABLE, TABLE_WITHOUT_CHECKSUMS, Row
from harness.common import atomic_write

TIMEOUT = 60.0
"""Seconds to wait for another process's lock."""
INSERT = """
INSERT INTO answers VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE
SET answer = excluded.answer, checkpoint = excluded.checkpoint, time = excluded.time, checksum = excluded.checksum
"""
_INSERT_NEWER = f"{INSERT} WHERE excluded.time >= time"
_INSERT_MISSING = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)"
_SETTINGS = {"page_size": journal_salvage.PAGE, "auto_vacuum": 0, "encoding": b"UTF-8"}


class WithoutChecksumsError(Exception):
    """A journal was written by a version that stored no checksums."""


class Damaged(NamedTuple):
    """A journal that turned out to be damaged while it was open."""

    identity: tuple[int, int] | None
    """What `identity` returned for the damaged file; if another file is now in its place, `identity` returns something
    else."""
    log: bytes
    """The content of the write-ahead log before the file was closed."""
    reason: str


class Opened(NamedTuple):
    """An open journal, and what happened to its content."""

    database: sqlite3.Connection
    notes: list[str]


def open_sound(file: Path, damaged: Damaged | None = None) -> Opened:
    """Open or create the journal `file`; replace a journal that is damaged or has no checksums, and add a note on it.

    Raises sqlite3.Error or OSError (TimeoutError: locked) if that is not possible; the file is then as it was.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and not file.is_file():
        raise OSError("it is not a regular file")
    with _locked(file.parent):
        log = read_log(file) if file.exists() else b""  # a log without its file was removed on purpose
        try:
            if damaged is not None and damaged.identity == identity(file):
                log = damaged.log or log
                raise DamageError(damaged.reason)
            return _open(file, log)
        except (DamageError, WithoutChecksumsError) as problem:
            note = _replace(file, log, problem)
            opened = _open(file, b"")
            return Opened(opened.database, [note, *opened.notes])


def read_log(file: Path) -> bytes:
    """Return the content of the write-ahead log of `file`; empty if there is none. Raises OSError if it may be one."""
    try:
        return _beside(file, "-wal").read_bytes()
    except FileNotFoundError:
        return b""


def identity(file: Path) -> tuple[int, int] | None:
    """Return numbers that identify the file now at the path `file`, or None if there is no file."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def open_to_write(file: Path) -> sqlite3.Connection:
    """Return a connection to the journal `file`.

    Raises DamageError or WithoutChecksumsError if its content is not sound. Raises sqlite3.Error or OSError
    (TimeoutError if it is locked) if it cannot be written.
    """
    with _locked(file.parent):
        try:
            return _connect_to_write(file)
        except DATABASE_ERRORS as error:
            raise _as_damage(file, error) from error


def require_sound(file: Path, database: sqlite3.Connection, *, thoroughly: bool = False) -> None:
    """Raise DamageError if the file's settings, tables or pages are not as this version writes them.

    If `thoroughly`, the index is compared with the table, which takes several times as long. Raises
    WithoutChecksumsError if a version without checksums wrote the tables. An empty database passes.
    """
    if 0 < file.stat().st_size < journal_salvage.PAGE:
        raise DamageError("it is shorter than a page")
    for name, expected in _SETTINGS.items():
        (value,) = database.execute(f"PRAGMA {name}").fetchone()
        if value != expected:
            raise DamageError(f"its {name.replace('_', ' ')} is not that of a journal")
    tables = [sql for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
    if tables == [TABLE_WITHOUT_CHECKSUMS.encode()]:
        raise WithoutChecksumsError
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    if tables != [TABLE.encode()] and (tables or pages > 1):
        raise DamageError("its tables are not those of a journal")
    (report,) = database.execute(f"PRAGMA {'integrity_check' if thoroughly else 'quick_check'}(1)").fetchone()
    if report != b"ok":
        raise DamageError(" ".join(report.decode(errors="replace").removeprefix("*** in database main ***").split()))


def connect(file: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Return a connection that returns texts as bytes, and commits each statement unless a transaction has begun."""
    address = f"{file.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    database = sqlite3.connect(address, uri=True, timeout=TIMEOUT, isolation_level=None)
    database.text_factory = bytes
    return database


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Begin a transaction that writes; commit it when the block ends, or roll it back after an exception."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite itself has rolled back
            database.execute("ROLLBACK")
        raise


def _open(file: Path, log: bytes) -> Opened:
    """Open or create a journal. Raises DamageError, WithoutChecksumsError or sqlite3.Error."""
    try:
        database = _connect_to_write(file)
    except DATABASE_ERRORS as error:
        raise _as_damage(file, error) from error
    try:
        return Opened(database, _salvage_log(file, database, log))
    except DATABASE_ERRORS as error:
        database.close()
        raise _as_damage(file, error) from error


def _connect_to_write(file: Path) -> sqlite3.Connection:
    """Return a connection with a write-ahead log, or with a rollback journal on file systems that support no log."""
    try:
        return _prepared(file, [], ["journal_mode=WAL"])
    except DATABASE_ERRORS as error:
        if not lacks_shared_memory(error) and not is_read_only(error):
            raise
        problem = error
    try:  # a log that exists is read without shared memory, by the only process that has the file open
        return _prepared(file, ["locking_mode=EXCLUSIVE"], ["journal_mode=DELETE", "locking_mode=NORMAL"])
    except DATABASE_ERRORS as error:
        raise error if is_damage(error) else problem from None


def _prepared(file: Path, before: Iterable[str], after: Iterable[str]) -> sqlite3.Connection:
    """Return a connection that can write to `file`, after checking that the journal is sound.

    The settings `before` are made before the check, and the settings `after` are made after it.
    """
    database = connect(file)
    try:
        for setting in (*before, f"page_size={journal_salvage.PAGE}"):
            database.execute(f"PRAGMA {setting}")
        require_sound(file, database)
        for setting in after:
            database.execute(f"PRAGMA {setting}")
        with transaction(database):
            is_new = database.execute("SELECT 1 FROM sqlite_master").fetchone() is None
            database.execute(TABLE if is_new else "DELETE FROM answers WHERE 0")  # fails if the file is read-only
    except BaseException:
        database.close()
        raise
    return database


def _as_damage(file: Path, error: Exception) -> Exception:
    """Return DamageError if `error` comes from the file's content, otherwise `error` itself."""
    if is_damage(error):
        return DamageError("a name in it is damaged" if isinstance(error, UnicodeDecodeError) else str(error))
    if is_read_only(error) and os.access(file, os.W_OK):
        with suppress(OSError), file.open("rb") as content:
            if not set(content.read(20)[18:20]) <= {1, 2}:
                return DamageError("its header is damaged")  # a format that SQLite would only read
    return error


def _salvage_log(file: Path, database: sqlite3.Connection, log: bytes) -> list[str]:
    """Insert sound rows of the write-ahead log that SQLite did not accept; return a note if there were any.

    SQLite reads a log up to the first damaged or uncommitted frame.
    """
    if not any(journal_salvage.frames(log)):
        return []
    _, accepted, _ = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if accepted >= journal_salvage.frames_of_round(log) > 0:
        return []
    before = database.total_changes
    with transaction(database):
        database.executemany(_INSERT_MISSING, _values(journal_salvage.rows_of_log(log)))
    count = database.total_changes - before
    end = "was damaged or ended inside a transaction"
    return [f"the write-ahead log of {file.name} {end}: {_answers(count)} read from it"] if count else []


def _replace(file: Path, log: bytes, problem: DamageError | WithoutChecksumsError) -> str:
    """Move `file` aside and put a journal with its sound rows in its place; return a note that says so.

    Raises sqlite3.Error or OSError if that is not possible; the file is then as it was.
    """
    is_damaged = isinstance(problem, DamageError)
    aside = _free_name(file, "damaged" if is_damaged else "without-checksums")
    with atomic_write.file(file, tag="new") as hidden:  # a fixed name, under the folder's lock
        for rest in (hidden, _beside(hidden, "-journal")):  # of a process that was killed here
            rest.unlink(missing_ok=True)
        with closing(connect(hidden)) as database:
            database.execute(f"PRAGMA page_size={journal_salvage.PAGE}")
            database.execute(TABLE)
            with transaction(database):
                database.executemany(_INSERT_NEWER, _values(journal_salvage.rows(file, log)))
            (count,) = database.execute("SELECT count(*) FROM answers").fetchone()
        for ending in ("-wal", "-shm", "-journal"):  # before the file: a log beside a new file would be applied to it
            with suppress(FileNotFoundError):
                _beside(file, ending).rename(_beside(aside, ending))
        with suppress(FileNotFoundError):
            try:
                aside.hardlink_to(file)  # there is a journal at every moment
            except OSError:  # a file system without links
                file.rename(aside)
    if not is_damaged:
        return (
            f"{file.name} was written by an older version, without checksums: its answers are computed again; the old "
            f"file is now {aside.name}"
        )
    return (
        f"{file.name} was damaged ({problem}): {_answers(count)} read from it, each with its checksum, and others are "
        f"computed again; the damaged file is now {aside.name}"
    )


def _values(rows: Iterable[Row]) -> Iterator[tuple[bytes, str, str, int, bytes]]:
    for row in rows:
        with suppress(ValueError):  # a checksum over bytes that are no text: written by no version
            yield row.values


def _free_name(file: Path, word: str) -> Path:
    name = f"{file.name}.{word}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = [name, *(f"{name}-{number}" for number in range(2, 1000))]
    return next(place for place in map(file.with_name, names) if not os.path.lexists(place))


def _beside(file: Path, ending: str) -> Path:
    return file.with_name(f"{file.name}{ending}")


def _answers(count: int) -> str:
    return "1 answer was" if count == 1 else f"{count:,} answers were"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock `folder` among processes that open journals. Raises TimeoutError after `TIMEOUT` seconds.

    On a file system that has no such locks, nothing is locked.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + TIMEOUT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TimeoutError from None
                time.sleep(0.02)
            except OSError:
                break
        yield
    finally:
        os.close(descriptor)
