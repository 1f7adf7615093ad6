"""Archives and parquet files of other people, unpacked within limits of size and ratio.

A kilobyte of gzip can stand for a megabyte, one of xz or of parquet for a terabyte. Here the sizes that a file states
are checked before anything is unpacked, and what really comes out is counted while it does.

Raises `UnsafeArchiveError`, whose message is the reason without the file's name. Not here: YAML and JSON
(`harness.common.safe_load`).
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from harness.common import parquet

MEMBER_BYTES = 2**30
"""Largest size of one file in an archive."""
ARCHIVE_BYTES = 4 * 2**30
"""Largest size of everything in an archive."""
RATIO = 400
"""How many times its own size an archive may unpack to, if that is more than `FREE_BYTES`."""
FREE_BYTES = 256 * 2**20
"""Up to this size the ratio does not matter."""
MEMBERS = 200_000
"""Largest number of members in an archive."""
COLUMN_CHUNKS = 1_000_000
"""Largest product of the numbers of row groups and columns in a parquet file."""

DAMAGE = (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error)
"""What Python raises for an archive that is damaged."""


class UnsafeArchiveError(ValueError):
    """An archive that exceeds a limit when it is unpacked; the message says by what."""


class Member(NamedTuple):
    """A file in an archive."""

    name: str
    content: bytes


def tar_members(archive: Path, suffixes: tuple[str, ...]) -> Iterator[Member]:
    """Yield the files of a tar archive, compressed or not, whose names end with one of `suffixes` in any case.

    Raises UnsafeArchiveError, and for a damaged archive one of `DAMAGE`.
    """
    limit = min(ARCHIVE_BYTES, max(FREE_BYTES, RATIO * archive.stat().st_size))
    with _decompressed(archive) as stream:
        bounded = cast(BinaryIO, _Bounded(stream, limit))
        with tarfile.open(fileobj=bounded, mode="r|") as opened:
            for number, member in enumerate(opened, 1):
                if number > MEMBERS:
                    raise UnsafeArchiveError(f"it has more than {MEMBERS:,} members")
                if not member.isfile() or not member.name.lower().endswith(suffixes):
                    continue
                if member.size > min(limit, MEMBER_BYTES):  # a sparse member's zeros are in no archive
                    raise UnsafeArchiveError(f"its member {member.name} has {member.size:,} bytes")
                if (content := opened.extractfile(member)) is not None:
                    yield Member(member.name, content.read())


class _Bounded:
    """A stream of which at most `limit` bytes can be read."""

    def __init__(self, stream: Any, limit: int) -> None:
        self._stream, self._limit, self._left = stream, limit, limit

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end."""
        if size > self._left:
            size = self._left + 1
        data = bytes(self._stream.read(size))
        self._left -= len(data)
        if self._left < 0:
            raise UnsafeArchiveError(f"it unpacks to more than {self._limit:,} bytes")
        return data


def _decompressed(archive: Path) -> Any:
    """Return a binary stream of what `archive` holds, decompressed as its first bytes say."""
    with archive.open("rb") as stream:
        head = stream.read(6)
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(archive)
    if head.startswith(b"BZh"):
        return bz2.open(archive)
    if head.startswith((b"\xfd7zXZ\x00", b"\x5d\x00\x00")):
        return lzma.open(archive)
    return archive.open("rb")


def check_parquet(file: Path, columns: Collection[str] | None = None) -> None:
    """Raise UnsafeArchiveError if the values of a parquet file do not fit in this machine's free memory.

    Only `columns` are counted (default: all), and what is below them. A text that is stored once may stand in every
    row, so the sizes that a file states say little. If the longest possible text in every row would not fit in memory,
    the texts are measured, a few at a time. Raises pyarrow's errors for a damaged file.
    """
    import psutil

    with parquet.open_table(file) as opened, file.open("rb") as stream:
        metadata = opened.metadata
        if metadata.num_row_groups * metadata.num_columns > COLUMN_CHUNKS:
            raise UnsafeArchiveError(
                f"it has {metadata.num_row_groups:,} row groups of {metadata.num_columns:,} columns"
            )
        extents = []
        for place in range(metadata.num_columns):
            schema = opened.schema.column(place)
            if columns is None or any(schema.path == name or schema.path.startswith(f"{name}.") for name in columns):
                extents.append(_ColumnExtent(schema, place))
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            for column in extents:
                column.add(group.column(column.place), stream)
    free = int(psutil.virtual_memory().available)
    least = sum(column.least for column in extents)
    if least > free:
        raise UnsafeArchiveError(f"its values take {least:,} bytes, and {free:,} bytes of memory are free")
    for column in extents:
        if least + column.most > free:
            least += column.measure(file, free - least)
        if least > free:
            raise UnsafeArchiveError(f"its texts take more than the {free:,} bytes of memory that are free")


