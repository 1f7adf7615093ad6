"""Stamps of files: two equal stamps of a file mean that its content has not changed in between.

A stamp names the file system, the inode, the size and the times of a file. Whoever writes to a file can set all of
these back except the change time, which the kernel keeps. There is no stamp, and the content has to be read again, if

- the file system takes its change times from elsewhere or does not update them at every write: FUSE, overlays, network
  file systems, tmpfs (which ignores writes through a memory map), and images made
  elsewhere (squashfs, ISO, vfat);
- it is mounted read-only, because then it may be an image that is replaced as a whole;
- the file changed within the last `MARGIN` seconds, because the next write may get the same time ("racily clean" in
  git: https://git-scm.com/docs/racy-git).

Not here: hashes of files, remembered between calls (`harness.common.hashes`).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MARGIN = 2.0
"""Seconds that must have passed since a file changed: two ticks of the coarsest change time (ext4's small inodes)."""
# f_type of statfs(2), as in linux/magic.h, of the file systems whose change times are their own and follow every write.
_SOUND = {0xEF53: "ext4", 0x58465342: "xfs", 0x9123683E: "btrfs", 0xF2F52010: "f2fs", 0x2FC12FC1: "zfs"}


def stamp(file: Path) -> str | None:
    """Return the stamp of `file`, or None if there is none that can be relied on.

    Written pages of a memory map are flushed first: only then does the next store into the map change the file's time.
    Raises OSError if the file cannot be opened.
    """
    if not keeps_change_times(file):
        return None
    descriptor = os.open(file, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file that cannot be flushed, such as a device, cannot be mapped and written either
            os.fsync(descriptor)
        now, stat = time.time(), os.fstat(descriptor)
        if stat.st_ctime > now - MARGIN:
            return None
        parts = (stat.st_dev, os.fstatvfs(descriptor).f_fsid, stat.st_ino, stat.st_size)
        return " ".join(map(str, (*parts, stat.st_mtime_ns, stat.st_ctime_ns)))
    finally:
        os.close(descriptor)


def version(file: Path) -> str:
    """Return a text that differs for every content of `file`: its stamp or, without one, the sha256 of its content.

    Raises OSError if the file cannot be read.
    """
    known = stamp(file)
    if known is not None:
        return known
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def keeps_change_times(file: Path) -> bool:
    """Return whether `file` is on a writable file system whose change times can be relied on."""
    if os.statvfs(file).f_flag & os.ST_RDONLY:
        return False
    return _file_system_type(file) in _SOUND


def _file_system_type(file: Path) -> int | None:
    """Return `f_type` of the file system that holds `file`; None if this is not a 64-bit Linux."""
    call = _statfs()
    buffer = ctypes.create_string_buffer(256)  # struct statfs has 120 bytes; f_type is its first, a word
    if call is None or call(os.fsencode(file), buffer) != 0:
        return None
    return ctypes.c_uint64.from_buffer(buffer).value & 0xFFFFFFFF


@functools.cache
def _statfs() -> Callable[..., int] | None:
    if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    return getattr(ctypes.CDLL(None), "statfs", None)
