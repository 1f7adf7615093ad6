"""Rows of a user's own files: every format gives the same rows, and errors name the place.

Tables are compared with what Python's own CSV writer wrote.
"""

from __future__ import annotations

import csv
import io
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.data import rows as file_rows
from harness.errors import HarnessError

ROWS = [{"question": "几点，了？", "answer": '他说"三点"'}, {"question": "两行\n问题", "answer": "b\tc"}]


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", "\r\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\r\n\r\n"),
        ("x.json", json.dumps(ROWS, ensure_ascii=False, indent=2)),
        ("lines.json", "\n".join(json.dumps(row) for row in ROWS)),
        ("x.csv", 'question,answer\r\n几点，了？,"他说""三点"""\r\n"两行\n问题",b\tc\r\n'),
        ("x.tsv", 'question\tanswer\n几点，了？\t"他说""三点"""\n"两行\n问题"\t"b\tc"\n'),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, content: str, bom: str) -> None:
    assert [row.columns for row in file_rows.read(written(tmp_path, name, bom + content))] == ROWS


def test_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "x.parquet")
    rows = list(file_rows.read(tmp_path / "x.parquet"))
    assert [row.columns for row in rows] == ROWS
    assert rows[1].where == f"{tmp_path / 'x.parquet'}, row 2"


