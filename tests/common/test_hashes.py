"""The hash of a file is that of its content, and is computed once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from harness.common import hashes, stamps
from support.hub_cache import fetched


@pytest.fixture
def readings(monkeypatch):
    """The names of the files whose content is read for hashing, in order; files are old enough for a stamp at once."""
    monkeypatch.setattr(stamps, "MARGIN", -1)
    monkeypatch.setattr(stamps, "keeps_change_times", lambda file: True)
    names: list[str] = []
    real_digest = hashlib.file_digest

    def file_digest(stream, name):
        names.append(Path(stream.name).name)
        return real_digest(stream, name)

    monkeypatch.setattr(hashlib, "file_digest", file_digest)
    return names


def test_a_file_is_read_once_and_hashed_by_its_content(tmp_path, readings):
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    assert {hashes.sha256(file), hashes.sha256(file)} == {hashlib.sha256(b"abc").hexdigest()}
    assert readings == ["weights"]


def test_changed_content_of_the_same_size_is_read_again(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    os.utime(file, ns=(0, 0))
    hashes.sha256(file)
    file.write_bytes(b"xyz")
    assert hashes.sha256(file) == hashlib.sha256(b"xyz").hexdigest()


def test_a_link_shares_the_hash_of_its_target(tmp_path, readings):
    (tmp_path / "weights").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "weights")
    assert hashes.sha256(tmp_path / "weights") == hashes.sha256(tmp_path / "link")
    assert readings == ["weights"]


def test_a_blob_of_the_hub_is_its_content_and_not_its_name(tmp_path):
    snapshot = fetched(tmp_path, "org/name", {"model.safetensors": b"abc"})
    assert hashes.sha256(snapshot / "model.safetensors") == hashlib.sha256(b"abc").hexdigest()
    with (snapshot / "model.safetensors").open("r+b") as stream:  # writes through the link; the blob keeps its name
        stream.write(b"x")
    assert hashes.sha256(snapshot / "model.safetensors") == hashlib.sha256(b"xbc").hexdigest()


def test_a_file_that_changes_while_it_is_read_is_not_remembered(tmp_path, readings, monkeypatch):
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    sequence = iter(["before", "after", "after", "after"])
    monkeypatch.setattr(stamps, "stamp", lambda file: next(sequence))
    assert hashes.sha256(file) == hashes.sha256(file)
    assert readings == ["weights", "weights"]


def test_a_file_without_a_stamp_is_read_each_time(tmp_path, readings, monkeypatch):
    monkeypatch.setattr(stamps, "keeps_change_times", lambda file: False)
    (tmp_path / "weights").write_bytes(b"abc")
    assert hashes.sha256(tmp_path / "weights") == hashes.sha256(tmp_path / "weights")
    assert readings == ["weights", "weights"]


@pytest.mark.parametrize("broken", ["a file that is not a database", "a folder that cannot be created"])
def test_without_a_cache_files_are_hashed_nevertheless(tmp_path, monkeypatch, broken):
    if broken == "a file that is not a database":
        monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
        (tmp_path / "hashes.sqlite").write_bytes(b"not a database, but long enough to look like one" * 20)
    else:
        (tmp_path / "file").touch()
        monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "weights").write_bytes(b"abc")
    assert hashes.sha256(tmp_path / "weights") == hashlib.sha256(b"abc").hexdigest()


def test_weights_in_memory_are_read_once_and_their_change_is_noticed(tmp_path, readings, monkeypatch):
    monkeypatch.setattr(stamps, "keeps_change_times", lambda file: False)
    weights, other = tmp_path / "weights", tmp_path / "tokenizer"
    weights.write_bytes(b"abc")
    other.write_bytes(b"abc")
    known = hashes.BaseHashes([weights])
    assert len({known.sha256(file) for file in (weights, weights, other, other)}) == 1
    assert readings == ["weights", "tokenizer", "tokenizer"]
    known.forget()
    known.sha256(weights)
    weights.write_bytes(b"abcd")
    assert known.sha256(weights) == hashlib.sha256(b"abcd").hexdigest()
