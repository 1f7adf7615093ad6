"""Two processes never train the same stage."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harness.errors import HarnessError
from harness.training import locks
from support import tiny
from support.trained_stages import train

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_second_process_gets_one_sentence_and_takes_nothing(tmp_path):
    tiny.llama(tmp_path / "base")
    (tmp_path / "out").mkdir()
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out/.full.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout.readline()
        with pytest.raises(HarnessError, match=r"another process is training stage full in .*out: wait until it ends"):
            train(tmp_path, "full: {from: base}")
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".full.lock"]
    finally:
        other.kill()  # as a machine may kill it: the lock goes with it
        other.wait()
    assert train(tmp_path, "full: {from: base}")["full"].lineage.steps == 2
    assert not (tmp_path / "out/.full.lock").exists()


def test_a_lock_is_free_after_its_block_even_if_that_fails(tmp_path):
    file = tmp_path / ".a.lock"

    def fail(failure):
        with locks.locked(file, "stage a"):
            assert file.exists()
            raise failure

    for failure in (ValueError, KeyboardInterrupt):
        with pytest.raises(failure):
            fail(failure)
        assert not file.exists()
    with locks.locked(file, "stage a"), pytest.raises(HarnessError, match="another process is training stage a"):
        locks.locked(file, "stage a").__enter__()


def test_a_lock_whose_holder_has_just_ended_is_not_believed(tmp_path, monkeypatch):
    file = tmp_path / ".a.lock"
    real = os.open

    def opened(path, flags, mode):
        descriptor = real(path, flags, mode)
        file.unlink()  # by the holder, between the opening and the locking
        return descriptor

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(HarnessError, match="give the command again"), locks.locked(file, "stage a"):
        pass


def test_stages_have_locks_of_their_own(tmp_path):
    with locks.locked(tmp_path / ".a.lock", "stage a"), locks.locked(tmp_path / ".b.lock", "stage b"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(HarnessError, match="choose another --output"),
        locks.locked(tmp_path / "file/.a.lock", "stage a"),
    ):
        pass
