"""Counts, checks and drops the answers of a journal, for people.

Counting and checking change nothing, not even a damaged file. A damaged file is not pruned: a run replaces it.

Not here: storing and finding answers (`harness.backends.journal`).
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from harness.backends import journal_database, journal_salvage
from harness.backends.journal import NAME
from harness.backends.journal_database import WithoutChecksumsError
from harness.backends.journal_errors import (
    DATABASE_ERRORS,
    DamageError,
    explained,
    is_damage,
    is_read_only,
    lacks_shared_memory,
)
from harness.backends.journal_rows import CHECKPOINT_DIGITS, Row, is_answer, json_value
from harness.errors import HarnessError

_BYTES = "length(key) + length(answer) + length(checkpoint) + length(checksum)"


class CheckpointRows(NamedTuple):
    """The answers of one checkpoint."""

    checkpoint: str
    """The first digits of the checkpoint's fingerprint."""
    answers: int
    bytes: int
    first: int
    """When the oldest answer was stored, in seconds since 1970 (UTC)."""
    last: int
    """When the newest answer was stored."""


class Stats(NamedTuple):
    """What is in a journal."""

    file: Path
    bytes: int
    """Bytes of the file and its write-ahead log."""
    checkpoints: list[CheckpointRows]
    """Answers by checkpoint, the most recently used first."""
    asides: list[Path]
    """Files beside the journal that were set aside, because they were damaged or had no checksums."""

    @property
    def answers(self) -> int:
        """Number of answers of all checkpoints."""
        return sum(rows.answers for rows in self.checkpoints)


class PrunedCheckpoint(NamedTuple):
    """What a journal lost and kept of one checkpoint."""

    checkpoint: str
    """The first digits of the checkpoint's fingerprint."""
    dropped: int
    """Number of answers dropped."""
    kept: int
    """Number of answers kept."""


class Pruned(NamedTuple):
    """What a journal lost and kept."""

    file: Path
    checkpoints: list[PrunedCheckpoint]
    """Every checkpoint that the journal had, in the order of fingerprints."""
    bytes_before: int
    bytes_after: int

    @property
    def dropped(self) -> int:
        """Number of answers dropped."""
        return sum(rows.dropped for rows in self.checkpoints)

    @property
    def kept(self) -> int:
        """Number of answers kept."""
        return sum(rows.kept for rows in self.checkpoints)


class Check(NamedTuple):
    """Whether a journal is sound."""

    file: Path
    sound: int
    """Number of answers whose checksum holds. In a damaged file, only answers that can still be read count."""
    problems: list[str]
    """What is wrong, one sentence for each problem; empty if nothing is wrong."""


def stats(path: Path) -> Stats:
    """Return what is in the journal `path`, a file or an output folder.

    Raises HarnessError if there is no journal, if it is damaged, or if it cannot be read.
    """
    file = locate(path)
    query = (
        f"SELECT checkpoint, count(*), sum({_BYTES}), min(time), max(time) FROM answers GROUP BY checkpoint "
        "ORDER BY max(time) DESC, checkpoint"
    )
    checkpoints = []
    with _reported(file, "read"):
        if not _is_empty(file):
            with _reading(file) as database:
                journal_database.require_sound(file, database)
                checkpoints = [CheckpointRows(_text(row[0]), *row[1:]) for row in database.execute(query)]
    asides = [*file.parent.glob(f"{file.name}.damaged-*"), *file.parent.glob(f"{file.name}.without-checksums-*")]
    return Stats(file, _size(file), checkpoints, sorted(asides))


def prune(path: Path, keep: Collection[str] = (), before: datetime | None = None) -> Pruned:
    """Drop answers of checkpoints that `keep` does not name, and answers stored before `before`; return the numbers.

    `keep` holds fingerprints or their first digits; if it is empty, every checkpoint is kept. Raises HarnessError if
    nothing is to be dropped, if a fingerprint is not in the journal, or if the journal is damaged or cannot be written.
    """
    file = locate(path)
    if not keep and before is None:
        raise HarnessError("nothing to drop: name the checkpoints to keep with --keep, or a date with --before")
    with _reported(file, "written"):
        size = _size(file)
        if _is_empty(file):
            _matching(file, keep, [])
            return Pruned(file, [], size, size)
        with closing(journal_database.open_to_write(file)) as database:
            seconds = 0 if before is None else int(before.timestamp())
            with journal_database.transaction(database):
                present = _counts(database)
                remaining = _matching(file, keep, present)
                database.execute("DELETE FROM answers WHERE time < ?", (seconds,))
                for name in present.keys() - remaining:
                    database.execute("DELETE FROM answers WHERE checkpoint = ?", (name,))
                left = _counts(database)
            database.execute("VACUUM")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        checkpoints = [
            PrunedCheckpoint(name, count - left.get(name, 0), left.get(name, 0)) for name, count in present.items()
        ]
        return Pruned(file, checkpoints, size, _size(file))


