"""The texts of `ppl:FILE_OR_FOLDER`: a `.txt` file is one document, a row of `.jsonl` or `.parquet` is one.

Not here: the task that measures them (`harness.tasks.own_files.file_tasks`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from harness.data import rows
from harness.errors import HarnessError

COLUMNS = ("text", "content")
"""The columns that may hold a row's document; the first that exists is read."""
_EITHER = " or ".join(COLUMNS)


def require_supported(path: Path) -> None:
    """Raise HarnessError if `path` is a file of a kind that is not supported; nothing is read."""
    if path.is_file():
        _reader(path)


def documents(path: Path) -> Iterator[str]:
    """Yield the documents of a file, or of all readable files below a folder in the order of their names.

    Raises HarnessError naming the file, and the line or column, if something cannot be read.
    """
    if path.is_file():
        yield from _reader(path)(path)
        return
    files = sorted(file for file in path.rglob("*") if file.suffix in _READERS and file.is_file())
    if not files:
        raise HarnessError(f"{path} holds no {', '.join(_READERS)} file: there is nothing to measure")
    for file in files:
        yield from _reader(file)(file)


def _reader(file: Path) -> Callable[[Path], Iterator[str]]:
    if file.suffix not in _READERS:
        raise HarnessError(
            f"{file} cannot be measured: supported are {', '.join(_READERS)} files, and folders of such files"
        )
    return _READERS[file.suffix]


def _txt(file: Path) -> Iterator[str]:
    yield rows.read_text(file)


def _jsonl(file: Path) -> Iterator[str]:
    for row in rows.read(file):
        column = next((name for name in COLUMNS if isinstance(row.columns.get(name), str)), None)
        if column is None:
            raise HarnessError(f"{row.where}, has no text in a column {_EITHER}: rename its column")
        yield row.columns[column]


def _parquet(file: Path) -> Iterator[str]:
    table = rows.read_parquet(file)
    column = next((name for name in COLUMNS if name in table.column_names), None)
    if column is None:
        raise HarnessError(f"{file} has no column {_EITHER}, only {', '.join(table.column_names)}: rename one")
    for text in table.column(column).to_pylist():
        yield text if isinstance(text, str) else ""


_READERS: dict[str, Callable[[Path], Iterator[str]]] = {".txt": _txt, ".jsonl": _jsonl, ".parquet": _parquet}
