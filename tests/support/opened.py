"""Which files of a folder are opened while a block runs, by any library and in any language: Linux's inotify."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_OPEN, _NONBLOCK = 0x20, 0x800  # IN_OPEN, IN_NONBLOCK of inotify(7)
_EVENT = struct.Struct("iIII")
_IS_FOLDER = 0x40000000


@contextmanager
def opened_files(root: Path) -> Iterator[set[str]]:
    """Yield a set that holds, when the block has ended, the relative path of each file below `root` that was opened."""
    if not sys.platform.startswith("linux"):
        pytest.skip("inotify exists on Linux only")
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = library.inotify_init1(_NONBLOCK)
    assert descriptor >= 0, os.strerror(ctypes.get_errno())
    try:
        folders = {}
        for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
            watch = library.inotify_add_watch(descriptor, os.fsencode(folder), _OPEN)
            assert watch >= 0, os.strerror(ctypes.get_errno())
            folders[watch] = folder
        names: set[str] = set()
        yield names
        while True:
            try:
                events = os.read(descriptor, 1 << 16)
            except BlockingIOError:
                break
            place = 0
            while place < len(events):
                watch, mask, _, length = _EVENT.unpack_from(events, place)
                name = os.fsdecode(events[place + _EVENT.size : place + _EVENT.size + length].rstrip(b"\0"))
                assert watch in folders, "the kernel's queue of events was full"
                if name and not mask & _IS_FOLDER:
                    names.add((folders[watch] / name).relative_to(root).as_posix())
                place += _EVENT.size + length
    finally:
        os.close(descriptor)
