"""Write a file or folder under a hidden name beside its place, then rename it.

Guarantee: a reader finds the complete old content, the complete new content, or nothing, never a part of it, even if
the writing process is killed. "Nothing" is possible only where there was nothing before, or where the caller itself
removes an old folder first (`rename` does not replace a folder that has content).

The hidden name is `.NAME.TAG`. By default the tag is the process id and a random part, so that two writers never share
a hidden name, not even on two hosts. A caller passes a fixed tag if a later call has to find and remove what an earlier
one left behind: an existing folder with that tag is removed first. An exception in the `with` block removes what was
written; a killed process leaves its hidden file or folder. `harness.reports.writer` removes those of processes that no
longer run.

Nothing is flushed to disk here (no fsync): the guarantee covers the end of a process, not a power failure. A caller
that needs more flushes its files before the block ends, as `harness.reports.writer` does.

Not here: error messages for people. An OSError passes through, and the caller says what could not be written.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def file(target: Path, tag: str | None = None) -> Iterator[Path]:
    """Yield a hidden path to write a file to; when the block ends, move it to `target`, replacing any file there.

    The folder of `target` must exist. Raises OSError if the file cannot be moved; `target` is then as it was.
    """
    hidden = _hidden_path(target, tag)
    try:
        yield hidden
        set_modes(hidden)
        hidden.replace(target)
    except BaseException:
        with suppress(OSError):
            hidden.unlink()
        raise


@contextmanager
def folder(target: Path, tag: str | None = None) -> Iterator[Path]:
    """Yield a hidden, empty folder to write into; when the block ends, move it to `target`.

    Raises OSError if `target` is a file or a folder with content: a caller that replaces one moves or removes it as the
    last step of the block.
    """
    with hidden_folder(target, tag) as hidden:
        yield hidden
        set_modes(hidden)
        hidden.rename(target)


@contextmanager
def hidden_folder(target: Path, tag: str | None = None) -> Iterator[Path]:
    """Yield a hidden, empty folder beside `target`; when the block ends, remove it unless the caller has moved it.

    For callers that choose the final name themselves. Missing parent folders are created.
    """
    hidden = _hidden_path(target, tag)
    if tag is not None:
        shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir(parents=True)
    try:
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def set_modes(path: Path) -> None:
    """Give a file, or a folder and everything in it, the modes of new files under the umask.

    Some libraries write through a temporary file, which only its owner can read. A caller that moves a hidden folder
    itself calls this first.
    """
    umask = os.umask(0o077)
    os.umask(umask)
    folders = ((root, names) for root, _, names in os.walk(path))
    for root, names in folders:
        _set_mode(Path(root), 0o777 & ~umask)
        for name in names:
            _set_mode(Path(root, name), 0o666 & ~umask)
    if path.is_file():
        _set_mode(path, 0o666 & ~umask)


def _set_mode(path: Path, mode: int) -> None:
    with suppress(OSError):  # a file system without modes
        if not path.is_symlink():
            path.chmod((path.stat().st_mode & 0o7000) | mode)


def _hidden_path(target: Path, tag: str | None) -> Path:
    own = f"{os.getpid()}.{secrets.token_hex(4)}" if tag is None else tag
    return target.parent / f".{target.name}.{own}"
