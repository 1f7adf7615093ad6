"""Reads the rows of a damaged journal page by page, without SQLite.

Every page of the database and of its write-ahead log is read as a leaf of the table, and a row counts if its checksum
holds. So a damaged file header, schema, index or inner page costs no row, and a damaged leaf costs only the rows that
the damage hits. The layout is https://www.sqlite.org/fileformat.html, with the page size that the journal sets and no
reserved bytes.

Rows that were replaced or deleted may be found again. They are valid answers, too.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from harness.backends.journal_rows import Row

PAGE = 4096
"""Bytes of a page, in every journal."""
_FIRST_PAGE_HEADER = 100
_LOG_HEADER, _FRAME_HEADER = 32, 24
_LITTLE_ENDIAN, _BIG_ENDIAN = bytes.fromhex("377f0682"), bytes.fromhex("377f0683")
"""First bytes of a log, which say whether its checksums read words in little-endian or big-endian order."""
_LEAF_HEADER = 8
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_OTHER_TREE_PAGES = (2, 5, 10)
"""Values of the first byte of a page of the index or an inner page; such pages are no leaves of the table."""
_LARGEST_ROW = 2**24
"""Size in bytes of the longest row that is read; a larger size is taken for damage."""

_ReadPage = Callable[[int], bytes]
"""Returns a page by its number, from 1; empty if it is missing or unreadable."""


class LogFrame(NamedTuple):
    """One page in a write-ahead log."""

    number: int
    """Number of the page, from 1."""
    salts: bytes
    """The frame's salts, which equal those in the log's header if the frame belongs to the log's present round."""
    page: bytes


def rows(file: Path, log: bytes) -> Iterator[Row]:
    """Yield the sound rows of the database `file` and of `log`, the content of its write-ahead log.

    A key may come twice. Raises OSError if the file cannot be opened. No connection of this process may have it open:
    closing the file here would release that connection's locks.
    """
    logged = {frame.number: frame.page for frame in frames(log)}
    descriptor = os.open(file, os.O_RDONLY)
    try:

        def stored(number: int) -> bytes:
            with suppress(OSError):  # a bad sector
                return os.pread(descriptor, PAGE, (number - 1) * PAGE)
            return b""

        def latest(number: int) -> bytes:
            return logged.get(number) or stored(number)

        for number in range(1, -(-os.fstat(descriptor).st_size // PAGE) + 1):
            yield from _rows_of_page(stored(number), number, (stored, latest))
        for frame in frames(log):
            yield from _rows_of_page(frame.page, frame.number, (latest, stored))
    finally:
        os.close(descriptor)


def rows_of_log(log: bytes) -> Iterator[Row]:
    """Yield the sound rows that are wholly in a write-ahead log; a key may come twice."""
    logged = {frame.number: frame.page for frame in frames(log)}
    for frame in frames(log):
        yield from _rows_of_page(frame.page, frame.number, (lambda number: logged.get(number, b""),))


def frames(log: bytes) -> Iterator[LogFrame]:
    """Yield the complete frames of a write-ahead log, without checking them."""
    size = _FRAME_HEADER + PAGE
    for start in range(_LOG_HEADER, len(log) - size + 1, size):
        head = log[start : start + _FRAME_HEADER]
        yield LogFrame(int.from_bytes(head[:4]), head[8:16], log[start + _FRAME_HEADER : start + size])


def frames_of_round(log: bytes) -> int:
    """Return how many frames belong to the present round of a write-ahead log; older ones follow them."""
    return sum(frame.salts == log[16:24] for frame in frames(log))


def is_log_sound(log: bytes) -> bool:
    """Return whether the checksums hold in all frames of the present round of a write-ahead log.

    A last transaction that was not committed is no damage.
    """
    if len(log) < _LOG_HEADER:
        return not log
    order = {_LITTLE_ENDIAN: "<", _BIG_ENDIAN: ">"}.get(log[:4])
    if order is None:
        return False
    checksum = _log_checksum(log[:24], order, (0, 0))
    if checksum != struct.unpack(">2I", log[24:32]):
        return False
    count, size = frames_of_round(log), _FRAME_HEADER + PAGE
    for start in range(_LOG_HEADER, _LOG_HEADER + count * size, size):
        frame = log[start : start + size]
        checksum = _log_checksum(frame[:8] + frame[_FRAME_HEADER:], order, checksum)
        if checksum != struct.unpack(">2I", frame[16:_FRAME_HEADER]):
            return False
    return True


def _log_checksum(content: bytes, order: str, checksum: tuple[int, int]) -> tuple[int, int]:
    """Return the checksum of a write-ahead log that continues `checksum` over `content`."""
    first, second = checksum
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _rows_of_page(page: bytes, number: int, readers: tuple[_ReadPage, ...]) -> Iterator[Row]:
    """Yield the sound rows of a page.

    The end of a long row is on other pages. They are read by the first of `readers` that makes the row sound.
    """
    position = _LEAF_HEADER + (_FIRST_PAGE_HEADER if number == 1 else 0)
    cells_begin = 0 if page[:1] and page[0] in _OTHER_TREE_PAGES else len(page)
    while position + 2 <= cells_begin:  # the list of cells ends, at the latest, where the cells begin
        cell = int.from_bytes(page[position : position + 2])
        position += 2
        if not position <= cell < len(page):
            continue
        for read in readers:
            row = _row(_payload(page, cell, read))
            if row is not None and row.is_sound:
                cells_begin = min(cells_begin, cell)
                yield row
                break


def _payload(page: bytes, cell: int, read: _ReadPage) -> bytes:
    """Return the content of the cell that begins at `cell`, overflow pages included; too short if it is damaged."""
    size, start = _varint(page, cell)
    if size > _LARGEST_ROW:
        return b""
    _, start = _varint(page, start)  # the row's number
    local = _local_size(size)
    payload = [page[start : start + local]]
    missing, after = size - local, start + local
    following = int.from_bytes(page[after : after + 4]) if missing else 0
    while missing > 0 and following:
        overflow = read(following)
        payload.append(overflow[4 : 4 + missing])
        if len(overflow) < PAGE:
            break
        missing -= PAGE - 4
        following = int.from_bytes(overflow[:4])
    return b"".join(payload)


def _local_size(size: int) -> int:
    """Return how many of a cell's `size` bytes are in the leaf; the others are in overflow pages."""
    largest, smallest = PAGE - 35, (PAGE - 12) * 32 // 255 - 23
    if size <= largest:
        return size
    local = smallest + (size - smallest) % (PAGE - 4)
    return local if local <= largest else smallest


def _row(payload: bytes) -> Row | None:
    """Return the row that a record holds, or None if the record has other fields than a row."""
    end, position = _varint(payload, 0)
    types = []
    while position < end <= len(payload):
        kind, position = _varint(payload, position)
        types.append(kind)
    if len(types) != len(Row._fields):
        return None
    values: list[bytes] = []
    for kind in types:
        size = (kind - 12) // 2 if kind >= 12 else _INTEGER_BYTES.get(kind, 0)
        values.append(payload[end : end + size])
        end += size
    key, answer, checkpoint, seconds, checksum = values
    return Row(key, answer, checkpoint, int.from_bytes(seconds, signed=True), checksum)


def _varint(content: bytes, start: int) -> tuple[int, int]:
    """Return the number that begins at `start`, in the variable length of SQLite, and the place where it ends."""
    value = 0
    for position in range(start, min(start + 8, len(content))):
        value = value << 7 | content[position] & 0x7F
        if content[position] < 0x80:
            return value, position + 1
    return value, min(start + 9, len(content))  # of nine bytes: only in damaged rows
