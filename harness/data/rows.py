"""Rows of a user's own files (`.jsonl`, `.json`, `.csv`, `.tsv`, `.parquet`), each with its place for error messages.

Not here: the meaning of columns (`harness.tasks.own_files.layouts`, `harness.tasks.own_files.texts`).
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
    """A row and its place (`exam.jsonl, line 3`). Column names are matched without regard to case."""

    def __init__(self, where: str, columns: Mapping[str, Any]) -> None:
        self.where = where
        self.columns = columns
        self._spelling = {name.lower(): name for name in columns}

    def names(self) -> list[str]:
        """Return the names of the columns that have a value in this row, in lower case."""
        return [name for name, spelling in self._spelling.items() if self.columns[spelling] is not None]

    def error(self, problem: str) -> HarnessError:
        """Return an error that states the `problem` and this row's place."""
        return HarnessError(f"{self.where}: {problem}: correct or remove it")

    def get(self, column: str) -> Any:
        """Return the value of `column`, or None if there is none."""
        return self.columns.get(self._spelling.get(column, column))

    def text(self, column: str, *, needed: bool = True) -> str:
        """Return the text, or the number as text, in `column`; an empty text if there is none and it is not `needed`.

        Raises HarnessError if the value is something else, or if it is `needed` and missing or empty.
        """
        value = self.get(column)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            value = str(value)
        if value is not None and not isinstance(value, str):
            raise self.error(f"'{column}' is not a text")
        if needed and not (value or "").strip():
            raise self.error(f"'{column}' is missing or empty")
        return value or ""

    def texts(self, column: str) -> list[str]:
        """Return the texts in `column`, which holds one text or a list of them.

        Raises HarnessError if it holds something else, or an empty text.
        """
        value = self.get(column)
        if not isinstance(value, list):
            return [self.text(column)]
        if not value or not all(isinstance(item, str) and item.strip() for item in value):
            raise self.error(f"'{column}' is an empty list, or has entries that are not texts or are empty")
        return list(value)


def read(file: Path) -> Iterator[Row]:
    """Yield the rows of `file`; empty lines are skipped.

    Raises HarnessError that names the file, the line and what is wrong there.
    """
    return READERS[file.suffix](file)


def read_text(file: Path, encoding: str = "utf-8") -> str:
    """Return the text of `file`, with its line ends unchanged, because they count as characters of a corpus.

    Raises HarnessError if the file cannot be read or is not in `encoding`.
    """
    try:
        with file.open(encoding=encoding, newline="") as stream:
            return stream.read()
    except UnicodeDecodeError as error:
        raise HarnessError(f"{file} is not UTF-8 (byte {error.start:,}): convert it") from error
    except OSError as error:
        raise HarnessError(f"{file} cannot be read ({error.strerror})") from error


def read_parquet(file: Path) -> Any:
    """Return the pyarrow table in `file`. Raises HarnessError if it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise HarnessError(f"{file} cannot be read as parquet ({error}): fetch or write it again") from error


def parse_json(text: str, **options: Any) -> Any:
    """Return the value of a JSON `text`; `options` are those of `json.loads`.

    Raises ValueError if `text` is not JSON, or if a string in it has half of a surrogate pair, which no UTF-8 file can
    hold.
    """
    value = json.loads(text, **options)
    if _SURROGATE.search(text):  # half of a pair, or a complete pair
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"a text has half of a character, {error.object[error.start]!r}") from error
    return value


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _json_lines(file: Path) -> Iterator[Row]:
    yield from _rows_of_lines(file, read_text(file, "utf-8-sig"))


def _json(file: Path) -> Iterator[Row]:
    """Yield the rows of a list of objects, or of one object per line, for which `.json` is often used, too."""
    text = read_text(file, "utf-8-sig")
    if not text.lstrip().startswith("["):
        yield from _rows_of_lines(file, text)
        return
    try:
        entries = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{file} is not JSON ({error}): correct it") from error
    for number, value in enumerate(entries, 1):
        yield _row(f"{file}, entry {number}", value)


def _rows_of_lines(file: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
        except (ValueError, RecursionError) as error:
            raise HarnessError(f"{file}, line {number}, is not JSON ({error}): correct or remove it") from error
        yield _row(f"{file}, line {number}", value)


def _row(where: str, value: object) -> Row:
    if not isinstance(value, dict):
        content = json.dumps(value, ensure_ascii=False)[:50]
        raise HarnessError(f"{where}, is not a JSON object but {content}: correct it")
    return Row(where, value)


def _csv(file: Path) -> Iterator[Row]:
    lines = csv.DictReader(
        io.StringIO(read_text(file, "utf-8-sig"), newline=""),
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
                raise HarnessError(f"{where}, does not have {len(header)} cells as the header has: correct it")
            yield Row(where, dict(columns))
    except csv.Error as error:
        raise HarnessError(f"{file}, line {lines.line_num}, is not CSV ({error}): correct it") from error


def _parquet(file: Path) -> Iterator[Row]:
    for number, columns in enumerate(read_parquet(file).to_pylist(), 1):
        yield Row(f"{file}, row {number}", columns)


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}
"""The function that reads a file, by the ending of its name."""