def check(path: Path) -> Check:
    """Verify the pages and every checksum of the journal `path`, a file or an output folder.

    Raises HarnessError if there is no journal, or if it cannot be read.
    """
    file = locate(path)
    with _reported(file, "read"):
        log = journal_database.read_log(file)
        try:
            if _is_empty(file):
                return Check(file, 0, [])
            with _reading(file) as database:
                journal_database.require_sound(file, database, thoroughly=True)
                sound, problems = _check_rows(database)
                problems += _check_log(database, file, log)
                return Check(file, sound, problems)
        except DATABASE_ERRORS as error:
            if not is_damage(error):
                raise
            problem: Exception = error
        except DamageError as error:
            problem = error
        readable = {row.key for row in journal_salvage.rows(file, log)}
        return Check(file, len(readable), [f"the file is damaged ({problem})"])


def locate(path: Path) -> Path:
    """Return the journal's file: `path`, or the journal in the output folder `path`.

    Raises HarnessError if there is none.
    """
    file = path / NAME if path.is_dir() else path
    if not file.exists():
        raise HarnessError(f"there is no journal {file}: name a journal, or the output folder of a run")
    if not file.is_file():
        raise HarnessError(f"{file} is not a regular file: name a journal, or the output folder of a run")
    return file


def _is_empty(file: Path) -> bool:
    """Return whether the journal is a file of no bytes, such as a process leaves that is killed while it creates it.

    Raises DamageError if it has a log, which SQLite would remove.
    """
    if file.stat().st_size:
        return False
    if journal_database.read_log(file):
        raise DamageError("it is empty, although it has a write-ahead log")
    return True


def _counts(database: sqlite3.Connection) -> dict[str, int]:
    """Return the number of answers of each checkpoint."""
    query = "SELECT checkpoint, count(*) FROM answers GROUP BY checkpoint ORDER BY checkpoint"
    return {_text(name): count for name, count in database.execute(query)}


def _check_rows(database: sqlite3.Connection) -> tuple[int, list[str]]:
    """Return the number of sound rows, and sentences about the others."""
    sound = damaged = impossible = 0
    for values in database.execute("SELECT key, answer, checkpoint, time, checksum FROM answers"):
        row = Row(*values)
        if not row.is_sound:
            damaged += 1
        elif is_answer(json_value(row)):
            sound += 1
        else:
            impossible += 1
    problems = [f"{damaged:,} of {sound + damaged + impossible:,} checksums do not hold"] if damaged else []
    return sound, problems + ([f"{impossible:,} answers are ones that no model gives"] if impossible else [])


def _check_log(database: sqlite3.Connection, file: Path, log: bytes) -> list[str]:
    """Return sentences about the write-ahead log of `file`, which was `log` before the database was opened."""
    if journal_salvage.is_log_sound(log) or journal_salvage.is_log_sound(journal_database.read_log(file)):
        return []  # the second time: another process was writing it
    keys = {row.key for row in journal_salvage.rows_of_log(log)}
    lost = sum(database.execute("SELECT 1 FROM answers WHERE key=?", (key,)).fetchone() is None for key in keys)
    return [f"the write-ahead log is damaged; the next run reads {lost:,} more answers from it"]


def _matching(file: Path, keep: Collection[str], checkpoints: Collection[str]) -> set[str]:
    """Return those of `checkpoints` that `keep` names; all of them if `keep` is empty."""
    if not keep:
        return set(checkpoints)
    matches = set()
    for fingerprint in keep:
        names = {name for name in checkpoints if fingerprint and name.startswith(fingerprint[:CHECKPOINT_DIGITS])}
        if not checkpoints:
            raise HarnessError(f"the journal {file} has no answers: there is nothing to keep or to drop")
        if not names:
            raise HarnessError(f"no checkpoint {fingerprint!r} in {file}: 'harness journal stats' lists them")
        matches |= names
    return matches


@contextmanager
def _reading(file: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that only reads.

    It reads a copy of `file` if SQLite cannot open the file where it is, as on a read-only file system.
    """
    database = journal_database.connect(file, read_only=True)
    try:
        database.execute("SELECT 1 FROM sqlite_master").fetchone()
    except DATABASE_ERRORS as error:
        database.close()
        if not (lacks_shared_memory(error) or is_read_only(error)):
            raise
    else:
        with closing(database):
            yield database
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / NAME
        shutil.copyfile(file, copy)
        copy.with_name(f"{NAME}-wal").write_bytes(journal_database.read_log(file))
        with closing(journal_database.connect(copy)) as database:
            yield database


@contextmanager
def _reported(file: Path, action: str) -> Iterator[None]:
    """Replace errors about `file` that the `with` block raises by HarnessError."""
    try:
        yield
    except WithoutChecksumsError:
        raise HarnessError(
            f"the journal {file} was written by an older version, without checksums: the next run sets it aside"
        ) from None
    except DamageError as error:
        raise _damaged(file, error) from error
    except (*DATABASE_ERRORS, OSError) as error:
        if is_damage(error):
            raise _damaged(file, error) from error
        raise explained(file, action, error, journal_database.TIMEOUT, otherwise="") from error


def _damaged(file: Path, error: Exception) -> HarnessError:
    return HarnessError(
        f"the journal {file} is damaged ({error}): the next run sets it aside and keeps its sound answers; "
        "'harness journal check' counts them"
    )


def _size(file: Path) -> int:
    return file.stat().st_size + len(journal_database.read_log(file))


def _text(content: object) -> str:
    return content.decode(errors="replace") if isinstance(content, bytes) else str(content)
