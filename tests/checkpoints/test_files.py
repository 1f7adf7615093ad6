"""The files of a checkpoint: finding them, checking that they are complete, hashing their content."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants, errors
from safetensors.torch import save_file

from harness.checkpoints import files
from harness.errors import HarnessError
from support.tampering import LFS_POINTER, refusal, to_bin

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def fetched(hub: Path, name: str, contents: dict[str, bytes], revision: str = "main") -> Path:
    """Lay `contents` out as the hub's client leaves them; return the snapshot folder."""
    root = hub / f"models--{name.replace('/', '--')}"
    snapshot = root / "snapshots" / COMMIT
    for folder in (root / "blobs", root / "refs", snapshot):
        folder.mkdir(parents=True)
    (root / "refs" / revision).write_text(COMMIT)
    for file, content in contents.items():
        blob = root / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / file).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


def error_of(call, *arguments, **options) -> str:
    """Return the one-line message of the HarnessError that the call raises."""
    with pytest.raises(HarnessError) as error:
        call(*arguments, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


# --- finding them


def test_a_local_folder_takes_precedence_over_a_hub_model_of_the_same_name(hub, tmp_path, monkeypatch):
    fetched(hub, "org/name", {"model.safetensors": b"x"})
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert files.find("org/name") == Path("org/name")


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.find("~/model") == tmp_path / "model"


def test_a_fetched_model_is_found_without_a_network(hub):
    snapshot = fetched(hub, "org/name", {"model.safetensors": b"x"})
    assert files.find("org/name") == snapshot


def test_a_fetched_revision_is_found_only_by_its_name(hub):
    snapshot = fetched(hub, "org/name", {"model.safetensors": b"x"}, revision="v2")
    assert files.find("org/name", "v2") == snapshot
    assert "hf download org/name --revision v3" in error_of(files.find, "org/name", "v3")


def test_without_a_network_the_message_names_the_command_that_fetches_the_model(hub):
    message = error_of(files.find, "org/name")
    assert "the hub cannot be reached" in message
    assert message.endswith("hf download org/name")


def test_the_offline_switch_of_the_environment_is_respected(tmp_path):
    code = "from harness.checkpoints import files; files.find('org/name')"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    environment.pop("HF_HUB_CACHE", None)
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "hf download org/name" in process.stderr.splitlines()[-1]


@pytest.mark.parametrize("path", ["/no/such/folder", "a/b/c", "./name", "../name", "~no-such-user/x", "x" * 5000])
def test_a_path_that_is_no_hub_name_is_not_searched_on_the_hub(hub, path):
    assert "there is no folder" in error_of(files.find, path)


def test_a_file_in_place_of_a_folder_is_refused(base):
    assert "is a file: name the folder" in error_of(files.find, str(base / "config.json"))


def test_for_a_dangling_link_the_message_names_its_target(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("org").mkdir()
    Path("org/name").symlink_to("gone")
    assert "org/name is a link to gone, which does not exist" in error_of(files.find, "org/name")


def response_error(kind: type) -> Exception:
    """Return an error of the hub's client as for a response with status 404."""
    return kind("404\nRequest ID: 1", response=SimpleNamespace(headers={}, request=None))


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (response_error(errors.RepositoryNotFoundError), "check the name"),
        (errors.HFValidationError("bad name"), "check the name"),
        (response_error(errors.GatedRepoError), "hf auth login"),
        (response_error(errors.RevisionNotFoundError), "no revision 'v9'"),
        (OSError("No space left on device"), "No space left on device"),
        (RuntimeError("read timed out\nafter 10 s"), "read timed out after 10 s"),
    ],
)
def test_every_error_of_the_hub_becomes_one_sentence(monkeypatch, error, advice):
    def snapshot_download(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert advice in error_of(files.find, "org/name", "v9")


@pytest.mark.parametrize(("offered", "fetches_pickles"), [("model.safetensors", False), ("pytorch_model.bin", True)])
def test_pickled_weights_are_fetched_only_if_there_are_no_others(monkeypatch, tmp_path, offered, fetches_pickles):
    patterns: list[str] = []

    def snapshot_download(*_, allow_patterns, **__):
        patterns[:] = allow_patterns
        return tmp_path

    (tmp_path / offered).touch()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    files.find("org/name")
    assert ("*.bin" in patterns) is fetches_pickles
    assert "*.py" not in patterns


# --- their kind


def test_an_adapter_beside_the_config_of_its_base_is_an_adapter(adapter, base):
    (adapter / "config.json").write_bytes((base / "config.json").read_bytes())
    assert files.is_adapter(adapter)


def test_a_whole_model_is_not_an_adapter(base):
    assert not files.is_adapter(base)


def test_a_model_and_an_adapter_in_one_folder_are_refused(copy, lora):
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (copy / file).write_bytes((lora / file).read_bytes())
    assert "both a whole model and an adapter_config.json" in refusal(copy)


def test_settings_alone_are_not_a_tokenizer(copy):
    assert files.has_tokenizer(copy)
    (copy / "tokenizer.json").unlink()
    assert not files.has_tokenizer(copy)


# --- whether they are complete


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.00002, 0.0005, 0.5, 0.999])
def test_safetensors_truncated_anywhere_are_refused(copy, share):
    file = copy / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    assert str(file) in error_of(files.weight_files, copy)


