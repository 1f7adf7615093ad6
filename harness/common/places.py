"""Files and folders of the user that the operating system refuses: each refusal becomes one sentence.

A file of another user, a link to nowhere or a failing disk is no bug of this program, and it is not absence either:
`os.walk` and `glob` pass over a folder that may not be read, as if it were empty. Here that is an error.

The sentences name the path, the reason in the words of the operating system, and what to do. They are `PlaceError`s,
or `StorageError`s where no later work of the same run would fare better.

Not here: content that is damaged (each reader's), or the texts for reports and sites that cannot be written.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeGuard

from harness.common.failures import ends_a_run
from harness.errors import HarnessError, PlaceError, StorageError

_ADVICE = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "give this user access to it (ls -l, chmod)"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room there"),
    **dict.fromkeys((errno.EIO, errno.ESTALE), "check the disk or the network file system, and try again"),
    errno.EROFS: "name a place that can be written",
    errno.EFBIG: "name a place that takes files of this size (ulimit -f)",
    errno.ELOOP: "its links lead in a circle, create them again",
    errno.ENAMETOOLONG: "shorten the name",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "a part of the path is a file, check the path",
}
"""What to do about an error of the operating system, by its number."""
_REMOVABLE = (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE)
"""Those errors whose cause a person may remove, without choosing another place."""
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
_NUMBERED = re.compile(r"(?:os error |\[errno )(\d+)", re.IGNORECASE)
"""How safetensors, tokenizers and pyarrow write the number of an error of the operating system."""
_OF_TORCH = re.compile(r"PytorchStreamWriter|inline_container|iostream error")
"""How torch says that a file could not be written whole; it does not say why."""
_SYSTEM_FOLDERS = ("lost+found",)
"""Folders of file systems, which only root may read and which hold nothing of a user."""


def is_refusal(error: BaseException) -> TypeGuard[OSError]:
    """Return whether `error` says that the operating system refuses a file or folder, and why."""
    return isinstance(error, OSError) and error.errno in _ADVICE


def explained(error: OSError, place: Path | str = "", action: str = "read") -> PlaceError:
    """Return the sentence for `error`: what cannot be "read" or "written" (`action`), why, and what to do.

    `place` is named if `error` names no file.
    """
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else place
    reason = error.strerror or str(error)
    advice = _ADVICE.get(error.errno or 0, "check the path")
    kind = StorageError if ends_a_run(error) else PlaceError
    return kind(f"{where} cannot be {action} ({reason}): {advice}")


def refusal_of(error: BaseException) -> OSError | None:
    """Return the refusal of the operating system that `error` is, or that a library says in a type of its own; or None.

    safetensors and tokenizers raise exceptions that are no OSError, torch a RuntimeError.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return None if isinstance(error, ConnectionError | TimeoutError) else error
    if match := _NUMBERED.search(str(error)):
        return OSError(int(match[1]), os.strerror(int(match[1])))
    if isinstance(error, RuntimeError) and _OF_TORCH.search(str(error)):
        return OSError(errno.ENOSPC, "it could not be written whole")
    return None


@contextmanager
def writing(place: Path | str, otherwise: str) -> Iterator[None]:
    """Replace a refusal of the operating system in the block, which writes `place`, by a StorageError.

    Its sentence says what to do: remove the cause, or do `otherwise`. Libraries' own exceptions count (`refusal_of`).
    """
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        message = f"cannot write {place} ({refusal.strerror or refusal}): {advice(refusal, otherwise)}"
        raise StorageError(message) from error


def advice(error: OSError, otherwise: str) -> str:
    """Return what to do about `error`, where something was to be written: remove its cause, or do `otherwise`."""
    return f"{_ADVICE[error.errno]}, or {otherwise}" if error.errno in _REMOVABLE else otherwise


@contextmanager
def explaining(place: Path | str = "", action: str = "read") -> Iterator[None]:
    """Replace a refusal of the operating system that the `with` block raises by its sentence (`explained`)."""
    try:
        yield
    except OSError as error:
        if not is_refusal(error) or not (place or error.filename):
            raise
        raise explained(error, place, action) from error


def is_file(path: Path) -> bool:
    """Return whether there is a file at `path`; False means that nothing is there.

    Raises PlaceError if something else is there (a folder, a pipe, a link to nowhere), or if that cannot be found out.
    """
    with explaining(path):
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            if not path.is_symlink():
                return False
            target = path.readlink()
            raise PlaceError(f"{path} is a link to {target}, which does not exist: create the link again") from None
    if stat.S_ISREG(mode):
        return True
    raise PlaceError(
        f"{path} is {_KINDS.get(stat.S_IFMT(mode), 'a device')}, not a file: remove it, or put a file there"
    )


def lack(path: Path) -> str:
    """Return in words why `path` is not a folder: `does not exist`, `is a file, not a folder`."""
    if path.is_symlink() and not path.exists():
        return f"is a link to {path.readlink()}, which does not exist"
    return "is a file, not a folder" if path.exists() else "does not exist"


def require_readable(folder: Path) -> None:
    """Raise PlaceError if the names in `folder`, or the files under these names, may not be read."""
    with explaining(folder):
        try:
            with os.scandir(folder):
                pass
            os.stat(os.path.join(folder, "."))  # noqa: PTH116, PTH118 - Path drops the dot
        except OSError as error:
            if is_refusal(error) and folder.name in _SYSTEM_FOLDERS:
                return
            error.filename = str(folder)
            raise


def walk(folder: Path, *, followlinks: bool = False) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield what `os.walk` yields for `folder`, in the order of names.

    If `folder` is a file or does not exist, nothing is yielded. Raises PlaceError if a folder may not be read.
    """

    def refuse(error: OSError) -> None:
        if is_refusal(error) and not (error.errno == errno.ENOTDIR or Path(error.filename).name in _SYSTEM_FOLDERS):
            raise explained(error)

    for root, folders, files in os.walk(folder, onerror=refuse, followlinks=followlinks):
        folders.sort()
        yield root, folders, sorted(files)


def files_below(folder: Path) -> list[Path]:
    """Return what is below `folder` and no folder, in order of the paths: files, and links even if to nowhere.

    Raises PlaceError if a folder may not be read.
    """
    return sorted(Path(root, name) for root, _, names in walk(folder) for name in names)


class Visible(NamedTuple):
    """What is below a folder, without what is hidden."""

    files: list[Path]
    """Files, and links even if to nowhere, in order of the paths."""
    hidden: str
    """What was left out: `2 hidden files and 1 hidden folder`; empty if nothing was."""


def visible_below(folder: Path) -> Visible:
    """Return the files below `folder` as `files_below` does, without those whose name or folder begins with a dot.

    Editors, notebooks, version control and macOS (`._name`) leave such files there. Hidden folders are not entered.
    """
    files, counts = [], [0, 0]
    for root, folders, names in walk(folder):
        visible = [name for name in folders if not name.startswith(".")]
        counts[1] += len(folders) - len(visible)
        folders[:] = visible
        counts[0] += sum(name.startswith(".") for name in names)
        files += [Path(root, name) for name in names if not name.startswith(".")]
    parts = [f"{n:,} hidden {kind}{'s' * (n > 1)}" for n, kind in zip(counts, ("file", "folder"), strict=True) if n]
    return Visible(sorted(files), " and ".join(parts))
