"""Rows of a user's own files (`.jsonl`, `.json`, `.csv`, `.tsv`, `.parquet`), each with its place for error messages.

Byte order marks are left out of values. NaN, which pandas writes to parquet for an empty cell, counts as missing.

Not here: cells of `.csv` and `.tsv` (`harness.data.tables`), or the meaning of columns
(`harness.tasks.own_files.layouts`, `harness.tasks.own_files.texts`).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from harness.common import parquet, safe_load, unpacking
from harness.data import tables
from harness.data.text_files import MARK, read_text, without_marks
from harness.errors import HarnessError


class Row:
    """A row and its place (`exam.jsonl, line 3`). Column names are matched without regard to case."""

    def __init__(self, where: str, columns: Mapping[str, Any]) -> None:
        self.where = where
        self.columns = columns
        self._spelling: dict[str, str] = {}
        for name in columns:
            other = self._spelling.get(name.lower())
            if other is None or columns[other] is None:
                self._spelling[name.lower()] = name
            elif columns[name] is not None and columns[name] != columns[other]:
                raise HarnessError(f"{where} has two values, '{other}' and '{name}': remove one of them")

    def names(self) -> list[str]:
        """Return the names of the columns that have a value in this row, in lower case."""
        return [name for name, spelling in self._spelling.items() if self.columns[spelling] is not None]

    def error(self, problem: str) -> HarnessError:
        """Return an error that states the `problem` and this row's place."""
        return HarnessError(f"{self.where}: {problem}: correct or remove it")

    def get(self, column: str) -> Any:
        """Return the value of `column`, or None if the row has no value there.

        Raises HarnessError if the value, or a text in it, holds a NUL character.
        """
        value = self.columns.get(self._spelling.get(column, column))
        if _has_nul(value):
            raise self.error(f"'{column}' holds a NUL character, which no text has")
        return value

    def text(self, column: str, *, needed: bool = True) -> str:
        """Return the text in `column`, or the number there as text.

        If there is no value, and none is `needed`, the text is empty. Raises HarnessError if the value is neither text
        nor number, or if it is `needed` and missing or empty.
        """
        value = self.get(column)
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and math.isfinite(value):
            value = number_as_text(value)
        if value is not None and not isinstance(value, str):
            raise self.error(f"'{column}' is not a text")
        if needed and not (value or "").strip():
            raise self.error(f"'{column}' is missing or empty")
        return value or ""

    def texts(self, column: str) -> list[str]:
        """Return the texts in `column`, which holds one text or a list of texts.

        Raises HarnessError if the column holds something else, or an empty text.
        """
        value = self.get(column)
        if not isinstance(value, list):
            return [self.text(column)]
        if not value or not all(isinstance(item, str) and item.strip() for item in value):
            raise self.error(f"'{column}' is an empty list, or has entries that are not texts or are empty")
        return list(value)


@dataclass
class Notes:
    """What was decided about a file, or left out of it, for readers of the numbers computed from it."""

    sentences: list[str] = field(default_factory=list)
    marks: int = 0
    """The number of byte order marks that were left out, not counting one at the beginning of a file of rows."""
    several_answers: int = 0
    """The number of rows that accept several answers, of which a training learns the first."""

    def all(self) -> list[str]:
        """Return every note as a sentence without its full stop."""
        marks = f"{self.marks:,} byte order mark{'s' if self.marks > 1 else ''} left out"
        answers = f"rows with several accepted answers, of which the first is learned: {self.several_answers:,}"
        return [*self.sentences, *([marks] if self.marks else []), *([answers] if self.several_answers else [])]


def _has_nul(value: object) -> bool:
    """Return whether `value`, or a text in a list or mapping, holds a NUL character."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        value = [*value.values()]
    return isinstance(value, list) and any(map(_has_nul, value))


def number_as_text(number: int | float | Decimal) -> str:
    """Return a finite number as text, a whole number without decimals.

    Tables and pandas write a whole number as 7.0 if another cell of its column is empty.
    """
    if isinstance(number, float) and number.is_integer() and abs(number) < 2**53:
        return str(int(number))
    return str(number)


def is_supported(file: str | Path) -> bool:
    """Return whether the ending of a file's name, in upper or lower case, is that of a file with rows."""
    return Path(file).suffix.lower() in READERS


def read(file: Path, notes: Notes | None = None) -> Iterator[Row]:
    """Yield the rows of `file`; empty lines are skipped.

    Appends to `notes` what was decided about the file or left out of it. Raises HarnessError that names the file, the
    line and what is wrong in that line.
    """
    return READERS[file.suffix.lower()](file, Notes() if notes is None else notes)


def read_parquet(file: Path) -> Any:
    """Return the pyarrow table in `file`. Raises HarnessError if it cannot be read."""
    import pyarrow as pa

    try:
        unpacking.check_parquet(file)
        with parquet.open_table(file) as opened:
            table = opened.read()
        table.validate(full=True)  # otherwise text that is not UTF-8 fails only where it is used
        return table
    except unpacking.UnsafeArchiveError as error:
        raise HarnessError(f"{file} is not read ({error}): write it again with fewer or shorter rows") from error
    except (pa.ArrowException, OSError) as error:
        raise HarnessError(f"{file} cannot be read as parquet ({error}): fetch or write it again") from error


def parse_json(text: str, **options: Any) -> Any:
    """Return the value of a JSON `text`; `options` are those of `json.loads`.

    Raises ValueError if `text` is not JSON, exceeds a limit of `harness.common.safe_load`, or has a string with half
    of a surrogate pair, which no UTF-8 file can hold.
    """
    value = safe_load.json_text(text, **options)
    if _SURROGATE.search(text):  # half of a pair, or a complete pair
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"a text has half of a character, {error.object[error.start]!r}") from error
    return value


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