def test_safetensors_truncated_by_one_byte_are_refused_with_both_sizes(copy):
    file = copy / "model.safetensors"
    size = file.stat().st_size
    os.truncate(file, size - 1)
    assert f"truncated ({size - 1:,} of {size:,} bytes)" in error_of(files.weight_files, copy)


def test_safetensors_truncated_inside_the_header_are_refused_as_such(copy):
    os.truncate(copy / "model.safetensors", 200)
    assert "truncated inside its header" in error_of(files.weight_files, copy)


def test_safetensors_with_surplus_bytes_are_refused_as_damaged_not_truncated(copy):
    with (copy / "model.safetensors").open("ab") as stream:
        stream.write(b"x")
    message = error_of(files.weight_files, copy)
    assert "damaged" in message
    assert "truncated" not in message


@pytest.mark.parametrize(
    "header", ["[]", '"x"', '{"a": 3}', '{"a": {}}', '{"a": {"data_offsets": []}}', '{"a": {"data_offsets": 3}}']
)
def test_a_malformed_header_is_refused(tmp_path, header):
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header.encode())
    assert "malformed header" in error_of(files.check_complete, file)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.9999])
def test_pickled_weights_truncated_anywhere_are_refused(copy, share):
    file = to_bin(copy / "model.safetensors", "pytorch_model.bin")
    os.truncate(file, int(share * file.stat().st_size))
    assert "pytorch_model.bin is truncated" in error_of(files.weight_files, copy)


def test_a_web_page_in_place_of_weights_is_refused(tmp_path):
    file = tmp_path / "pytorch_model.bin"
    file.write_text("<html>404</html>")
    assert "not a torch file (16 bytes)" in error_of(files.check_complete, file)


def test_weights_saved_by_torch_before_1_6_are_complete(tmp_path):
    file = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.ones(2)}, file, _use_new_zipfile_serialization=False)
    files.check_complete(file)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_git_lfs_pointer_is_distinguished_from_damaged_weights(tmp_path, name):
    (tmp_path / name).write_text(LFS_POINTER)
    assert "git-lfs pointer, not the file itself: run git lfs pull" in error_of(files.weight_files, tmp_path)


def test_a_git_lfs_pointer_in_place_of_json_is_named(tmp_path):
    (tmp_path / "config.json").write_text(LFS_POINTER)
    assert "git-lfs pointer" in error_of(files.read_json, tmp_path / "config.json")


def test_each_shard_of_an_index_is_listed_once(tmp_path):
    index = {"a": "1.safetensors", "b": "2.safetensors", "c": "1.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    for name in index.values():
        save_file({"x": torch.ones(2)}, tmp_path / name)
    assert [file.name for file in files.weight_files(tmp_path)] == ["1.safetensors", "2.safetensors"]


def test_a_missing_shard_is_named(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "1.safetensors"}}')
    assert f"weights are missing: {tmp_path / '1.safetensors'}" in error_of(files.weight_files, tmp_path)


