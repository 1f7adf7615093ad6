"""Checkpoints made to take all time and memory, to run code, or to lead elsewhere: each is refused in one sentence."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from torch import nn

from harness.checkpoints import (
    capacity,
    files,
    foreign_code,
    gguf_header,
    index_files,
    limits,
    loading,
    safetensors_header,
    tokenizer_files,
)
from harness.checkpoints.capacity import Capacity
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from support.tampering import set_json

CONFIG = Path("config.json")


def refused(function: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """Return the one-line message with which `function` refuses `arguments`."""
    with pytest.raises(HarnessError) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- numbers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_labels", 10**9),
        ("num_hidden_layers", 10**5),
        ("n_layer", 10**6),
        ("num_experts", 10**12),
        ("vocab_size", 10**12),
        ("hidden_size", -64),
        ("num_attention_heads", True),
        ("num_hidden_layers", 2.5),
        ("num_hidden_layers", "2"),
        ("vocab_size", float("nan")),
        ("intermediate_size", float("inf")),
        ("rms_norm_eps", float("nan")),
        ("layer_norm_epsilon", float("inf")),
        ("attention_multiplier", float("nan")),
        ("max_position_embeddings", 10**15),
        ("sliding_window", "x"),
        ("sliding_window", 1.5),
        ("rope_scaling", "linear"),
        ("rope_scaling", {"rope_type": "linear", "factor": 0}),
        ("rope_scaling", {"rope_type": "yarn", "factor": "x"}),
        ("rope_parameters", {"rope_type": "dynamic", "factor": -2}),
        ("rope_parameters", {"full_attention": {"rope_theta": float("nan")}}),
        ("rope_parameters", {"rope_type": "longrope", "short_factor": [1.0] * 10**5}),
        ("dtype", 5),
        ("eos_token_id", list(range(10**5))),
        ("quantization_config", {"ignore": ["re:(.*)*x"]}),
    ],
)
@pytest.mark.parametrize("part", ["whole", "text_config"])
def test_a_number_out_of_all_bounds_is_refused_by_name(name: str, value: Any, part: str) -> None:
    if part == "whole":
        assert f"states {name}" in refused(limits.check_config, CONFIG, {name: value})
    elif name != "quantization_config":
        content = {"text_config": {name: value}}
        if isinstance(value, dict) and "full_attention" in value:
            return
        assert f"text_config.{name}" in refused(limits.check_config, CONFIG, content)


@pytest.mark.parametrize(
    "content",
    [
        {"vocab_size": 262_144, "max_position_embeddings": 10_485_760, "num_key_value_heads": None},
        {"rope_parameters": {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}},
        {"sliding_window": None, "num_experts_per_tok": 8, "time_step_limit": [0.0, float("inf")]},
        {"num_key_value_heads": [1, 2], "head_dim": None, "rope_scaling": {"type": "yarn", "factor": 4.0}},
        {"quantization_config": {"ignore": [r"re:.*lm_head", "model.layers.0"]}, "use_sliding_window": False},
        {"quantization_config": {"dataset": ["(see (a+)+ in *all* (of* them)*)"]}, "num_params": 7_000_000_000},
        {"hidden_size": 4096.0, "max_position_embeddings": 32768.0, "sliding_window": 4096.0, "rope_scaling": False},
        {"max_position_embeddings": -1, "sliding_window": False, "rope_scaling": {}, "suppress_tokens": [5] * 100_001},
    ],
)
def test_usual_numbers_pass(content: dict[str, Any]) -> None:
    limits.check_config(CONFIG, content)


@pytest.mark.parametrize("text", ["[" * 100 + "]" * 100, "[" * 10**6, '{"a":' * 70 + "1" + "}" * 70])
def test_nested_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        limits.parse(text)


def test_a_file_of_absurd_size_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.touch()
    os.truncate(file, 1 << 40)
    assert "1,099,511,627,776 bytes" in refused(files.read_json, file)


# --- the size of a model


def test_a_model_that_outgrows_its_weights_is_not_built() -> None:
    built = 0

    def build(width: int, depth: int) -> None:
        nonlocal built
        for _ in range(depth):
            nn.Sequential(nn.Linear(width, width, device="meta"))
            built += 1

    with capacity.limited(Capacity(100, 10_000), Path("base")):
        build(10, 20)
    for width, depth in ((10**6, 1), (10, 10**9)):
        built = 0
        with capacity.limited(Capacity(100, 10_000), Path("base")):
            assert "base lacks weights" in refused(build, width, depth)
        assert built <= 101


def test_a_tensor_that_replaces_another_counts_once() -> None:
    layer = nn.Linear(50, 50)
    with capacity.limited(Capacity(10, 5000), Path("base")):
        for _ in range(10):
            layer.weight = nn.Parameter(layer.weight.detach())


@pytest.mark.parametrize("changes", [{"vocab_size": 20_000_000}, {"num_hidden_layers": 9000}, {"head_dim": 10**6}])
def test_a_configuration_larger_than_its_weights_is_refused(copy: Path, changes: dict[str, Any]) -> None:
    set_json(copy / "config.json", **changes)
    located = loading.locate(parse(f"{copy},device=cpu"))
    assert "its config.json describes a model of more than" in refused(loading.load, located)


# --- code and the network


@pytest.mark.parametrize(
    "content",
    [
        {"attn_implementation": "org/kernel"},
        {"_attn_implementation": "org/kernel@v1:attention"},
        {"_attn_implementation_internal": "paged|org/kernel"},
        {"attn_implementation": {"": "org/kernel"}},
        {"attn_implementation": {"text_config": "org/kernel"}},
        {"text_config": {"attn_implementation": ["org/kernel"]}},
        {"attn_implementation": 5},
        {"experts_implementation": "sonic-moe"},
        {"experts_implementation": "sonicmoe"},
        {"_experts_implementation": "deepgemm"},
        {"_moe_implementation": "org/kernel"},
        {"use_kernels": True},
        {"kernel_config": {"RMSNorm": "org/kernel:RMSNorm"}},
        {"vision_config": {"use_pretrained_backbone": True}},
    ],
)
def test_code_that_is_not_part_of_transformers_needs_trust(content: dict[str, Any]) -> None:
    assert "add trust_remote_code=true" in refused(foreign_code.check, CONFIG, content, is_trusted=False)
    foreign_code.check(CONFIG, content, is_trusted=True)


@pytest.mark.parametrize("name", ["../x.json", "/etc/passwd", "a/b.json", "..", 5, ["tokenizer.json", "../x"], ""])
@pytest.mark.parametrize("setting", ["configuration_files", "fast_tokenizer_files", "transformers_weights"])
def test_a_file_elsewhere_is_refused_even_with_trust(name: Any, setting: str) -> None:
    assert setting in refused(foreign_code.check, CONFIG, {setting: name}, is_trusted=True)


def test_built_in_implementations_pass() -> None:
    content = {"attn_implementation": "sdpa", "_attn_implementation": None, "conv_kernel": 4, "kernel_size": [1, 2]}
    others = {"_attn_implementation_autoset": True, "_moe_implementation": "fused", "label2id": {"implementation": 5}}
    foreign_code.check(CONFIG, {**content, **others}, is_trusted=False)


@pytest.mark.parametrize("is_trusted", [False, True])
def test_the_hub_is_out_of_reach_while_a_checkpoint_is_loaded(
    is_trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with foreign_code.no_hub(is_trusted=is_trusted):
        assert constants.HF_HUB_OFFLINE is not is_trusted
    assert constants.HF_HUB_OFFLINE is False


# --- the index of the weights


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "/etc/model.safetensors",
        "a/../../model.safetensors",
        "..\\model.safetensors",
        "C:\\model.safetensors",
        "~/model.safetensors",
        "http://x/model.safetensors",
        "a\0.safetensors",
        "a" * 300 + ".safetensors",
        "a/" * 20 + "model.safetensors",
        "",
        "config.json",
        "pytorch_model.bin",
        "model.py",
    ],
)
def test_a_name_that_is_no_weight_file_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    listing = tmp_path / "model.safetensors.index.json"
    assert "which is not a file" in refused(index_files.named_files, listing, {"weight_map": {"w": name}})


@pytest.mark.parametrize("index", [None, [], {}, {"w": 5}, {"w": ["a.safetensors"]}])
def test_an_index_without_names_is_refused(tmp_path: Path, index: Any) -> None:
    assert "no weight_map" in refused(index_files.named_files, tmp_path / "x.index.json", {"weight_map": index})


def test_shards_may_be_links_to_a_store(copy: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    shard = "model-00001-of-00001.safetensors"
    (copy / "model.safetensors").rename(store / "5f3a")
    (copy / shard).symlink_to(store / "5f3a")
    index = {"metadata": {}, "weight_map": dict.fromkeys(files.tensor_dtypes([copy / shard]), shard)}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert loading.load(loading.locate(parse(f"{copy},device=cpu"))).parameters


# --- headers


def safetensors(file: Path, header: str | dict[str, Any], data: bytes = b"\0" * 8) -> Path:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return file


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "header",
    [
        "[" * 100_000,
        "[]",
        '{"a": ' * 200 + "1" + "}" * 200,
        '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {"dtype": "F32", "shape": [1], '
        '"data_offsets": [4, 8]}}',
        {"a": 5},
        {"a": entry(dtype=5)},
        {"a": entry(shape=[-1])},
        {"a": entry(shape=[1.0])},
        {"a": entry(shape=[True])},
        {"a": entry(shape="1")},
        {"a": entry(shape=[10**30])},
        {"a": entry(offsets=[0])},
        {"a": entry(offsets=[0, 4, 8])},
        {"a": entry(offsets=[4, 0])},
        {"a": entry(offsets=[-4, 0])},
        {"a": entry(offsets=[0, 10**18])},
        {"a": entry(offsets=["0", "4"])},
        {"a": entry(), "b": entry()},
        {"a": entry(), "b": entry(offsets=[8, 12])},
        {"a": entry(shape=[2], offsets=[0, 8]), "b": entry(offsets=[4, 8])},
        {"a": entry(), "__metadata__": [[]] * 3, "b": entry(offsets=[8, 12])},
        '{"a": {"dtype": "F32", "dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}',
        '{"a": {"dtype": "F32", "shape": [1], "data\\u005foffsets": [0, 4]}, "a": {"dtype": "F32", "shape": [1], '
        '"data_offsets": [0, 4]}}',
        '{"__metadata__": {"format": "pt"}, "__metadata__": {}, "a": {"dtype": "F32", "shape": [1], '
        '"data_offsets": [0, 4]}}',
    ],
)
def test_a_safetensors_header_that_contradicts_itself_is_refused(tmp_path: Path, header: Any) -> None:
    message = refused(safetensors_header.read, safetensors(tmp_path / "a.safetensors", header))
    assert "has a malformed header" in message
    assert len(message) < 500


def test_a_header_is_parsed_once_and_again_after_any_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = safetensors(tmp_path / "a.safetensors", {"__metadata__": {"format": "pt"}, "dtype": entry()})
    time = file.stat().st_mtime_ns
    header = safetensors_header.read(file)
    assert safetensors_header.read(file) is header
    safetensors(file, {"__metadata__": {"format": "pt"}, "dtypf": entry()})
    os.utime(file, ns=(time, time))
    assert list(safetensors_header.read(file).tensors) == ["dtypf"]
    monkeypatch.setattr(safetensors_header, "_REMEMBERED", 0)
    safetensors_header.read(file)
    assert not safetensors_header._parsed_headers


@pytest.mark.parametrize("length", [0, 2**63, 2**40, 40 << 20])
def test_a_safetensors_header_of_absurd_length_is_not_read(tmp_path: Path, length: int) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(struct.pack("<Q", length))
    os.truncate(file, 1 << 41)
    assert "is not a safetensors file" in refused(safetensors_header.read, file)


def gguf(file: Path, body: bytes, settings: int = 1, tensors: int = 0) -> Path:
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, tensors, settings) + body)
    os.truncate(file, 1 << 40)
    return file


KEY = struct.pack("<Q", 1) + b"k"


@pytest.mark.parametrize(
    ("body", "settings", "tensors"),
    [
        (b"", 2**60, 0),
        (b"", 0, 2**60),
        (struct.pack("<Q", 2**40), 1, 0),
        (struct.pack("<Q", 2**39), 1, 0),
        (KEY + struct.pack("<IQ", 8, 2**38), 1, 0),
        (KEY + struct.pack("<IIQ", 9, 4, 2**40), 1, 0),
        (KEY + struct.pack("<IIQ", 9, 12, 2**62), 1, 0),
        (KEY + struct.pack("<IIQ", 9, 8, 2**40), 1, 0),
        (KEY + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 100_000, 1, 0),
        (KEY + struct.pack("<I", 99), 1, 0),
    ],
)
def test_an_absurd_gguf_header_is_refused(tmp_path: Path, body: bytes, settings: int, tensors: int) -> None:
    message = refused(gguf_header.read, gguf(tmp_path / "a.gguf", body, settings, tensors))
    assert "is truncated or damaged inside its header" in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.block_count", 10**9),
        ("llama.attention.head_count", [8, 10**6]),
        ("llama.expert_count", -1),
        ("llama.expert_count", 1.5),
        ("llama.context_length", 10**15),
        ("llama.block_count", "x"),
    ],
)
def test_a_gguf_setting_out_of_all_bounds_is_refused_by_name(key: str, value: Any) -> None:
    assert f"states {key}" in refused(gguf_header._check_settings, {key: value}, Path("a.gguf"))


# --- tokenizers


def backend(folder: Path, **changes: Any) -> None:
    set_json(folder / "tokenizer.json", **changes)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("tokenizer_config.json", {"model_max_length": "x"}),
        ("tokenizer_config.json", {"model_max_length": True}),
        ("tokenizer_config.json", {"chat_template": 5}),
        ("tokenizer_config.json", {"chat_template": "x" * 2_000_000}),
        ("tokenizer_config.json", {"bos_token": 5}),
        ("tokenizer_config.json", {"tokenizer_class": "AutoModel"}),
        ("tokenizer_config.json", {"tokenizer_class": ["os"]}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"-1": {"content": "x"}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"9999999999": {"content": "x"}}}),
        ("tokenizer_config.json", {"fast_tokenizer_files": ["../tokenizer.5.0.0.json"]}),
        ("tokenizer.json", {"normalizer": {"type": "Prepend", "prepend": "a" * 10**5}}),
        ("tokenizer.json", {"normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10**5}}),
        ("tokenizer.json", {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}}}),
        ("tokenizer.json", {"post_processor": {"type": "TemplateProcessing", "single": [{}] * 100}}),
        ("tokenizer.json", {"added_tokens": [{"id": 1, "content": "a" * 10**5}]}),
        ("tokenizer.json", {"added_tokens": [1] * 300_001}),
    ],
)
def test_a_tokenizer_out_of_all_bounds_is_refused(copy: Path, name: str, changes: dict[str, Any]) -> None:
    set_json(copy / name, **changes)
    message = refused(tokenizer_files.checked, copy, is_trusted=False)
    assert str(copy / name) in message
    assert len(message) < 500


@pytest.mark.parametrize("name", ["tokenizer.json", "merges.txt", "vocab.txt", "tokenizer.model", "x.tiktoken",
                                  "chat_template.jinja", "added_tokens.json"])  # fmt: skip
def test_a_tokenizer_file_of_absurd_size_is_not_read(copy: Path, name: str) -> None:
    (copy / name).touch()
    os.truncate(copy / name, 1 << 40)
    assert "bytes, and no checkpoint needs more" in refused(tokenizer_files.checked, copy, is_trusted=False)


def test_an_id_without_an_embedding_is_refused(copy: Path) -> None:
    pieces = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    special = {"<s>": {"id": "<s>", "ids": [10**9], "tokens": ["<s>"]}}
    steps = {"type": "TemplateProcessing", "single": pieces, "pair": [], "special_tokens": special}
    backend(copy, post_processor=steps)
    located = loading.locate(parse(f"{copy},device=cpu"))
    assert "the largest id is 1,000,000,000" in refused(loading.load, located)


def test_a_panic_of_a_tokenizer_is_one_sentence(copy: Path) -> None:
    class Panic(BaseException):
        """What a library in Rust raises."""

    def tokenizer(*_: object, **__: object) -> None:
        raise Panic("index out of bounds\nat line 5")

    tokenizer.name_or_path = "base"  # type: ignore[attr-defined]
    assert "the tokenizer base fails on a text (index out of bounds" in refused(tokenizer_files.ids, tokenizer, ["a"])
