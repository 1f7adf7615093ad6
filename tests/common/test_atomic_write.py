"""Readers never see half a file or folder, whatever happens to the process that writes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.common import atomic_write


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("old", encoding="utf-8")
    with atomic_write.file(target) as hidden:
        hidden.write_text("new", encoding="utf-8")
        assert target.read_text(encoding="utf-8") == "old"
        assert hidden.parent == tmp_path
        assert hidden.name.startswith(f".a.json.{atomic_write.host()}.{os.getpid()}.")
    assert target.read_text(encoding="utf-8") == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_nothing_hidden(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.json"
    target.write_text("old", encoding="utf-8")

    def write() -> None:
        with atomic_write.file(target) as hidden:
            hidden.write_text("half", encoding="utf-8")
            raise error

    with pytest.raises(error):
        write()
    assert target.read_text(encoding="utf-8") == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_file_in_a_missing_folder_raises_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write.file(tmp_path / "missing" / "a.json") as hidden:
        hidden.write_text("new", encoding="utf-8")


def test_a_file_below_a_file_raises_oserror(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("", encoding="utf-8")
    with pytest.raises(NotADirectoryError), atomic_write.file(tmp_path / "a" / "b.json") as hidden:
        hidden.write_text("new", encoding="utf-8")


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "parent" / "report"
    with atomic_write.folder(target) as hidden:
        (hidden / "a").write_text("new", encoding="utf-8")
        assert not target.exists()
    assert [entry.name for entry in target.parent.iterdir()] == ["report"]
    assert (target / "a").read_text(encoding="utf-8") == "new"


def test_a_folder_takes_the_place_of_an_empty_one_only(tmp_path: Path) -> None:
    empty, full = tmp_path / "empty", tmp_path / "full"
    empty.mkdir()
    full.mkdir()
    (full / "old").touch()
    for target in (empty, full):
        try:
            with atomic_write.folder(target) as hidden:
                (hidden / "new").touch()
        except OSError:
            assert target == full
    assert [file.name for file in empty.iterdir()] == ["new"]
    assert [file.name for file in full.iterdir()] == ["old"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["empty", "full"]


def test_two_writers_of_one_name_never_share_a_hidden_folder(tmp_path: Path) -> None:
    """Process ids repeat between containers that share a file system."""
    with atomic_write.hidden_folder(tmp_path / "merged") as first:
        (first / "weights").touch()
        with atomic_write.hidden_folder(tmp_path / "merged") as second:
            assert list(second.iterdir()) == []
        assert [file.name for file in first.iterdir()] == ["weights"]


def test_the_remains_of_an_earlier_call_with_the_same_tag_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".stage.new").mkdir()
    (tmp_path / ".stage.new" / "old").touch()
    with atomic_write.folder(tmp_path / "stage", tag="new") as hidden:
        assert hidden == tmp_path / ".stage.new"
        (hidden / "new").touch()
    assert [file.name for file in (tmp_path / "stage").iterdir()] == ["new"]


def test_a_hidden_folder_that_is_not_moved_is_removed(tmp_path: Path) -> None:
    with atomic_write.hidden_folder(tmp_path / "report", tag="host.7") as hidden:
        assert hidden == tmp_path / ".report.host.7"
    assert not list(tmp_path.iterdir())
    with atomic_write.hidden_folder(tmp_path / "report") as hidden:
        hidden.rename(tmp_path / "report-1")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report-1"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_killed_process_leaves_only_hidden_names(tmp_path: Path, kind: str) -> None:
    code = f"""
import os, signal, sys
from pathlib import Path
from harness.common import atomic_write
with atomic_write.{kind}(Path(sys.argv[1])) as hidden:
    (hidden / "half" if hidden.is_dir() else hidden).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path / "target")], check=False)
    assert result.returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".target.")
    with getattr(atomic_write, kind)(tmp_path / "target") as hidden:
        (hidden / "whole" if hidden.is_dir() else hidden).write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_what_another_host_or_another_target_left_stays(tmp_path: Path) -> None:
    others = [".target.elsewhere.999999999.0123abcd", f".other.{atomic_write.host()}.999999999.0123abcd"]
    for name in (*others, f".target.{atomic_write.host()}.999999999.0123abcd"):
        (tmp_path / name).touch()
    with atomic_write.file(tmp_path / "target") as hidden:
        hidden.touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "target"])


def test_a_folder_replaces_another_whole(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with atomic_write.folder(tmp_path / "stage", tag="new", replace=True) as hidden:
            (hidden / content).touch()
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]
    assert [path.name for path in (tmp_path / "stage").iterdir()] == ["new"]


@pytest.mark.parametrize(("umask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750)])
def test_modes_are_those_of_the_umask(tmp_path, umask, file_mode, folder_mode):
    """safetensors, for one, writes through a temporary file that only its owner can read."""
    before = os.umask(umask)
    try:
        with atomic_write.folder(tmp_path / "folder") as hidden:
            (hidden / "inner").mkdir(mode=0o700)
            (hidden / "inner" / "a").touch(mode=0o600)
            (hidden / "b").touch(mode=0o444)
        with atomic_write.file(tmp_path / "file") as hidden:
            hidden.touch(mode=0o600)
    finally:
        os.umask(before)
    files = [tmp_path / "folder" / "inner" / "a", tmp_path / "folder" / "b", tmp_path / "file"]
    assert {file.stat().st_mode & 0o777 for file in files} == {file_mode}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "folder", tmp_path / "folder" / "inner")} == {
        folder_mode
    }


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux states the umask")
def test_the_umask_is_read_without_setting_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to the process: setting it, even for a moment, changes the modes of another thread's files."""
    monkeypatch.setattr(os, "umask", None)
    with atomic_write.file(tmp_path / "file") as hidden:
        hidden.touch()
    (tmp_path / "other").touch()
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode
