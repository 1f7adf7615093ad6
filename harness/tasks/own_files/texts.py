"""The texts of `ppl:FILE_OR_FOLDER`: each `.txt` file is a document, and so is each row of a `.jsonl` or `.parquet`.

Hidden files and folders are not read.

Not here: the task that measures them (`harness.tasks.own_files.file_tasks`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.common import places
from harness.data import rows
from harness.data.rows import Notes
from harness.data.text_files import read_text, without_marks
from harness.errors import HarnessError

COLUMNS = ("text", "content")
"""The columns that may hold the text of a row; the first that exists is read."""
_EITHER = " or ".join(COLUMNS)


class Texts(NamedTuple):
    """The texts of a file or folder."""

    documents: list[str]
    """The texts that are not empty."""
    notes: list[str]
    """Sentences that say what was left out."""


class Text(NamedTuple):
    """A text and its place in messages (`law.jsonl, line 3`)."""

    where: str
    text: str


def require_supported(path: Path) -> None:
    """Raise HarnessError if `path` is a file of a kind that is not supported; the file is not read."""
    if path.is_file():
        _reader(path)


def read(path: Path) -> Texts:
    """Return the texts of a file, or of all readable files below a folder in the order of their names.

    Raises HarnessError naming the file, and the line or column, if something cannot be read.
    """
    notes = Notes()
    texts = [document.text for document in iterate(path, notes)]
    documents = [text for text in texts if text]
    if empty := len(texts) - len(documents):
        notes.sentences.append(f"{empty:,} of {len(texts):,} texts are empty and left out")
    return Texts(documents, notes.all())


def iterate(path: Path, notes: Notes) -> Iterator[Text]:
    """Yield the texts of a file or folder, empty ones included, one file in memory at a time.

    Appends to `notes` what is left out. Raises the errors of `read`.
    """
    for file in [path] if path.is_file() else _files_below(path, notes):
        yield from _reader(file)(file, notes)


def _files_below(folder: Path, notes: Notes) -> list[Path]:
    """Return the files below `folder` that can be read, and note the rest; raise HarnessError if none can be read."""
    below, hidden = places.visible_below(folder)
    files = [file for file in below if file.suffix.lower() in _READERS and places.is_file(file)]
    readable = set(files)
    unread = [str(file.relative_to(folder)) for file in below if file not in readable]
    if not files:
        rest = " and ".join(part for part in (", ".join(unread[:3]), hidden) if part)
        raise HarnessError(
            f"{folder} holds no {', '.join(_READERS)} file to read{rest and f', only {rest}'}: name another folder, "
            "or a file"
        )
    if unread:
        count = f"{len(unread):,} files, the first is " if len(unread) > 1 else ""
        notes.sentences.append(f"not read: {count}{unread[0]}")
    if hidden:
        notes.sentences.append(f"not read: {hidden}")
    return files


def _reader(file: Path) -> Callable[[Path, Notes], Iterator[Text]]:
    if file.suffix.lower() not in _READERS:
        raise HarnessError(
            f"{file} cannot be measured: supported are {', '.join(_READERS)} files, and folders of such files"
        )
    return _READERS[file.suffix.lower()]


def _txt(file: Path, notes: Notes) -> Iterator[Text]:
    text, count = without_marks(read_text(file))
    notes.marks += count
    yield Text(str(file), text)


def _rows(file: Path, notes: Notes) -> Iterator[Text]:
    for row in rows.read(file, notes):
        column = next((name for name in COLUMNS if isinstance(row.get(name), str)), None)
        if column is None:
            raise HarnessError(f"{row.where}, has no text in a column {_EITHER}: rename its column")
        yield Text(row.where, row.get(column))


def _parquet(file: Path, notes: Notes) -> Iterator[Text]:
    table = rows.read_parquet(file)
    spellings = {name.lower(): name for name in table.column_names}
    column = next((spellings[name] for name in COLUMNS if name in spellings), None)
    if column is None:
        raise HarnessError(f"{file} has no column {_EITHER}, only {', '.join(table.column_names)}: rename one")
    for number, value in enumerate(table.column(column).to_pylist(), 1):
        if not isinstance(value, str | None):
            raise HarnessError(f"{file}, row {number}, has no text in its column {column}: write it as text")
        if value and "\0" in value:
            raise HarnessError(f"{file}, row {number}, holds a NUL character, which no text has: correct it")
        text, count = without_marks(value or "")
        notes.marks += count
        yield Text(f"{file}, row {number}", text)


_READERS: dict[str, Callable[[Path, Notes], Iterator[Text]]] = {".txt": _txt, ".jsonl": _rows, ".parquet": _parquet}
SUPPORTED = tuple(_READERS)
"""The suffixes of files that hold texts."""
