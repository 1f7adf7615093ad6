"""Locks that keep two processes from training the same stage.

Not here: the journal's locks (`harness.backends.journal_database`), which are about a database.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.common import places
from harness.errors import HarnessError


@contextmanager
def locked(file: Path, what: str) -> Iterator[None]:
    """Hold the lock `file` while the block runs; the operating system frees it if the process ends.

    Raises HarnessError, which names `what` is locked, if another process holds it or the file cannot be written.
    """
    import fcntl

    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        advice = places.advice(error, "choose another --output")
        raise HarnessError(f"cannot write {file} ({error.strerror}): {advice}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HarnessError(
                f"another process is training {what}: wait until it ends, or choose another --output"
            ) from error
        except OSError:  # a file system without locks
            pass
        if not _is(file, descriptor):  # its holder has ended and removed it in between
            raise HarnessError(f"another process was training {what}: give the command again")
        try:
            yield
        finally:
            with suppress(OSError):
                file.unlink()
    finally:
        os.close(descriptor)


def _is(file: Path, descriptor: int) -> bool:
    """Return whether `file` is the open file `descriptor`."""
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except OSError:
        return False
