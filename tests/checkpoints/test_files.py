"""The files of a checkpoint: finding them, checking that they are complete, hashing their content."""

from __future__ import annotations

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
from huggingface_hub import errors
from safetensors.torch import save_file

from harness.checkpoints import files
from harness.errors import HarnessError
from support.hub_cache import fetched
from support.tampering import LFS_POINTER, load, refusal, set_weights, to_bin


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
    assert "model.safetensors is a folder, not a file" in error_of(files.weight_files, tmp_path)
    (tmp_path / "model.safetensors").rmdir()
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


# --- what a folder has instead


def sharded(folder: Path, numbers: list[int], total: int = 2, *, name: str = "model", end: str = "safetensors") -> None:
    """Write the shards with `numbers` of `total`, and no index."""
    for number in numbers:
        file = folder / f"{name}-{number:05}-of-{total:05}.{end}"
        if end == "safetensors":
            save_file({f"w{number}": torch.ones(2)}, file)
        else:
            torch.save({f"w{number}": torch.ones(2)}, file)


@pytest.mark.parametrize(
    ("numbers", "total", "name", "end", "words"),
    [
        ([1, 2], 2, "model", "safetensors", "has 2 of 2 shards (model-00001-of-00002.safetensors, …) but not"),
        ([3], 12, "model", "safetensors", "has 1 of 12 shards (model-00003-of-00012.safetensors) but not"),
        ([1, 2, 3], 3, "weights", "safetensors", "has 3 of 3 shards (weights-00001-of-00003.safetensors, …) but not"),
        ([1, 2], 2, "pytorch_model", "bin", "but not their index pytorch_model.bin.index.json, which"),
        ([1, 2], 2, "model", "safetensors", "but not their index model.safetensors.index.json, which"),
    ],
)
def test_shards_without_an_index_are_reported_as_such(tmp_path, numbers, total, name, end, words):
    sharded(tmp_path, numbers, total, name=name, end=end)
    message = error_of(files.weight_files, tmp_path)
    assert words in message
    assert "has no weights" not in message


def test_an_index_that_lists_fewer_shards_than_there_are_is_refused(tmp_path):
    sharded(tmp_path, [1, 2, 3], 3)
    index = {"weight_map": {"w1": "model-00001-of-00003.safetensors", "w2": "model-00002-of-00003.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "lists 2 of 3 shards (model-00001-of-00003.safetensors, …)" in error_of(files.weight_files, tmp_path)


@pytest.mark.parametrize("name", ["consolidated.00.pth", "weights.safetensors", "flax_model.msgpack", "model.ckpt"])
def test_weights_under_names_that_transformers_does_not_read_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "training_args.bin").write_bytes(b"x")
    assert f"it has {name}, which transformers does not read" in error_of(files.weight_files, tmp_path)


@pytest.mark.parametrize("name", ["training_args.bin", "optimizer.pt", "rng_state_0.pth"])
def test_a_training_s_other_files_are_not_taken_for_weights(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    assert "is not a complete checkpoint folder" in error_of(files.weight_files, tmp_path)


@pytest.mark.parametrize("name", files.ADAPTER_WEIGHTS)
def test_an_adapter_without_its_configuration_is_sent_to_the_folder_that_has_it(tmp_path, name):
    step = tmp_path / "checkpoint-100"
    step.mkdir()
    (step / name).write_bytes(b"x")
    advice = f"{step} holds the weights of an adapter but no adapter_config.json: copy "
    assert error_of(files.weight_files, step).startswith(f"{advice}the adapter_config.json in the output folder")
    (tmp_path / "adapter_config.json").write_text("{}")
    assert error_of(files.weight_files, step) == f"{advice}{tmp_path / 'adapter_config.json'} into it"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_an_empty_weight_file_is_refused_as_empty(tmp_path, name):
    (tmp_path / name).touch()
    assert f"{tmp_path / name} is truncated to 0 bytes" in error_of(files.weight_files, tmp_path)


def test_a_weight_file_without_weights_is_refused(tmp_path):
    save_file({}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert "lacks weights, it holds only a header" in error_of(files.weight_files, tmp_path)


@pytest.mark.parametrize("also", ["pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_weights_that_are_not_read_are_noted(copy, also):
    (copy / also).write_text("{}")
    [note] = load(copy).notes
    assert f"also has {also}, which is not read: the weights are model.safetensors" in note


def test_tensors_that_a_save_under_zero_3_emptied_are_reported_as_such(copy):
    set_weights(copy / "model.safetensors", lambda w: w.update({key: torch.zeros(0) for key in w if "mlp" in key}))
    message = refusal(copy)
    assert "holds 6 empty tensors (such as model.layers.0.mlp.down_proj.weight)" in message
    assert "saved under DeepSpeed ZeRO-3" in message


@pytest.mark.parametrize("count", [1, 12])
def test_an_adapter_that_a_save_under_zero_3_emptied_is_reported_as_such(adapter, count):
    def empty(weights: dict[str, torch.Tensor]) -> None:
        weights.update({key: torch.zeros(0, 64) for key in sorted(weights)[:count]})

    set_weights(adapter / "adapter_model.safetensors", empty)
    message = refusal(adapter)
    assert f"holds {count} empty tensor{'s' * (count > 1)} (such as base_model.model.model.layers.0" in message
    assert "saved under DeepSpeed ZeRO-3" in message


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
