"""Archives and parquet files that unpack to more than they should."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from types import SimpleNamespace

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.common import unpacking
from harness.common.unpacking import UnsafeArchiveError, check_parquet, tar_members
from harness.data import rows
from harness.errors import HarnessError
from harness.recorded.files import file_groups

MEGABYTE = 2**20


def tar(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(unpacking, "FREE_BYTES", MEGABYTE)
    monkeypatch.setattr(unpacking, "RATIO", 20)


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.xz", ".tar.bz2", ".tgz"])
def test_members_are_what_was_packed(tmp_path, ending):
    mode = {".tar": "w", ".tgz": "w:gz"}.get(ending, f"w:{ending[5:]}")
    members = {"m/a.jsonl": b"{}" * 9, "m/B.JSON": b"[]", "m/c.png": b"\x00" * 99, "empty.csv": b""}
    archive = tar(tmp_path / f"x{ending}", members, mode)
    assert dict(tar_members(archive, (".jsonl", ".json", ".csv"))) == {
        name: content for name, content in members.items() if not name.endswith("png")
    }


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.bin"])
def test_a_bomb_is_not_unpacked(tmp_path, small_limits, mode, name):
    archive = tar(tmp_path / "x.tar.gz", {name: b"\x00" * 8 * MEGABYTE}, mode)
    with pytest.raises(UnsafeArchiveError):
        list(tar_members(archive, (".jsonl",)))
    with pytest.raises(HarnessError, match=r"x\.tar\.gz is not read"):
        list(file_groups(archive))


def test_many_small_members_are_counted_together(tmp_path, small_limits):
    archive = tar(tmp_path / "x.tgz", {f"{n}.jsonl": b"a" * 100_000 for n in range(40)}, "w:gz")
    with pytest.raises(UnsafeArchiveError, match="unpacks to more than"):
        list(tar_members(archive, (".jsonl",)))


def test_a_sparse_member_is_not_filled_with_zeros(tmp_path):
    archive = tar(tmp_path / "x.tar", {"a.jsonl": b"x"})
    info = tarfile.TarInfo("b.jsonl")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,1", "GNU.sparse.size": str(10**12)}
    info.size = 1
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as opened:
        opened.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(UnsafeArchiveError, match=r"1,000,000,000,000 bytes"):
        list(tar_members(archive, (".jsonl",)))


def test_a_header_of_absurd_size_is_not_read(tmp_path, small_limits):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 10**11
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + b"\x00" * 8 * MEGABYTE))
    with pytest.raises(UnsafeArchiveError):
        list(tar_members(tmp_path / "x.tar.gz", (".jsonl",)))


@pytest.mark.parametrize("content", [b"\x1f\x8b damaged", lzma.compress(b"x" * 999)[:-20], b"BZh9 no", b"", b"plain"])
def test_a_damaged_archive_gets_one_sentence(tmp_path, content):
    (tmp_path / "x.tar.xz").write_bytes(content)
    with pytest.raises(HarnessError, match=r"x\.tar\.xz cannot be read as an archive"):
        list(file_groups(tmp_path / "x.tar.xz"))


# --- parquet ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=20 * MEGABYTE))


LONG = "长" * 100_000
BOMBS = {
    "one text in every row": lambda: pa.table({"a": pa.array([LONG]).take(pa.array([0] * 1_000))}),
    "in lists": lambda: pa.table({"a": pa.array([[LONG] * 500] * 4)}),
    "in structs": lambda: pa.table({"a": pa.array([{"b": LONG}] * 500)}),
    "numbers": lambda: pa.table({"a": pa.array([1] * 4_000_000)}),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_parquet_bomb_is_refused(tmp_path, little_memory, kind):
    file = tmp_path / "x.parquet"
    pq.write_table(BOMBS[kind](), file)
    assert file.stat().st_size < MEGABYTE
    with pytest.raises(HarnessError, match=r"x\.parquet is not read \(its (texts|values) take"):
        list(rows.read(file))


def test_a_text_that_repeats_the_one_before_is_measured_in_parts(tmp_path, little_memory):
    file = tmp_path / "x.parquet"
    table = pa.table({"a": [f"{LONG}{n}" for n in range(200)]})
    pq.write_table(table, file, use_dictionary=False, column_encoding={"a": "DELTA_BYTE_ARRAY"})
    with pytest.raises(UnsafeArchiveError):
        check_parquet(file)


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", None])
def test_plain_files_pass_even_with_little_memory(tmp_path, little_memory, encoding):
    file = tmp_path / "x.parquet"
    texts = [f"text {n} {'x' * (n % 90)}" for n in range(20_000)]
    options = {"use_dictionary": False, "column_encoding": {"a": encoding}} if encoding else {}
    pq.write_table(pa.table({"a": texts}), file, **options)
    check_parquet(file)
    assert len(list(rows.read(file))) == 20_000


@pytest.mark.parametrize("texts", [["甲", "乙", "丙", "丁"], ["长文本" * 50], [], [None, "a"]])
def test_plain_lists_of_texts_with_common_beginnings_pass(tmp_path, little_memory, texts):
    file = tmp_path / "x.parquet"
    encoding = {"a.list.element": "DELTA_BYTE_ARRAY"}
    pq.write_table(pa.table({"a": [texts] * 5_000}, schema=TEXTS), file, use_dictionary=False, column_encoding=encoding)
    check_parquet(file)


@pytest.mark.parametrize("rows", [1, 40])
def test_lists_of_texts_that_begin_with_the_one_before_are_refused(tmp_path, little_memory, rows):
    file = tmp_path / "x.parquet"
    texts = [f"{'x' * 100_000}{n}" for n in range(400)]
    table = pa.table({"a": [texts[place::rows] for place in range(rows)]}, schema=TEXTS)
    pq.write_table(table, file, use_dictionary=False, column_encoding={"a.list.element": "DELTA_BYTE_ARRAY"})
    assert file.stat().st_size < MEGABYTE
    with pytest.raises(UnsafeArchiveError, match="texts take more than"):
        check_parquet(file)


TEXTS = pa.schema([("a", pa.list_(pa.string()))])


def test_only_the_columns_that_are_read_count(tmp_path, little_memory):
    file = tmp_path / "x.parquet"
    table = BOMBS["one text in every row"]().append_column("acc", pa.array([1.0] * 1_000))
    pq.write_table(table.append_column("b", BOMBS["in structs"]()["a"].take(pa.array([0] * 1_000))), file)
    check_parquet(file, ["acc"])
    for column in ("a", "b"):
        with pytest.raises(UnsafeArchiveError):
            check_parquet(file, ["acc", column])


@pytest.mark.parametrize("compression", ["none", "zstd", "snappy"])
@pytest.mark.parametrize("is_list", [False, True])
def test_a_dictionary_bounds_its_texts_so_that_usual_files_are_not_read_twice(
    tmp_path, monkeypatch, compression, is_list
):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=500 * MEGABYTE))
    monkeypatch.setattr(unpacking._ColumnExtent, "measure", None)
    file = tmp_path / "x.parquet"
    texts = [f"{n % 10} {'x' * 900}" for n in range(20_000)]
    pq.write_table(pa.table({"a": [[text] for text in texts] if is_list else texts}), file, compression=compression)
    check_parquet(file)


def test_absurdly_many_row_groups_are_refused(tmp_path, monkeypatch):
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": range(50)}), file, row_group_size=1)
    check_parquet(file)
    monkeypatch.setattr(unpacking, "COLUMN_CHUNKS", 49)
    with pytest.raises(UnsafeArchiveError, match="50 row groups of 1 columns"):
        check_parquet(file)
