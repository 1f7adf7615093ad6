"""Rows of a person's own files: `.jsonl`, `.json`, `.csv`, `.tsv` and `.parquet`, each with its place for complaints.

Not here: what columns mean (`harness.tasks.own_files.layouts`, `harness.tasks.own_files.texts`).
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError


class Row:
    """A row, and where it stands (`exam.jsonl, line 3`). Columns are found whatever the case of their letters."""

    def __init__(self, where: str, columns: Mapping[str, Any]) -> None:
        self.where = where
        self.columns = columns
        self._spelled = {name.lower(): name for name in columns}

    def names(self) -> list[str]:
        """Return the columns in which the row has something, in small letters."""
        return [name for name, spelled in self._spelled.items() if self.columns[spelled] is not None]

    def wrong(self, what: str) -> HarnessError:
        """Return the complaint that `what` is wrong here."""
        return HarnessError(f"{self.where}: {what}: correct or remove it")

    def get(self, column: str) -> Any:
        """Return what the row has in `column`, None if nothing."""
        return self.columns.get(self._spelled.get(column, column))

    def text(self, column: str, *, needed: bool = True) -> str:
        """Return the text, or the number as text, in `column`; raise HarnessError if it is `needed` and not there."""
        value = self.get(column)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            value = str(value)
        if value is not None and not isinstance(value, str):
            raise self.wrong(f"'{column}' is no text")
        if needed and not (value or "").strip():
            raise self.wrong(f"'{column}' is missing or empty")
        return value or ""

    def texts(self, column: str) -> list[str]:
        """Return the text, or the several texts, in `column`."""
        value = self.get(column)
        if not isinstance(value, list):
            return [self.text(column)]
        if not value or not all(isinstance(one, str) and one.strip() for one in value):
            raise self.wrong(f"'{column}' holds no texts, or empty ones")
        return list(value)


def rows(file: Path) -> Iterator[Row]:
    """Yield the rows of `file`; empty lines are none.

    Raises HarnessError naming the file, the line and what is wrong there.
    """
    return readers[file.suffix](file)


def decoded(file: Path, encoding: str = "utf-8") -> str:
    """Return the text of `file`, its own line ends kept: they are a corpus's characters."""
    try:
        with file.open(encoding=encoding, newline="") as stream:
            return stream.read()
    except UnicodeDecodeError as error:
        raise HarnessError(f"{file} is not UTF-8 (byte {error.start:,}): convert it") from error
    except OSError as error:
        raise HarnessError(f"{file} cannot be read ({error.strerror})") from error


def parquet(file: Path) -> Any:
    """Return the pyarrow table of `file`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise HarnessError(f"{file} cannot be read as parquet ({error}): fetch or write it again") from error


def parsed(text: str, **how: Any) -> Any:
    """Return the JSON that `text` is, read as `json.loads` is told `how`.

    Raises ValueError, too, where a text in it has half of a character, which no file can hold.
    """
    value = json.loads(text, **how)
    if _HALF.search(text):  # of a pair, or by itself
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"a text has half of a character, {error.object[error.start]!r}") from error
    return value


_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def _json_lines(file: Path) -> Iterator[Row]:
    yield from _lines(file, decoded(file, "utf-8-sig"))


def _json(file: Path) -> Iterator[Row]:
    """Yield the rows of a list of objects, or of an object a line, which often goes by `.json`, too."""
    text = decoded(file, "utf-8-sig")
    if not text.lstrip().startswith("["):
        yield from _lines(file, text)
        return
    try:
        listed = parsed(text)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{file} is not JSON ({error}): correct it") from error
    for number, value in enumerate(listed, 1):
        yield _row(f"{file}, entry {number}", value)


def _lines(file: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = parsed(line)
        except (ValueError, RecursionError) as error:
            raise HarnessError(f"{file}, line {number}, is not JSON ({error}): correct or remove it") from error
        yield _row(f"{file}, line {number}", value)


def _row(where: str, value: Any) -> Row:
    if not isinstance(value, dict):
        raise HarnessError(f"{where}, is no JSON object but {json.dumps(value, ensure_ascii=False)[:50]}: correct it")
    return Row(where, value)


def _csv(file: Path) -> Iterator[Row]:
    lines = csv.DictReader(
        io.StringIO(decoded(file, "utf-8-sig"), newline=""),
        delimiter="\t" if file.suffix == ".tsv" else ",",
        strict=True,
    )
    try:
        header = lines.fieldnames or ()
        if len(set(header)) < len(header):
            raise HarnessError(f"{file} names a column twice in {', '.join(header)}: rename one")
        for columns in lines:
            where = f"{file}, line {lines.line_num}"
            if None in columns or None in columns.values():
                raise HarnessError(f"{where}, has not the {len(header)} cells of the header: correct it")
            yield Row(where, dict(columns))
    except csv.Error as error:
        raise HarnessError(f"{file}, line {lines.line_num}, is not CSV ({error}): correct it") from error


def _parquet(file: Path) -> Iterator[Row]:
    for number, columns in enumerate(parquet(file).to_pylist(), 1):
        yield Row(f"{file}, row {number}", columns)


readers: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}
"""How a file is read, by its ending."""