def test_parquet_with_text_that_is_not_utf8_is_one_sentence(tmp_path: Path) -> None:
    texts = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\3\0\0\0\4\0\0\0"), pa.py_buffer(b"abc\xe6"))
    pq.write_table(pa.table({"question": texts}), tmp_path / "x.parquet")
    with pytest.raises(HarnessError, match=r"x\.parquet cannot be read as parquet .*UTF8"):
        list(file_rows.read(tmp_path / "x.parquet"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", '{"a": 1}\n\n{"a": ', "x.jsonl, line 3, is not JSON"),
        ("x.jsonl", '{"a": 1}\n"b"', 'x.jsonl, line 2, is not a JSON object but "b"'),
        ("x.jsonl", "[" * 100_000, "x.jsonl, line 1, is not JSON"),
        (
            "x.jsonl",
            '{"a": "\\ud83d\\ude00"}\n{"a": "\\ud83d"}',
            "x.jsonl, line 2, is not JSON (a text has half of a character",
        ),
        ("x.json", '[{"\\uDC00": 1}]', "x.json is not JSON (a text has half of a character"),
        ("x.json", '[{"a": 1}, 2]', "x.json, entry 2, is not a JSON object but 2"),
        ("x.json", '[{"a": 1},', "x.json is not JSON"),
        ("x.json", "[" * 100_000, "x.json is not JSON"),
        ("x.csv", "a,b\n1,2\n3\n", "x.csv, line 3, does not have 2 cells as the header has"),
        ("x.csv", "a,b\n1,2,3\n", "x.csv, line 2, does not have 2 cells as the header has"),
        ("x.csv", 'a,b\n1,"2\n', "is not CSV"),
        ("x.csv", "a,a\n1,2\n", "names a column twice"),
        ("x.csv", "问题,答案\n一,二\n".encode("gbk"), "x.csv is not UTF-8 (byte 0)"),
        ("x.parquet", "PAR1", "x.parquet cannot be read as parquet"),
        ("x.jsonl", '{"a": 1}\n{"a": 1, "b": 2, "a": 3}', "line 2, is not JSON (an object has the key 'a' twice)"),
        ("x.jsonl", '{"c": {"A": "x", "A": "y"}}', "line 1, is not JSON (an object has the key 'A' twice)"),
        ("x.json", '[{"a": 1, "a": 1}]', "x.json is not JSON (an object has the key 'a' twice)"),
        ("x.jsonl", '{"answer": "7", "Answer": "8"}', "line 1 has two values, 'answer' and 'Answer'"),
        ("x.jsonl", '{"a": 1,}', "line 1, is not JSON"),
        ("x.jsonl", '[{"a": 1}]', 'line 1, is not a JSON object but [{"a": 1}]: name the file .json'),
        ("x.jsonl", "[1, 2]", "line 1, is not a JSON object but [1, 2]: write it as an object, {column: value, …}"),
        ("x.json", "[[1, 2], [3]]", "entry 1, is not a JSON object but [1, 2]: write it as an object"),
        ("x.JSON", '{"a": 1}\n[{"a": 2}]', 'line 2, is not a JSON object but [{"a": 2}]: write it as an object'),
        ("x.jsonl", '{"a": 1}{"a": 2}', "line 1, is not JSON"),
        ("x.json", '{"train": [{"a": 1}], "data": [{"a": 2}]}', "holds several lists, train, data"),
        ("x.json", '{"train": [{"a": 1}], "other": [{"a": 2}]}', "holds several lists, train, other"),
        ("x.json", '{\n "a": 1,\n}', "x.json, line 1, is not JSON"),
        ("x.csv", 'a,b\n1, "2"\n', 'line 2, is not CSV (a quote after a space:  "2")'),
        ("x.csv", 'a,b\n"1" x,2\n', "line 2, is not CSV (a quote that does not enclose its cell"),
        ("x.csv", 'a,b\n"1,2\n3",4\n', "line 2, begins a cell in quotes that goes on over line ends"),
        ("x.csv", "a,b\n1,2\na,b\n3,4\n", "line 3, repeats the header"),
        ("x.csv", "a,A\n1,2\n", "names a column twice"),
        ("x.csv", "a,b\n1\x00,2\n", "line 2, holds a NUL character"),
        ("x.tsv", "a,b\n1,2\n", "has no tab in its header 'a,b': name it .csv"),
        ("x.tsv", "a\tb\n1\n", "line 2, does not have 2 cells as the header has, but 1"),
        ("x.tsv", 'a\tb\n"1"\t2\n', "line 2: a quote there may belong to the text or enclose a cell"),
        ("x.tsv", 'a\tb\n"1"" x"\t2\n3"\t4\n', "line 2: a quote there may belong to the text or enclose a cell"),
        ("x.tsv", 'a\tb\n"1, 2"\t2\n3\t4\n', "line 2: a quote there may belong to the text or enclose a cell"),
        ("x.tsv", 'a\n"1\n2"\n', "line 2: a quote there may belong to the text or enclose a cell"),
    ],
)
def test_an_error_names_its_place(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = written(tmp_path, name, content)
    with pytest.raises(HarnessError) as error:
        list(file_rows.read(path))
    assert message in str(error.value)
    assert str(path) in str(error.value)


# --- tables -----------------------------------------------------------------------------------------------------------


def table(folder: Path, name: str, content: str | bytes) -> list[list[Any]]:
    """Return the values of each row of a file with this content."""
    return [list(row.columns.values()) for row in file_rows.read(written(folder, name, content))]


def notes_on(folder: Path, name: str, content: str) -> list[str]:
    notes = file_rows.Notes()
    assert list(file_rows.read(written(folder, name, content), notes))
    return notes.all()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('q\ta\n"三\t7\n十？"\t7\n八\t7\n', [['"三', "7"], ['十？"', "7"], ["八", "7"]]),
        ('q\ta\n5" 管\t7\n', [['5" 管', "7"]]),
        ('q\ta\n"好"他说\t7\n他说"好"\t8\n', [['"好"他说', "7"], ['他说"好"', "8"]]),
        ('q\ta\n"引"\t7\n无\t8\n', [['"引"', "7"], ["无", "8"]]),
        ('q\ta\n"\t7\n无\t8\n', [['"', "7"], ["无", "8"]]),
        ('"q"\t"a"\n"引"\t7\n', [["引", "7"]]),
        ('q\ta\n"他说""好"""\t7\n', [['他说"好"', "7"]]),
        ('q\ta\n"一\n二"\t7\n', [["一\n二", "7"]]),
        ('q\ta\n"一\t二"\t7\n', [["一\t二", "7"]]),
        ("q\ta\r一\t7\r二\t8\r", [["一", "7"], ["二", "8"]]),
        ("q\ta\t\n一\t7\t\n二\t8\n\t\n", [["一", "7"], ["二", "8"]]),
        ("q\ta\n一\u2028二\x0c三\x85\t7\n", [["一\u2028二\x0c三\x85", "7"]]),
    ],
)
def test_a_quote_in_a_tsv_is_a_quote_unless_a_csv_writer_wrote_the_file(
    tmp_path: Path, content: str, expected: list[list[str]]
) -> None:
    assert table(tmp_path, "x.tsv", content) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("q;a\n一, 二;7\n", [["一, 二", "7"]]),
        ('q;a\n"一; 二";7\n', [["一; 二", "7"]]),
        ("sep=;\r\nq;a\r\n一;7\r\n", [["一", "7"]]),
        ("sep=,\nq,a\n一,7\n", [["一", "7"]]),
        ('q\ta\n"一\t7\n二"\t8\n', [['"一', "7"], ['二"', "8"]]),
        ("q,a\r一,7\r二,8\r", [["一", "7"], ["二", "8"]]),
        ("q,a,\n一,7,\n二,8\n,,\n", [["一", "7"], ["二", "8"]]),
        ("q , a\n一,7\n", [["一", "7"]]),
        (",q,a\n0,一,7\n", [["0", "一", "7"]]),
        ("q,a\n007,1e5\n", [["007", "1e5"]]),
        ('q,a\n5" 管,7\n', [['5" 管', "7"]]),
        ('q,a\n"如果下雨, 我们不去\n对吗？",7\n', [["如果下雨, 我们不去\n对吗？", "7"]]),
        ("q,a\n一\u2028二\x0c,7\n", [["一\u2028二\x0c", "7"]]),
        (f"q,a\n{'长' * 200_000},7\n", [["长" * 200_000, "7"]]),
    ],
)
def test_cells_of_a_csv(tmp_path: Path, content: str, expected: list[list[str]]) -> None:
    assert table(tmp_path, "x.csv", content) == expected


