"""Parquet files: opened by pyarrow alone, at any path, and refused by name."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.common import parquet

_ROOT = Path(__file__).parents[2] / "harness"
_TABLE = pa.table({"text": ["甲", "乙"], "numbers": [[1], [2, 3]]})


@pytest.mark.parametrize("name", [b"plain.parquet", "民法 a=1.parquet".encode(), b"\xff.parquet"])
def test_what_is_written_is_read_at_any_path(name: bytes, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(name)
    try:
        file.touch()
    except OSError as error:  # some file systems take only UTF-8
        pytest.skip(f"this file system refuses the name ({error})")
    parquet.write(_TABLE, file)
    with parquet.open_table(file) as opened:
        assert opened.schema_arrow.names == ["text", "numbers"]
        assert opened.read().equals(_TABLE)


def test_a_refusal_names_the_file(tmp_path: Path) -> None:
    for file in (tmp_path / "missing.parquet", tmp_path):
        with pytest.raises(OSError, match=str(file)) as refused, parquet.open_table(file):
            pass
        assert refused.value.errno


def test_pyarrow_gets_no_stream_of_pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources: list[object] = []
    opened_by_pyarrow = pq.ParquetFile
    monkeypatch.setattr(pq, "ParquetFile", lambda source: sources.append(source) or opened_by_pyarrow(source))
    parquet.write(_TABLE, file := tmp_path / "table.parquet")
    with parquet.open_table(file):
        pass
    assert [type(source) for source in sources] == [pa.OSFile]


def test_every_other_module_reads_and_writes_parquet_through_this_one() -> None:
    importing = [
        file.relative_to(_ROOT).as_posix()
        for file in sorted(_ROOT.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(alias.name == "pyarrow.parquet" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module in ("pyarrow.parquet", "pyarrow.dataset"))
        or (isinstance(node, ast.Attribute) and node.attr in ("read_parquet", "to_parquet") and _is_of_pandas(node))
    ]
    assert importing == ["common/parquet.py"] * 2


def _is_of_pandas(node: ast.Attribute) -> bool:
    return not (isinstance(node.value, ast.Name) and node.value.id == "rows")
