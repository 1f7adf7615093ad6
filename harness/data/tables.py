"""Tables of text: `.csv` and `.tsv` files → records of cells, each record with the number of its line.

`.csv` is RFC 4180: a cell in quotes may hold delimiters, line ends and doubled quotes. The delimiter is a comma or, if
the header has no comma, a semicolon (Excel in much of Europe) or a tab.

`.tsv` has no quoting: a line is a record, a tab ends a cell, a quote is a character of the text. Only a file that a CSV
writer (Excel, pandas) wrote is read with CSV's quotes. In such a file, every quote encloses a cell or is doubled inside
a cell. In addition, one of three signs is needed. The header is in quotes, or a quote is doubled, or the number of
cells is that of the header only if line ends or tabs may stand in quotes. A file that could be read with or without
CSV's quotes is refused; the error names the line.

Not here: the meaning of columns, or JSON (`harness.data.rows`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.data.text_files import MARK
from harness.errors import HarnessError

_LINE_END = re.compile(r"\r\n|\n|\r")
_ENCLOSED = re.compile(r'"((?:[^"]|"")*+)"')
_SEPARATOR_LINE = re.compile(r"sep=(.)(?:\r\n|\n|\r)", re.IGNORECASE)
"""A first line that Excel may write, `sep=;`, which names the delimiter."""


class Record(NamedTuple):
    """The cells of one row."""

    line: int
    """The line of the file where the record begins, counted from 1."""
    cells: tuple[str, ...]
    quoted: tuple[bool, ...]
    """Whether each cell was in quotes."""


def read(file: Path, text: str, notes: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line and the columns of each row of the table `text`, the content of `file`; empty rows are skipped.

    Appends to `notes` what was decided about the file. Raises HarnessError that names the file, the line and the
    problem.
    """
    first_line = 1
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    if match := _SEPARATOR_LINE.match(text):
        delimiter, text, first_line = match[1], text[match.end() :], 2
    elif delimiter == ",":
        delimiter = _delimiter(text)
        if delimiter != ",":
            notes.append(f"columns are separated by {'a tab' if delimiter == chr(9) else delimiter}")
    parse = _tsv if delimiter == "\t" else _csv
    records = [
        record for record in parse(file, text, delimiter, first_line, notes) if any(map(str.strip, record.cells))
    ]
    if records:
        yield from _rows(file, records, delimiter)


def _delimiter(text: str) -> str:
    """Return what separates the names in the header of a `.csv` file."""
    header = _LINE_END.split(text.lstrip("\r\n"), 1)[0]
    return next((delimiter for delimiter in (",", ";", "\t") if delimiter in header), ",")


