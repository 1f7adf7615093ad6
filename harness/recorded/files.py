"""The files that may hold predictions: a file, the files of a folder, and the members of tar archives.

Not here: what is in them (`harness.recorded.formats`).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

from harness.common import unpacking
from harness.data.text_files import MARK, decoded
from harness.errors import HarnessError

SUFFIXES = (".json", ".jsonl", ".csv", ".txt")
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")


class File(NamedTuple):
    """A file that may hold predictions."""

    path: PurePosixPath
    """The file's path below `root`."""
    label: str
    """The name of the file in messages."""
    root: str
    """The folder or archive that the user named, or that contains the file."""
    content: Callable[[], bytes]
    """Returns the bytes of the file."""

    def text(self) -> str:
        """Return the text of the file; raise HarnessError if it cannot be read or is not UTF-8."""
        try:
            return decoded(self.content(), self.label).removeprefix(MARK)
        except OSError as error:
            raise HarnessError(f"{self.label} cannot be read ({error.strerror})") from error


class FileGroup(NamedTuple):
    """Files that belong together: a folder without its archives, one archive, or a single file."""

    model: str
    """The name of the model that the files belong to, unless their folders inside the group name another."""
    files: list[File]


def file_groups(path: Path) -> Iterator[FileGroup]:
    """Yield a group of the files at or below `path` that are not archives, then a group for each archive.

    Raises HarnessError if a folder or an archive cannot be read.
    """
    if path.is_file():
        if _is_archive(path):
            yield FileGroup(_archive_stem(path), _members(path))
        else:
            alone = _file(path.name, str(path), path.parent, path.read_bytes)
            yield FileGroup(_readable(path.resolve().stem), [alone])
        return
    below = _files_below(path)
    plain = [file for file in below if file.suffix.lower() in SUFFIXES]
    if plain:
        files = [_file(file.relative_to(path).as_posix(), str(file), path, file.read_bytes) for file in plain]
        yield FileGroup(_readable(path.resolve().name), files)
    for file in below:
        if _is_archive(file):
            yield FileGroup(_archive_stem(file), _members(file))


def _files_below(folder: Path) -> list[Path]:
    return sorted(
        Path(root, name)
        for root, _, names in os.walk(folder, onerror=_raise_unreadable)
        for name in names
        if not _is_hidden(Path(root, name).relative_to(folder))
    )


def _raise_unreadable(error: OSError) -> None:
    raise HarnessError(f"{error.filename} cannot be read ({error.strerror}): its content is not known") from error


def _members(archive: Path) -> list[File]:
    """Return the files in `archive`, with content read already, since a compressed archive is read front to back."""
    files = []
    try:
        for member in unpacking.tar_members(archive, SUFFIXES):
            name = member.name.lstrip("/")
            if not _is_hidden(PurePosixPath(name)):
                content = functools.partial(bytes, member.content)
                files.append(_file(name, f"{archive}:{member.name}", archive, content))
    except unpacking.UnsafeArchiveError as error:
        raise HarnessError(f"{archive} is not read ({error}): unpack it, and name the folder") from error
    except unpacking.DAMAGE as error:
        raise HarnessError(f"{archive} cannot be read as an archive ({error}): fetch it again") from error
    return files


def _file(name: str, label: str, root: Path, content: Callable[[], bytes]) -> File:
    return File(PurePosixPath(_readable(name)), _readable(label), _readable(str(root)), content)


def _readable(name: str) -> str:
    """Return a file's name with a question mark for each byte that is not UTF-8, because reports contain only UTF-8."""
    return name.encode(errors="replace").decode()


def _is_hidden(name: PurePath) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in name.parts)


def _is_archive(file: Path) -> bool:
    return file.name.endswith(ARCHIVE_SUFFIXES)


def _archive_stem(file: Path) -> str:
    suffix = next(suffix for suffix in ARCHIVE_SUFFIXES if file.name.endswith(suffix))
    return _readable(file.name.removesuffix(suffix))
