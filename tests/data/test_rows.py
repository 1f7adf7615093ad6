"""Rows of a user's own files: every format gives the same rows, and errors name the place."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
    ],
)
def test_an_error_names_its_place(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = written(tmp_path, name, content)
    with pytest.raises(HarnessError) as error:
        list(file_rows.read(path))
    assert message in str(error.value)
    assert str(path) in str(error.value)