def _rows(file: Path, records: Sequence[Record], delimiter: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line and the columns of each record after the header; a column without a name is named by its place."""
    titles = [name.replace(MARK, "").strip() for name in records[0].cells]
    if delimiter == "\t" and len(titles) == 1 and re.search("[,;]", titles[0]):
        raise HarnessError(f"{file} has no tab in its header '{titles[0][:50]}': name it .csv if commas separate cells")
    width = max((place for place, name in enumerate(titles, 1) if name), default=0)
    names = [name or f"column {place}" for place, name in enumerate(titles[:width], 1)]
    if len({name.casefold() for name in names}) < len(names):
        raise HarnessError(f"{file} names a column twice in {', '.join(names)}: rename one")
    for record in records[1:]:
        cells, surplus = record.cells[:width], record.cells[width:]
        if len(cells) < width or any(surplus):
            raise HarnessError(
                f"{file}, line {record.line}, does not have {width} cells as the header has, but "
                f"{len(record.cells)}: correct it"
            )
        if record.cells == records[0].cells:
            raise HarnessError(f"{file}, line {record.line}, repeats the header, as joined files do: remove the line")
        yield record.line, dict(zip(names, cells, strict=True))


# --- CSV --------------------------------------------------------------------------------------------------------------


def _csv(file: Path, text: str, delimiter: str, first_line: int, notes: list[str]) -> list[Record]:
    """Return the records of a CSV file.

    Raises HarnessError if a quote does not enclose its cell, or if a cell in quotes may have swallowed rows.
    """
    records = list(_quoted(file, text, delimiter, first_line))
    swallowing = _swallowing(text, records, delimiter, first_line)
    if swallowing is not None:
        raise HarnessError(
            f"{file}, line {swallowing.line}, begins a cell in quotes that goes on over line ends and holds what may "
            "be rows: double its quotes if they belong to the text, or write the file as .jsonl"
        )
    return records


def _quoted(file: Path, text: str, delimiter: str, first_line: int) -> Iterator[Record]:
    """Yield the records of a text whose cells may be in quotes; raise HarnessError if a quote is anywhere else."""
    end = f"({re.escape(delimiter)}|\r\n|\n|\r|\\Z)"
    cell = re.compile(f'(?:"((?:[^"]|"")*+)"|([^{re.escape(delimiter)}\r\n]*+)){end}')
    line = line_of_record = first_line
    cells: list[str] = []
    quoted: list[bool] = []
    position = 0
    while position < len(text) or cells:
        match = cell.match(text, position)
        assert match is not None, "an unquoted cell may be empty, and the text ends one"
        enclosed, bare, ending = match.groups()
        if bare is not None and bare.lstrip().startswith('"'):
            problem = "a quote after a space" if bare[0] != '"' else "a quote that does not enclose its cell"
            raise HarnessError(
                f"{file}, line {line}, is not CSV ({problem}: {bare[:30]}): put the whole cell in quotes, and double "
                "those inside"
            )
        cells.append(bare if enclosed is None else enclosed.replace('""', '"'))
        quoted.append(enclosed is not None)
        line += len(_LINE_END.findall(match[0]))
        position = match.end()
        if ending != delimiter:
            yield Record(line_of_record, tuple(cells), tuple(quoted))
            cells, quoted, line_of_record = [], [], line
            if not ending:
                return


def _swallowing(text: str, records: Sequence[Record], delimiter: str, first_line: int) -> Record | None:
    """Return the first record that has several lines, if `text` is as good a table without CSV's quotes; else None."""
    over_lines = [record for record in records if any(map(_LINE_END.search, record.cells))]
    if not over_lines:
        return None
    lines = [line.split(delimiter) for line in _LINE_END.split(text)]
    width = len(records[0].cells)
    if any(len(cells) != width for cells in lines if any(cells)):
        return None
    for record in over_lines:
        start = record.line - first_line
        count = sum(len(_LINE_END.findall(cell)) for cell in record.cells) + 1
        if any(cell.startswith(" ") for cells in lines[start : start + count] for cell in cells):
            return None
    return over_lines[0]


# --- TSV --------------------------------------------------------------------------------------------------------------


def _tsv(file: Path, text: str, delimiter: str, first_line: int, notes: list[str]) -> list[Record]:
    """Return the records of a tab-separated file, with CSV's quotes if a CSV writer wrote it."""
    lines = (line.split(delimiter) for line in _LINE_END.split(text))
    records = [Record(number, tuple(cells), (False,) * len(cells)) for number, cells in enumerate(lines, first_line)]
    records = [record for record in records if any(map(str.strip, record.cells))]
    if '"' not in text:
        return records
    width = len(records[0].cells)
    lone = next(
        (record for record in records if any('"' in cell and not _is_enclosed(cell) for cell in record.cells)), None
    )
    doubled = next((record for record in records if any(map(_has_doubled_quote, record.cells))), None)
    quoted = _written_as_csv(file, text, first_line, width) if lone is not None else None
    does_not_fit = any(len(record.cells) < width or any(record.cells[width:]) for record in records)
    if does_not_fit and width > 1 and quoted is not None:
        return quoted
    if lone is not None and quoted is not None:
        raise _ambiguous(file, lone)
    if lone is None and (doubled is not None or any(map(_is_enclosed, records[0].cells))):
        return [_without_quotes(record) for record in records]
    if doubled is not None:
        raise _ambiguous(file, doubled)
    if lone is None and (record := _whole_cells(records)) is not None:
        raise _ambiguous(file, record)
    with_quotes = [record for record in records if any('"' in cell for cell in record.cells)]
    count = f"{len(with_quotes):,} row{'s' if len(with_quotes) > 1 else ''}"
    notes.append(f"quotes are characters of the text in {count}, the first in line {with_quotes[0].line}")
    return records


def _written_as_csv(file: Path, text: str, first_line: int, width: int) -> list[Record] | None:
    """Return the records read with CSV's quotes, or None if a quote or a record does not fit CSV."""
    try:
        records = list(_quoted(file, text, "\t", first_line))
    except HarnessError:
        return None
    for record in records:
        if any(record.cells) and (len(record.cells) < width or any(record.cells[width:])):
            return None
        for cell, is_quoted in zip(record.cells, record.quoted, strict=True):
            if ('"' in cell and not is_quoted) or ("\t" in cell and _LINE_END.search(cell)):
                return None
    return records


def _is_enclosed(cell: str) -> bool:
    """Return whether a cell is quoted as in CSV: enclosed in quotes, with the quotes inside it doubled."""
    return len(cell) > 1 and _ENCLOSED.fullmatch(cell) is not None


def _has_doubled_quote(cell: str) -> bool:
    return _is_enclosed(cell) and '""' in cell[1:-1]


def _without_quotes(record: Record) -> Record:
    cells = (cell[1:-1].replace('""', '"') if _is_enclosed(cell) else cell for cell in record.cells)
    return record._replace(cells=tuple(cells))


def _whole_cells(records: Sequence[Record]) -> Record | None:
    """Return a record with a cell in quotes if a CSV writer may have written the quotes, else None.

    A CSV writer puts all texts of a column in quotes, or only texts with a comma, a quote, a tab or a line end.
    """
    for column in range(len(records[0].cells)):
        cells = [(record, record.cells[column]) for record in records[1:] if column < len(record.cells)]
        enclosed = [record for record, cell in cells if _is_enclosed(cell)]
        if enclosed and len(enclosed) == sum(bool(cell) for _, cell in cells):
            return enclosed[0]
    body = [(record, cell) for record in records[1:] for cell in record.cells]
    if all(_is_enclosed(cell) == ("," in cell) for _, cell in body):
        return next((record for record, cell in body if _is_enclosed(cell)), None)
    return None


def _ambiguous(file: Path, record: Record) -> HarnessError:
    return HarnessError(
        f"{file}, line {record.line}: a quote there may belong to the text or enclose a cell, as in CSV: write the "
        "file as .csv or .jsonl"
    )