_WRAPPERS = (
    *("data", "rows", "examples", "instances", "items", "questions", "records", "samples", "数据"),
    *("train", "dev", "val", "validation", "test"),
)
"""The keys of an object under which a `.json` file may hold its list of rows."""
_BATCH = 1024
"""Rows of a parquet file that are Python's objects at a time."""
_LINE_END = re.compile(r"\r\n|\n|\r")
_ESCAPED_MARK = re.compile(r"\\u[fF][eE][fF]{2}")


def _json_lines(file: Path, notes: Notes) -> Iterator[Row]:
    yield from _rows_of_lines(file, _text(file, notes), notes)


def _json(file: Path, notes: Notes) -> Iterator[Row]:
    """Yield the rows of a `.json` file: a list, an object with a list, or, as is common, one object per line."""
    text = _text(file, notes)
    if not text.strip():
        return
    try:
        value = parse_row(text)
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith("[") or len([line for line in _LINE_END.split(text) if line.strip()]) < 2:
            raise HarnessError(f"{file} is not JSON ({error}): correct it") from error
        yield from _rows_of_lines(file, text, notes)
        return
    rows = value if isinstance(value, list) else _wrapped_rows(file, value, notes)
    if rows is None:
        yield _row(f"{file}, entry 1", value)
        return
    for number, entry in enumerate(_without_marks(rows, _ESCAPED_MARK.search(text) is not None, notes), 1):
        yield _row(f"{file}, entry {number}", entry)


def _wrapped_rows(file: Path, value: object, notes: Notes) -> list[Any] | None:
    """Return the rows in an object such as `{"data": [...]}`, or None if `value` is no such object.

    Raises HarnessError if the object holds several lists of rows.
    """
    if not isinstance(value, dict):
        return None
    lists = {key: item for key, item in value.items() if isinstance(item, list) and item and isinstance(item[0], dict)}
    if not any(key.lower() in _WRAPPERS for key in lists):
        return None
    if len(lists) > 1:
        raise HarnessError(f"{file} holds several lists, {', '.join(lists)}: write the rows of one as a list")
    [(key, rows)] = lists.items()
    others = [name for name in value if name != key]
    if others:
        notes.sentences.append(f"not read beside '{key}': {', '.join(others)}")
    return rows


def _rows_of_lines(file: Path, text: str, notes: Notes) -> Iterator[Row]:
    # Line ends alone part lines: str.splitlines would cut at U+2028 or a form feed inside a string, too.
    for number, line in enumerate(_lines(text), 1):
        if not line.strip():
            continue
        try:
            value = parse_row(line)
        except (ValueError, RecursionError) as error:
            raise HarnessError(f"{file}, line {number}, is not JSON ({error}): correct or remove it") from error
        [value] = _without_marks([value], _ESCAPED_MARK.search(line) is not None, notes)
        is_list_file = _is_list_of_rows(value) and file.suffix.lower() != ".json"
        yield _row(f"{file}, line {number}", value, is_list_file=is_list_file)


def _is_list_of_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _lines(text: str) -> Iterator[str]:
    start = 0
    for end in _LINE_END.finditer(text):
        yield text[start : end.start()]
        start = end.end()
    yield text[start:]


def _row(where: str, value: object, *, is_list_file: bool = False) -> Row:
    """Return `value` as a row. `is_list_file` is whether it is a list of rows, as a file named .json may hold."""
    if not isinstance(value, dict):
        content = json.dumps(value, ensure_ascii=False)[:50]
        hint = ": write it as an object, {column: value, …}"
        hint = ": name the file .json, which may hold a list" if is_list_file else hint
        raise HarnessError(f"{where}, is not a JSON object but {content}{hint}")
    return Row(where, value)


def parse_row(text: str) -> Any:
    """Return the value of a JSON `text`.

    Raises ValueError as `parse_json` does, and if an object has a key twice.
    """
    return parse_json(text, object_pairs_hook=_object)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raise ValueError if it has a key twice, because Python would drop its first value."""
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"an object has the key '{next(key for key in counts if counts[key] > 1)}' twice")
    return result


def _table(file: Path, notes: Notes) -> Iterator[Row]:
    for line, columns in tables.read(file, _text(file, notes), notes.sentences):
        yield Row(f"{file}, line {line}", columns)


def _parquet(file: Path, notes: Notes) -> Iterator[Row]:
    batches = read_parquet(file).to_batches(max_chunksize=_BATCH)  # as Python's objects, rows take several times more
    rows = (columns for batch in batches for columns in _without_marks(batch.to_pylist(), True, notes))
    for number, columns in enumerate(rows, 1):
        values = {
            name: None if isinstance(item, float) and math.isnan(item) else item for name, item in columns.items()
        }
        yield Row(f"{file}, row {number}", values)


def _text(file: Path, notes: Notes) -> str:
    """Return the text of `file` without byte order marks; count marks after the beginning of the file in `notes`."""
    text, count = without_marks(read_text(file).removeprefix(MARK))
    notes.marks += count
    return text


def _without_marks(values: list[Any], has_marks: bool, notes: Notes) -> list[Any]:
    """Return `values`, read from JSON or a table, without byte order marks in any text; count the marks in `notes`."""
    if not has_marks:
        return values

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            value, marks = without_marks(value)
            notes.marks += marks
        elif isinstance(value, list):
            value = [clean(item) for item in value]
        elif isinstance(value, dict):
            value = {clean(key): clean(item) for key, item in value.items()}
        return value

    return [clean(value) for value in values]


READERS: dict[str, Callable[[Path, Notes], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _table,
    ".tsv": _table,
    ".parquet": _parquet,
}
"""The function that reads a file, by the ending of its name in lower case."""