def test_a_column_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    [row] = file_rows.read(written(tmp_path, "x.csv", ",q,a\n0,一,7\n"))
    assert row.columns == {"column 1": "0", "q": "一", "a": "7"}


def test_an_error_names_the_line_where_its_row_begins(tmp_path: Path) -> None:
    rows = list(file_rows.read(written(tmp_path, "x.csv", 'sep=;\nq;a\n"一\n\n二";7\n三;8\n')))
    assert [row.where.rpartition(" ")[2] for row in rows] == ["3", "6"]


CELLS = st.text('ab,;"\t\n\r ？三', max_size=6)
TABLES = st.integers(2, 3).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1))
QUOTINGS = st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])


def are_read(folder: Path, name: str, content: str, rows: list[list[str]]) -> bool:
    """Return whether a file is read as `rows`; False if it is refused. Anything else fails."""
    try:
        result = table(folder, name, content)
    except HarnessError:
        return False
    assert result == [row for row in rows if any(map(str.strip, row))]
    return True


@given(rows=TABLES, quoting=QUOTINGS, end=st.sampled_from(["\n", "\r\n"]), delimiter=st.sampled_from(",;\t"))
def test_a_table_of_a_csv_writer_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], quoting: Any, end: str, delimiter: str
) -> None:
    if end == "\n":  # before Python 3.13 the writer leaves a lone \r unquoted then
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    if delimiter == "\t":  # such cells cannot be distinguished from rows with lone quotes
        assume(not any("\t" in cell and ("\n" in cell or "\r" in cell) for row in rows for cell in row))
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerows([["x", "y", "z"][: len(rows[0])], *rows])
    name = "x.tsv" if delimiter == "\t" else "x.csv"
    is_read = are_read(tmp_path_factory.mktemp("table"), name, stream.getvalue(), rows)
    if delimiter != "\t" and not any("\n" in cell or "\r" in cell for row in rows for cell in row):
        assert is_read


@given(rows=TABLES)
def test_a_tsv_without_quoting_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    rows = [[cell.replace("\t", "").replace("\n", "").replace("\r", "") for cell in row] for row in rows]
    assume(not any('""' in cell[1:-1] for row in rows for cell in row))
    content = "".join("\t".join(row) + "\n" for row in [["x", "y", "z"][: len(rows[0])], *rows])
    is_read = are_read(tmp_path_factory.mktemp("table"), "x.tsv", content, rows)
    enclosed = any(len(cell) > 1 and cell[0] == cell[-1] == '"' for row in rows for cell in row)
    if not enclosed and not any(cell.startswith('"') for row in rows for cell in row):
        assert is_read


# --- encodings and marks ----------------------------------------------------------------------------------------------

CHINESE = "问题,答案\n今天天气很好，我们去公园散步吗？,是\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CHINESE.encode("gbk"), "looks like GBK: convert it ('iconv -f GB18030 -t UTF-8')"),
        ("問題,答案\n今天天氣很好，我們去公園散步嗎？,是\n".encode("big5"), "looks like BIG5"),
        (CHINESE.encode("utf-16"), "looks like UTF-16:"),
        ("question,answer\nwhy?,7\n".encode("utf-16-le"), "looks like UTF-16LE"),
        ("question,answer\nwhy?,7\n".encode("utf-16-be"), "looks like UTF-16BE"),
        (CHINESE.encode("utf-32"), "looks like UTF-32"),
        ("질문,답\n오늘 날씨가 좋습니까,네\n".encode("euc-kr"), "looks like EUC-KR"),
        ("question,answer\nune école à côté ?,déjà\n".encode("latin-1"), "looks like WINDOWS-1252"),
        (CHINESE.encode() * 3 + b"\xe4\xba\n" + CHINESE.encode(), "(byte 201): line 7 is damaged, correct it"),
        (b"a,b\n\xff\xfe,\x80\n", "(byte 4): convert it"),
    ],
)
@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.jsonl", "x.json"])
def test_another_encoding_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(HarnessError) as error:
        table(tmp_path, name, content)
    assert message in str(error.value)


