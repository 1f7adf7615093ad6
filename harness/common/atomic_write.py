"""Write a file or folder under a hidden name beside its place, then rename it.

Guarantee: a reader finds the complete old content, the complete new content, or nothing. It never finds a part, even if
the writing process is killed. "Nothing" is possible only if there was nothing before, or if the caller itself removes
an old folder first (`rename` does not replace a folder that has content).

The hidden name is `.NAME.TAG`. By default the tag is the host, the process id and a random part, so that two writers
never share a hidden name, not even on two hosts. An exception in the `with` block removes what was written, and a
signal that stops the process waits until that is done (`harness.common.signals`). A killed process leaves its hidden
file or folder; the next call for the same target on the same host removes it if that process no longer runs. If no two
processes write the target at once, a caller may pass a fixed tag instead. Anything left under that tag is then removed
first.

Nothing is flushed to disk here (no fsync): the guarantee covers the end of a process, not a power failure. A caller
that needs more than that flushes its files before the block ends, as `harness.reports.writer` does.

Not here: error messages for people. An OSError passes through, and the caller says what could not be written.
"""

from __future__ import annotations

import glob
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.common import signals


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
        with signals.deferred(), suppress(OSError):
            hidden.unlink()
        raise


@contextmanager
def folder(target: Path, tag: str | None = None, *, replace: bool = False) -> Iterator[Path]:
    """Yield a hidden, empty folder to write into; when the block ends, move it to `target`.

    With `replace`, a folder there is moved aside first and then removed. Raises OSError if `target` is a file or,
    unless `replace`, a folder with content.
    """
    with hidden_folder(target, tag) as hidden:
        yield hidden
        set_modes(hidden)
        with signals.deferred():
            aside = _aside(hidden)
            if replace and target.is_dir():
                shutil.rmtree(aside, ignore_errors=True)
                target.rename(aside)
            hidden.rename(target)
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def hidden_folder(target: Path, tag: str | None = None) -> Iterator[Path]:
    """Yield a hidden, empty folder beside `target`; when the block ends, remove it unless the caller has moved it.

    This is for callers that move the folder to its final name themselves. Missing parent folders are created.
    """
    hidden = _hidden_path(target, tag)
    if tag is not None:
        remove_tagged(target, tag)
    try:
        hidden.mkdir(parents=True)
        yield hidden
    finally:
        with signals.deferred():
            shutil.rmtree(hidden, ignore_errors=True)


def restore(target: Path, tag: str) -> None:
    """Move back the folder `target` that a process killed under the fixed `tag` had moved aside to replace it."""
    aside = _aside(_hidden_path(target, tag))
    if aside.is_dir() and not target.exists():
        aside.rename(target)


def remove_tagged(target: Path, tag: str) -> None:
    """Remove what a killed process left of the folder `target` under the fixed `tag`."""
    hidden = _hidden_path(target, tag)
    for path in (hidden, _aside(hidden)):
        shutil.rmtree(path, ignore_errors=True)


def remove_abandoned(folder: Path, name: str = "*") -> None:
    """Remove from `folder` what killed processes of this host left there under hidden names.

    `name` is a pattern for the names of the targets. What other hosts left stays: the folder may be shared, and their
    process ids mean nothing here.
    """
    for hidden in folder.glob(f".{name}.{host()}.*"):
        tag = re.fullmatch(rf".*\.{re.escape(host())}\.(\d+)(\.[0-9a-f]{{8}})?(\.old)?", hidden.name)
        if tag is not None and not _is_running(int(tag[1])):
            with suppress(OSError):
                (shutil.rmtree if hidden.is_dir() else Path.unlink)(hidden)


def host() -> str:
    """Return this host's name as a part of hidden names."""
    return re.sub(r"\W", "-", platform.node()) or "host"


def _aside(hidden: Path) -> Path:
    return hidden.with_name(f"{hidden.name}.old")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's process
        return True
    return True


def set_modes(path: Path) -> None:
    """Give a file, or a folder and everything in it, the modes of new files under the umask.

    Some libraries write through a temporary file, which only its owner can read. A caller that moves a hidden folder
    itself calls this function first.
    """
    umask = _umask()
    folders = ((root, names) for root, _, names in os.walk(path))
    for root, names in folders:
        _set_mode(Path(root), 0o777 & ~umask)
        for name in names:
            _set_mode(Path(root, name), 0o666 & ~umask)
    if path.is_file():
        _set_mode(path, 0o666 & ~umask)


def _umask() -> int:
    """Return the umask of this process.

    On Linux it is read; elsewhere the only way is to set it for a moment, which changes what other threads create.
    """
    with suppress(OSError, ValueError):
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
        if (stated := re.search(r"^Umask:\s*([0-7]+)$", status, re.MULTILINE)) is not None:
            return int(stated[1], 8)
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _set_mode(path: Path, mode: int) -> None:
    with suppress(OSError):  # a file system without modes
        if not path.is_symlink():
            path.chmod((path.stat().st_mode & 0o7000) | mode)


def _hidden_path(target: Path, tag: str | None) -> Path:
    if tag is None:
        remove_abandoned(target.parent, glob.escape(target.name))
        tag = f"{host()}.{os.getpid()}.{secrets.token_hex(4)}"
    return target.parent / f".{target.name}.{tag}"