class _ColumnExtent:
    """How many bytes a parquet column takes in memory: bounds from the metadata, and a measurement."""

    def __init__(self, schema: Any, place: int) -> None:
        self._path, self._is_list, self.place = schema.path, schema.max_repetition_level > 0, place
        self._has_texts = schema.physical_type == "BYTE_ARRAY"
        self._width = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "FIXED_LEN_BYTE_ARRAY": max(schema.length, 1)}.get(
            schema.physical_type, 4 if self._has_texts else 8
        )
        self._longest = 1
        """Bytes of the longest text that a dictionary may hold."""
        self._has_prefixes = False
        self.least = 0
        """Bytes that the column takes at least."""
        self.most = 0
        """Bytes that it may take beyond `least`."""

    def add(self, chunk: Any, stream: BinaryIO) -> None:
        """Take a row group's part of the column into account; `stream` is the file."""
        size = max(chunk.total_uncompressed_size, 1)
        self.least += chunk.num_values * self._width
        if not self._has_texts:
            return
        if "DELTA_BYTE_ARRAY" in chunk.encodings:  # a text may begin with the whole text before it
            self._has_prefixes = True
            longest = size
        else:
            longest = _dictionary_size(chunk, stream, size)
        self._longest = max(self._longest, longest)
        self.most += chunk.num_values * longest + size

    def measure(self, file: Path, free: int) -> int:
        """Return the bytes of the column's texts; if they exceed `free`, the bytes of a part that exceeds it."""
        if self._has_prefixes:
            return _measured_apart(file, self._path, free)
        total = 0
        if self._is_list:  # one row may hold every value, so texts stay in their dictionary, where each is stored once
            with parquet.open_table(file, read_dictionary=[self._path]) as opened:
                for group in range(opened.metadata.num_row_groups):
                    table = opened.read_row_group(group, columns=[self._path], use_threads=False)
                    total += sum(_bytes_of_texts(chunk) for column in table.columns for chunk in column.chunks)
                    if total > free:
                        break
            return total
        rows = max(1, min(10_000, free // 4 // self._longest))
        with parquet.open_table(file) as opened:
            for batch in opened.iter_batches(batch_size=rows, columns=[self._path], use_threads=False):
                total += batch.nbytes
                if total > free:
                    break
        return total


def _dictionary_size(chunk: Any, stream: BinaryIO, size: int) -> int:
    """Return the bytes of a column chunk's dictionary, 0 if it has none, or `size` if its first page is unreadable.

    The size is that in the page's header, with which pyarrow compares what it decompresses. The header begins with the
    type of the page and its size, two integers in Thrift's compact protocol.
    """
    offsets = [offset for offset in (chunk.dictionary_page_offset, chunk.data_page_offset) if offset]
    stream.seek(min(offsets, default=0))
    head = stream.read(12)
    numbers, place = [], 0
    for _ in range(2):
        if head[place : place + 1] != b"\x15":
            return size
        number = shift = 0
        while True:
            place += 1
            if place >= len(head):
                return size
            number |= (head[place] & 127) << shift
            shift += 7
            if head[place] < 128:
                break
        place += 1
        numbers.append(number >> 1)
    kind, content = numbers
    return content if kind == _DICTIONARY_PAGE else 0


_DICTIONARY_PAGE = 2
"""The type of a dictionary's page in parquet's PageHeader."""
_APART = """
import os, sys
import pyarrow
import pyarrow.parquet as pq
file, column, free = sys.argv[1], sys.argv[2], int(sys.argv[3])
try:
    import resource
    with open("/proc/self/statm") as stream:
        present = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (present + free + 2**28,) * 2)
except (ImportError, OSError, ValueError):
    pass
total = 0
try:
    source = pyarrow.OSFile(os.fsencode(file))
    for batch in pq.ParquetFile(source).iter_batches(batch_size=1_000, columns=[column], use_threads=False):
        total += batch.nbytes
        if total > free:
            break
except MemoryError:
    total = free + 1
except (pyarrow.ArrowException, OSError):  # damage, which the reading of the file itself reports
    total = 0
print(total)
"""
"""The program of `_measured_apart`."""


def _measured_apart(file: Path, column: str, free: int) -> int:
    """Return the bytes of a column's texts, or more than `free` if they exceed it.

    If texts repeat the beginnings of others, one row of lists may expand to any size, and pyarrow reads no part of a
    row. Such a column is therefore read in a process that gets no more memory than is free, and 256 MiB of addresses
    for its threads. They share one heap: each heap of glibc's may reserve 64 MiB that no text uses.
    """
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-P", "-c", _APART, str(file), column, str(free)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    return int(done.stdout) if done.returncode == 0 else free + 1


def _bytes_of_texts(values: Any) -> int:
    """Return how many bytes the texts in an Arrow array take once dictionaries are expanded."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(values.type):
        lengths = pc.take(pc.binary_length(values.dictionary), values.indices)
        return int(pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0)
    if isinstance(values, pa.ListArray | pa.LargeListArray | pa.MapArray):
        return _bytes_of_texts(values.values)
    if pa.types.is_struct(values.type):
        return sum(map(_bytes_of_texts, values.flatten()))
    return int(values.nbytes)