@pytest.mark.parametrize("content", ['{"weight_map": {}}', "{}", '{"weight_map": []}', '{"weight_map": {"a": 3}}'])
def test_an_index_that_names_no_files_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    assert "no weight_map that names files" in error_of(files.weight_files, tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000], ids=lambda it: str(it[:3]))
def test_invalid_json_is_refused_with_its_file(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    assert f"{tmp_path / 'config.json'} is not valid JSON" in error_of(files.read_json, tmp_path / "config.json")


def test_json_that_is_not_an_object_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("[]")
    assert "does not hold a JSON object" in error_of(files.read_json, tmp_path / "config.json")


def test_for_a_folder_without_weights_the_message_lists_what_it_lacks(tmp_path):
    (tmp_path / "README.md").write_text("# A model")
    (tmp_path / "model.safetensors").mkdir()
    assert "has no weights (model.safetensors" in error_of(files.weight_files, tmp_path)


def test_for_a_folder_of_checkpoints_the_message_names_the_last(tmp_path):
    for step in (90, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "model.safetensors").touch()
    assert f"such as {tmp_path / 'checkpoint-100'}" in error_of(files.weight_files, tmp_path)


def test_the_stored_dtype_is_that_of_most_bytes(tmp_path):
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(8).bfloat16(), "b": torch.ones(2), "c": torch.ones(99, dtype=torch.int64)}, file)
    assert files.stored_dtype([file]) == "bfloat16"


# --- their hashes


@pytest.fixture
def readings(monkeypatch):
    """The names of the files whose content is read for hashing, in order."""
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
    assert {files.sha256(file), files.sha256(file)} == {hashlib.sha256(b"abc").hexdigest()}
    assert readings == ["weights"]


def test_changed_content_of_the_same_size_is_read_again(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    os.utime(file, ns=(0, 0))
    files.sha256(file)
    file.write_bytes(b"xyz")
    assert files.sha256(file) == hashlib.sha256(b"xyz").hexdigest()


def test_a_link_shares_the_hash_of_its_target(tmp_path, readings):
    (tmp_path / "weights").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "weights")
    assert files.sha256(tmp_path / "weights") == files.sha256(tmp_path / "link")
    assert readings == ["weights"]


def test_the_hub_s_name_of_a_large_file_is_its_hash(hub, readings):
    snapshot = fetched(hub, "org/name", {"model.safetensors": b"abc"})
    assert files.sha256(snapshot / "model.safetensors") == hashlib.sha256(b"abc").hexdigest()
    assert readings == []


def test_a_small_file_of_the_hub_is_read_because_its_name_is_no_sha256(hub, readings):
    snapshot = fetched(hub, "org/name", {})
    blob = snapshot.parent.parent / "blobs" / ("a" * 40)
    blob.write_bytes(b"{}")
    (snapshot / "config.json").symlink_to(blob)
    assert files.sha256(snapshot / "config.json") == hashlib.sha256(b"{}").hexdigest()


@pytest.mark.parametrize("broken", ["a file that is not a database", "a folder that cannot be created"])
def test_without_a_cache_files_are_hashed_nevertheless(tmp_path, monkeypatch, broken):
    if broken == "a file that is not a database":
        monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
        (tmp_path / "hashes.sqlite").write_bytes(b"not a database, but long enough to look like one" * 20)
    else:
        (tmp_path / "file").touch()
        monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "weights").write_bytes(b"abc")
    assert files.sha256(tmp_path / "weights") == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("First. Second"), "First"),
        (ValueError("over\n  two lines:\n"), "over two lines"),
        (ValueError("tensor 1.5 of a.b"), "tensor 1.5 of a.b"),
        (KeyError("metadata"), "KeyError 'metadata'"),
        (ValueError(), "ValueError"),
        (ValueError("x" * 999), "x" * 300 + "…"),
    ],
)
def test_the_reason_of_a_library_s_error_is_one_line(error, reason):
    assert files.reason(error) == reason