def test_byte_order_marks_belong_to_no_value(tmp_path: Path) -> None:
    lines = '\ufeff{"a": "x"}\n\ufeff{"a": "\ufeffy", "\\ufeffb": ["\\uFEFFz"]}\n'
    rows = list(file_rows.read(written(tmp_path, "x.jsonl", lines)))
    assert [row.columns for row in rows] == [{"a": "x"}, {"a": "y", "b": ["z"]}]
    assert notes_on(tmp_path, "x.jsonl", lines) == ["4 byte order marks left out"]
    assert notes_on(tmp_path, "x.jsonl", '\ufeff{"a": "x"}') == []
    assert table(tmp_path, "x.csv", "\ufeffq,a\n\ufeff一,7\n") == [["一", "7"]]
    pq.write_table(pa.table({"a": ["\ufeffx"]}), tmp_path / "x.parquet")
    assert [row.columns for row in file_rows.read(tmp_path / "x.parquet")] == [{"a": "x"}]


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(7.0, "7"), (-3.0, "-3"), (2.5, "2.5"), (7, "7"), (1e300, "1e+300"), (Decimal("1.50"), "1.50"), ("007", "007")],
)
def test_a_number_reads_as_a_person_writes_it(value: object, text: str) -> None:
    assert file_rows.Row("x", {"a": value}).text("a") == text


def test_a_cell_that_pandas_left_empty_is_missing(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [7.0, math.nan, None]}), tmp_path / "x.parquet")
    rows = list(file_rows.read(tmp_path / "x.parquet"))
    assert rows[0].text("a") == "7"
    for row in rows[1:]:
        with pytest.raises(HarnessError, match="'a' is missing or empty"):
            row.text("a")


def test_a_row_with_a_column_in_two_spellings_has_the_value_of_the_filled_one() -> None:
    assert file_rows.Row("x", {"a": None, "A": 1}).get("a") == 1
    assert file_rows.Row("x", {"A": 1, "a": None}).get("a") == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"data": [{"a": 1}, {"a": 2}]}', [{"a": 1}, {"a": 2}]),
        ('{\n"version": 1,\n"Questions": [{"a": "\\ufeff1"}]}', [{"a": "1"}]),
        ('{\n"a": 1\n}', [{"a": 1}]),
        ('{"test": [{"a": 1}]}', [{"a": 1}]),
        (" \n", []),
        ('{"messages": [{"role": "user"}]}', [{"messages": [{"role": "user"}]}]),
        ('{"a": 1}\r{"a": "x\u2028y\x85z"}\r', [{"a": 1}, {"a": "x\u2028y\x85z"}]),
    ],
)
def test_objects_of_a_json_file(tmp_path: Path, content: str, expected: list[dict[str, Any]]) -> None:
    assert [row.columns for row in file_rows.read(written(tmp_path, "x.json", content))] == expected


def test_what_is_decided_about_a_file_is_noted(tmp_path: Path) -> None:
    assert notes_on(tmp_path, "x.json", '{"version": 1, "data": [{"a": 1}]}') == ["not read beside 'data': version"]
    assert notes_on(tmp_path, "x.csv", "q;a\n一;7\n") == ["columns are separated by ;"]
    quotes = "quotes are characters of the text in 1 row, the first in line 3"
    assert notes_on(tmp_path, "x.tsv", 'q\ta\n一\t7\n5"\t7\n') == [quotes]


@pytest.mark.parametrize("name", ["x.JSONL", "x.Json", "x.CSV", "x.TSV"])
def test_endings_in_capitals_are_read(tmp_path: Path, name: str) -> None:
    content = {"x.CSV": "a,b\n1,2\n", "x.TSV": "a\tb\n1\t2\n"}.get(name, '{"a": "1", "b": "2"}')
    assert table(tmp_path, name, content) == [["1", "2"]]


@pytest.mark.parametrize("value", ["a\0", ["a", "\0"], [{"content": "\0"}], {"text": ["a", "\0b"]}])
@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet"])
def test_a_text_with_a_nul_character_is_refused_where_it_is_read(tmp_path: Path, value: Any, suffix: str) -> None:
    rows = [{"a": value, "b": "fine"}, {"a": None, "b": "fine"}]
    path = tmp_path / f"x.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        written(tmp_path, path.name, "\n".join(map(json.dumps, rows)))
    first, second = file_rows.read(path)
    assert (first.get("b"), second.get("a")) == ("fine", None)
    with pytest.raises(HarnessError, match=r"(line|entry|row) 1: 'a' holds a NUL character, which no text has"):
        first.get("a")
