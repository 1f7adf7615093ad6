"""A stamp changes with every change of a file, or there is none; each alteration is one that some tool really makes."""

from __future__ import annotations

import mmap
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.common import stamps

CONTENT = b"a" * 8192


def times_of(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_atime_ns, stat.st_mtime_ns


def in_place(file: Path) -> None:
    """Change one byte."""
    with file.open("r+b") as stream:
        stream.write(b"b")


def in_place_with_its_time_restored(file: Path) -> None:
    times = times_of(file)
    in_place(file)
    os.utime(file, ns=times)


def through_a_memory_map(file: Path) -> None:
    with file.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as pages:
        pages[5] = 0


def by_a_copy_that_keeps_times(file: Path) -> None:
    """Do as `cp -p OTHER FILE`: the same inode, size and modification time."""
    other = file.with_name("other")
    other.write_bytes(b"b" * len(CONTENT))
    os.utime(other, ns=times_of(file))
    shutil.copy2(other, file)


def by_a_rename(file: Path) -> None:
    """Do as `rsync -a` and `tar`: another inode, with the size and modification time of the old one."""
    other = file.with_name("other")
    other.write_bytes(b"b" * len(CONTENT))
    os.utime(other, ns=times_of(file))
    other.rename(file)


ALTERATIONS = (
    *(in_place, in_place_with_its_time_restored, through_a_memory_map),
    *(by_a_copy_that_keeps_times, by_a_rename),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    return file


@pytest.fixture
def settled(file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as unchanged for long enough, on a file system that keeps change times."""
    if not stamps.keeps_change_times(file):
        pytest.skip(f"{file} is on a file system without reliable change times")
    monkeypatch.setattr(stamps, "MARGIN", -1)
    time.sleep(0.02)  # more than a tick of the kernel's clock
    return file


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_every_alteration_changes_the_version(settled: Path, alteration: Callable[[Path], None]) -> None:
    before = stamps.version(settled)
    assert before == stamps.version(settled) == stamps.stamp(settled)
    alteration(settled)
    assert stamps.version(settled) != before


def test_a_store_into_a_map_that_was_written_before_changes_the_stamp(settled: Path) -> None:
    with settled.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as pages:
        pages[0] = 1
        before = stamps.stamp(settled)
        time.sleep(0.02)
        pages[1] = 2
        assert stamps.stamp(settled) != before


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_without_a_stamp_the_version_is_the_content(
    file: Path, alteration: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamps, "keeps_change_times", lambda file: False)
    before = stamps.version(file)
    alteration(file)
    assert stamps.version(file) != before


def test_a_file_that_was_just_changed_has_no_stamp(file: Path) -> None:
    assert stamps.stamp(file) is None


def test_a_change_time_in_the_future_gives_no_stamp(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = file.stat().st_ctime
    monkeypatch.setattr(stamps.time, "time", lambda: now - 3600)
    assert stamps.stamp(file) is None


@pytest.mark.parametrize("folder", ["/dev/shm", "/proc/self", "/sys/kernel"])
def test_memory_and_kernel_file_systems_keep_no_change_times(folder: str) -> None:
    if not Path(folder).is_dir():
        pytest.skip(f"there is no {folder} here")
    assert not stamps.keeps_change_times(Path(folder))


def test_a_read_only_mount_keeps_no_change_times(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(file)
    read_only = os.statvfs_result((*real[:8], real.f_flag | os.ST_RDONLY, *real[9:]))
    monkeypatch.setattr(os, "statvfs", lambda path: read_only)
    assert not stamps.keeps_change_times(file)


def test_an_unknown_kernel_keeps_no_change_times(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "_statfs", lambda: None)
    assert not stamps.keeps_change_times(file)


@pytest.mark.parametrize("file", ["/proc/version", "/proc/self/cmdline"])
def test_a_file_system_that_cannot_be_flushed_gives_no_stamp_and_no_error(file: str) -> None:
    if not Path(file).exists():
        pytest.skip(f"there is no {file} here")
    assert stamps.stamp(Path(file)) is None
    assert len(stamps.version(Path(file))) == 64


def test_a_file_that_cannot_be_flushed_has_a_stamp_nevertheless(settled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    assert stamps.stamp(settled) is not None
