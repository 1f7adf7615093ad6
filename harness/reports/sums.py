"""`SHA256SUMS`: the hash of every other file of a report, in the format of `sha256sum`.

The file reveals damage and careless edits: `sha256sum -c SHA256SUMS` and `harness verify` read it. It is no signature,
because whoever edits a report can write its sums again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from harness.common import places
from harness.errors import HarnessError

SUMS = "SHA256SUMS"


class Differences(NamedTuple):
    """The files of a report that are not as its `SHA256SUMS` says."""

    changed: list[str]
    missing: list[str]
    unlisted: list[str]
    """Files that `SHA256SUMS` should list but does not: manifest.json, results.json, files of samples."""
    line_ends: tuple[str, ...] = ()
    """Those of `changed` that would be as listed if their lines did not end in CRLF."""

    def __bool__(self) -> bool:
        """Return whether any file differs."""
        return bool(self.changed or self.missing or self.unlisted)

    def __str__(self) -> str:
        """Return the differences in words, with the names of up to three files of each kind."""
        changed = [name for name in self.changed if name not in self.line_ends]
        kinds = (
            ("changed", changed),
            ("missing", self.missing),
            ("without a sum", self.unlisted),
            ("changed, but only their line ends (git does that where no .gitattributes says -text)", self.line_ends),
        )
        return "; ".join(
            f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''} {kind}" for kind, names in kinds if names
        )


def of_file(file: Path) -> str:
    """Return the hex sha256 of a file."""
    with places.explaining(file), file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _with_plain_lines(file: Path) -> str:
    """Return the hex sha256 that a text file has with its lines ending in LF; empty for other files."""
    if file.suffix != ".json":
        return ""
    with places.explaining(file):
        return hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def of_folder(folder: Path) -> dict[str, str]:
    """Return the hex sha256 of every file below `folder` except `SHA256SUMS`, by path within `folder`."""
    with places.explaining(folder):
        files = [file for file in places.files_below(folder) if file.is_file()]
    return {name: of_file(file) for file in files if (name := file.relative_to(folder).as_posix()) != SUMS}


def rendered(hashes: Mapping[str, str]) -> str:
    """Return `hashes` (path → sha256) as the content of `SHA256SUMS`."""
    return "".join(f"{_marked(path, digest)}\n" for path, digest in sorted(hashes.items()))


def differences(folder: Path) -> Differences | None:
    """Return how the report in `folder` differs from its `SHA256SUMS`, or None if it has no such file (older reports).

    Raises HarnessError if `SHA256SUMS` cannot be read.
    """
    if not places.is_file(folder / SUMS):
        return None
    listed, present = _read(folder / SUMS), of_folder(folder)
    changed = [path for path, digest in listed.items() if present.get(path, digest) != digest]
    return Differences(
        changed=changed,
        missing=[path for path in listed if path not in present],
        unlisted=[path for path in present if path not in listed and _belongs(path)],
        line_ends=tuple(path for path in changed if _with_plain_lines(folder / path) == listed[path]),
    )


def is_of_report(folder: Path) -> bool:
    """Return whether the `SHA256SUMS` in `folder` lists files of a report. Other data sets have such a file, too."""
    try:
        return any(map(_belongs, _read(folder / SUMS)))
    except HarnessError:
        return False


def _belongs(path: str) -> bool:
    """Return whether the file at `path` is part of a report.

    Notes that people put beside a report's files are not, and neither is what file managers leave in its folders.
    """
    if any(part.startswith(".") for part in path.split("/")):
        return False
    return path in ("manifest.json", "results.json") or (path.startswith("samples/") and path.endswith(".parquet"))


def _read(file: Path) -> dict[str, str]:
    try:
        lines = file.read_bytes().decode("utf-8").split("\n")
    except OSError as error:
        raise places.explained(error, file) from error
    except ValueError as error:
        raise HarnessError(f"{file} cannot be read ({error}): the report is damaged") from error
    sums: dict[str, str] = {}
    for number, line in enumerate(lines if lines[-1] else lines[:-1], 1):
        digest, space, path = line.removeprefix("\\").removesuffix("\r").partition("  ")
        if line.startswith("\\"):
            path = re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), path)
        if not space or len(digest) != 64 or not path or path in sums:
            raise HarnessError(f"{file}, line {number}, is no sum of a file: the report is damaged")
        sums[path] = digest
    return sums


_ESCAPES = {"\\": "\\", "n": "\n", "r": "\r"}
"""The characters that stand for others after a backslash."""


def _marked(path: str, digest: str) -> str:
    """Return the line of a file in `SHA256SUMS`. As in `sha256sum`, a backslash in front marks a path with escapes."""
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    if escaped == path:
        return f"{digest}  {path}"
    return f"\\{digest}  {escaped}"
