"""Whatever a library opens while it loads a checkpoint is covered by the fingerprint; inotify says what was opened."""

from __future__ import annotations

import ast
import importlib.util
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import transformers
from transformers import AutoModelForCausalLM

from harness.checkpoints import contents, identity, loading, weights
from harness.checkpoints.reference import parse
from harness.common import hashes
from harness.errors import HarnessError
from support import gguf_files, tampering, tiny
from support.opened import opened_files
from support.tampering import set_json

TEMPLATE = "{{ messages[0].content }}"


def plain(folder: Path) -> Path:
    return folder


def sharded(folder: Path) -> Path:
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="60KB")
    return folder


def pickled(folder: Path) -> Path:
    tampering.to_bin(folder / "model.safetensors", "pytorch_model.bin")
    return folder


def weights_of_another_name(folder: Path) -> Path:
    """Beside them are the weights that would be read otherwise."""
    shutil.copy(folder / "model.safetensors", folder / "other.safetensors")
    set_json(folder / "config.json", transformers_weights="other.safetensors")
    return folder


def weights_of_another_index(folder: Path) -> Path:
    sharded(folder)
    (folder / "model.safetensors.index.json").rename(folder / "other.safetensors.index.json")
    set_json(folder / "config.json", transformers_weights="other.safetensors.index.json")
    return folder


def tokenizers_for_versions(folder: Path) -> Path:
    shutil.copy(folder / "tokenizer.json", folder / "tokenizer.5.0.0.json")
    set_json(folder / "tokenizer_config.json", fast_tokenizer_files=["tokenizer.json", "tokenizer.5.0.0.json"])
    return folder


def configurations_for_versions(folder: Path) -> Path:
    shutil.copy(folder / "config.json", folder / "config.5.0.0.json")
    set_json(folder / "config.json", configuration_files=["config.5.0.0.json"])
    return folder


def templates(folder: Path) -> Path:
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text(TEMPLATE)
    return folder


def with_foreign_files(folder: Path) -> Path:
    for name in ("README.md", "trainer_state.json", "training_args.bin", "preprocessor_config.json", "model.py"):
        (folder / name).write_text("{}")
    return folder


def adapted(folder: Path) -> Path:
    return tiny.lora(folder / "lora", folder)


def adapted_with_a_tokenizer(folder: Path) -> Path:
    adapter = tiny.lora(folder / "lora", folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, adapter / name)
    return adapter


def gguf(folder: Path) -> Path:
    """A folder with nothing but the file; its neighbours are those by which a loader could be misled."""
    file = gguf_files.written(folder / "model.gguf", folder)
    (folder / "model.safetensors").unlink()
    return file


KINDS = (
    *(plain, sharded, pickled, weights_of_another_name, weights_of_another_index, tokenizers_for_versions),
    *(configurations_for_versions, templates, with_foreign_files, adapted, adapted_with_a_tokenizer, gguf),
)


def altered(file: Path) -> None:
    """Change the content of `file` so that it can still be read where that is possible."""
    if file.suffix == ".json" and isinstance(content := json.loads(file.read_text(encoding="utf-8")), dict):
        if "weight_map" in content:
            content["weight_map"]["added"] = next(iter(content["weight_map"].values()))
        file.write_text(json.dumps(content | {"altered": True}), encoding="utf-8")
    else:
        with file.open("r+b") as stream:
            stream.seek(-1, 2)
            last = stream.read(1)
            stream.seek(-1, 2)
            stream.write(bytes([last[0] ^ 1]))


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_that_is_opened_changes_the_fingerprint(copy: Path, kind: Callable[[Path], Path]) -> None:
    checkpoint = kind(copy)
    located = loading.locate(parse(f"{checkpoint},device=cpu"))
    before = identity.fingerprint(located, hashes.fresh_sha256)
    with opened_files(copy) as names:
        loading.load_tokenizer(located)
        weights.load(located)
        if located.adapter is not None:
            loading.load(located)
    assert names, "nothing was opened, so nothing was tested"
    for name in sorted(names):
        original = (copy / name).read_bytes()
        altered(copy / name)
        with suppress(HarnessError):  # damage that is refused gives no answer at all
            assert identity.fingerprint(located, hashes.fresh_sha256) != before, name
        (copy / name).write_bytes(original)
    assert identity.fingerprint(located, hashes.fresh_sha256) == before


def test_files_that_nobody_opens_decide_nothing(copy: Path) -> None:
    located = loading.locate(parse(str(copy)))
    before = identity.fingerprint(located)
    with_foreign_files(copy)
    assert identity.fingerprint(located) == before


def test_libraries_see_only_the_listed_files_under_a_constant_name(copy: Path) -> None:
    with contents.alone(copy, ["config.json", "tokenizer.json"]) as folder:
        assert folder.name == "checkpoint"
        assert sorted(path.name for path in folder.iterdir()) == ["config.json", "tokenizer.json"]
        assert (folder / "config.json").read_bytes() == (copy / "config.json").read_bytes()
    assert not folder.exists()


OUTSIDE = ("../secret.json", "/etc/passwd", "a/../../secret.json", "..\\secret.json", "", "a\0b")


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize(
    "place", [("config.json", "configuration_files"), ("tokenizer_config.json", "fast_tokenizer_files")]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(copy: Path, name: str, place: tuple[str, str]) -> None:
    file, key = place
    set_json(copy / file, **{key: [name]})
    with pytest.raises(HarnessError, match="in its folder"):
        loading.locate(parse(str(copy)))


def test_a_message_does_not_name_the_temporary_folder(copy: Path) -> None:
    (copy / "tokenizer.json").write_text("{}")
    message = tampering.refusal(copy)
    assert str(copy) in message
    assert "harness-checkpoint" not in message


def test_every_file_name_of_every_tokenizer_class_is_listed() -> None:
    """The names in `VOCAB_FILES_NAMES` of the installed transformers' tokenizers, read from their source."""
    root = Path(str(importlib.util.find_spec("transformers").submodule_search_locations[0]))  # type: ignore[union-attr,index]
    names: set[str] = set()
    for file in root.glob("models/*/tokenization*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "VOCAB_FILES_NAMES":
                values = node.value.values if isinstance(node.value, ast.Dict) else []
                names |= {value.value for value in values if isinstance(value, ast.Constant)}
    assert len(names) > 20, transformers.__version__
    unlisted = {name for name in names if "://" not in name} - {*contents.TOKENIZER}
    assert not unlisted
