"""GGUF files answer as the weights in them, with their own tokenizer; what transformers would ignore stops the run."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import gguf
import numpy as np
import peft
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from harness.checkpoints import discovery, identity, inspection, loading
from harness.checkpoints.adapters import merging
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from support import tiny
from support.gguf_files import rounded_logits, written, written_by_names
from support.tampering import LFS_POINTER, load, logits, plain, refusal

TEXTS = [*tiny.TEXTS, " 2024, 12.5% of  3 words\n\n</s>x", "emoji 🙂 \t tab"]
SCALING = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


@pytest.fixture(scope="module")
def file(base, tmp_path_factory) -> Path:
    """The base as a file of 8-bit blocks."""
    return written(tmp_path_factory.mktemp("gguf") / "tiny.Q8_0.gguf", base, "Q8_0")


def saved(file: Path, base: Path, folder: Path) -> Path:
    """Save the weights that `file` holds as a folder of transformers; return the folder."""
    model = AutoModelForCausalLM.from_pretrained(base)
    model.load_state_dict(load(file).model.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


# --- answers


@pytest.mark.parametrize(
    ("kind", "name"),
    [("F32", None), ("F16", None), ("BF16", None), ("Q8_0", "q8_0"), ("Q4_0", "q4_0"), ("Q5_1", "q5_1")],
)
def test_a_file_answers_as_the_weights_that_were_written(base, tmp_path, kind, name):
    checkpoint = load(written(tmp_path / "tiny.gguf", base, kind))
    assert torch.equal(logits(checkpoint.model), rounded_logits(base, kind))
    assert checkpoint.located.quantization_name == name
    assert checkpoint.located.dtype == torch.float32
    assert checkpoint.parameters == 123_200
    assert checkpoint.notes == []


SIZES = {
    "vocab_size": 384,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
SETTINGS = {
    "context_length": 512,
    "embedding_length": 64,
    "block_count": 2,
    "feed_forward_length": 128,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
}
RMS = {"attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 10000.0}
GEMMA = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "attention.sliding_window": 128}
OTHERS = {
    "qwen2": ({}, RMS),
    "qwen3": ({"head_dim": 128}, {**RMS, "attention.key_length": 128, "attention.value_length": 128}),
    "gemma2": (
        {"head_dim": 16, "sliding_window": 128},
        {**RMS, **GEMMA, "attention.key_length": 16, "attention.value_length": 16},
    ),
    "starcoder2": ({}, {"attention.layer_norm_epsilon": 1e-5, "rope.freq_base": 10000.0}),
    "stablelm": (
        {},
        {"attention.layer_norm_epsilon": 1e-5, "rope.dimension_count": 4, "use_parallel_residual": False},
    ),
}


@pytest.mark.parametrize(("architecture", "changes", "settings"), [(key, *value) for key, value in OTHERS.items()])
def test_other_architectures_answer_as_the_weights_that_were_written(base, tmp_path, architecture, changes, settings):
    config = AutoConfig.for_model(architecture, **{**SIZES, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        for weight in model.parameters():
            if weight.dim() == 1:
                torch.nn.init.normal_(weight.data, mean=1, std=0.1)
    file = written_by_names(tmp_path / "tiny.gguf", model, base, {**SETTINGS, **settings})
    assert torch.equal(logits(load(file).model), logits(model))


def test_a_rotary_base_that_transformers_would_ignore_is_refused(base, tmp_path):
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("starcoder2", **SIZES), dtype=torch.float32)
    settings = {**SETTINGS, "attention.layer_norm_epsilon": 1e-5, "rope.freq_base": 999999.0}
    message = refusal(written_by_names(tmp_path / "tiny.gguf", model, base, settings))
    assert "sets starcoder2.rope.freq_base to 999999.0, which transformers would ignore" in message


def test_weights_are_dequantised_into_the_dtype_of_the_reference(file):
    exact = load(file).model.state_dict()
    rounded = load(f"{file},dtype=bfloat16").model.state_dict()
    assert all(torch.equal(rounded[key], weight.to(torch.bfloat16)) for key, weight in exact.items())


@pytest.mark.parametrize(("kind", "dtype"), [("F16", torch.float16), ("BF16", torch.bfloat16), ("Q8_0", torch.float32)])
def test_the_dtype_auto_is_the_file_s_own_and_float32_for_blocks(base, tmp_path, kind, dtype):
    file = written(tmp_path / "tiny.gguf", base, kind)
    assert loading.locate(parse(f"{file},dtype=auto,device=cpu")).dtype == dtype


def test_a_folder_with_one_file_is_that_file(file):
    assert loading.locate(parse(str(file.parent))).base == file
    assert identity.fingerprint(loading.locate(parse(str(file.parent)))) == load(file).fingerprint


def test_a_pattern_matches_files(file, base):
    written(file.with_name("tiny.F16.gguf"), base, "F16")
    names = [Path(reference.path).name for reference in discovery.expand([parse(f"{file.parent}/*.gguf")])]
    assert names == ["tiny.F16.gguf", "tiny.Q8_0.gguf"]
    message = refusal(file.parent)
    file.with_name("tiny.F16.gguf").unlink()
    assert f"holds 2 GGUF files (tiny.F16.gguf, tiny.Q8_0.gguf): name one of them, as {file.parent}" in message


def test_a_fingerprint_is_that_of_the_content_and_the_dtype(file, base, tmp_path):
    moved = tmp_path / "moved.gguf"
    moved.write_bytes(file.read_bytes())
    other = written(tmp_path / "other.gguf", base, "Q4_0")
    references = [moved, f"{file},dtype=bfloat16", f"{file},quantize=int8", other]
    moved_print, *others = [identity.fingerprint(loading.locate(parse(str(r)))) for r in references]
    assert moved_print == load(file).fingerprint
    assert len({moved_print, *others}) == 4


def test_a_tokenizer_in_a_file_is_part_of_the_fingerprint_of_another_base(file, base, tmp_path):
    other = written(tmp_path / "other.gguf", base, settings={"tokenizer.ggml.eos_token_id": 5})
    references = [base, f"{base},tokenizer={file}", f"{base},tokenizer={other}"]
    assert len({identity.fingerprint(loading.locate(parse(str(reference)))) for reference in references}) == 3


def test_inspect_states_the_quantisation(file):
    assert (
        inspection.facts(loading.locate(parse(str(file))))["quantised"]
        == "q8_0, dequantised into float32 during loading"
    )
    facts = inspection.facts(loading.locate(parse(f"{file},quantize=int8")))
    assert facts["quantised"].startswith("int8 of q8_0, during loading")


def test_a_label_that_the_weights_contradict_is_not_believed(base, tmp_path):
    label = int(gguf.LlamaFileType.MOSTLY_Q4_K_M)
    file = written(tmp_path / "tiny.gguf", base, "Q8_0", settings={"general.file_type": label})
    assert loading.locate(parse(str(file))).quantization_name == "q8_0"


# --- with an adapter, quantised again, merged


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_weights_quantised_while_loading_answer_as_those_of_a_folder(file, base, tmp_path, quantize):
    folder = saved(file, base, tmp_path / "folder")
    settings = {"int8": {"load_in_8bit": True}, "int4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}}[quantize]
    config = BitsAndBytesConfig(**settings, llm_int8_threshold=0.0, bnb_4bit_compute_dtype=torch.float32)
    expected = AutoModelForCausalLM.from_pretrained(folder, quantization_config=config, device_map={"": "cpu"})
    assert torch.equal(logits(load(f"{file},quantize={quantize}").model), logits(expected.eval()))


def test_an_adapter_on_a_file_answers_as_peft(file, base, lora, tmp_path):
    checkpoint = load(f"{file},adapter={lora}")
    expected = AutoModelForCausalLM.from_pretrained(saved(file, base, tmp_path / "folder"))
    assert torch.equal(logits(checkpoint.model), logits(peft.PeftModel.from_pretrained(expected, str(lora)).eval()))
    assert checkpoint.located.kind == "lora"


def test_a_merged_adapter_answers_as_file_and_adapter(file, lora, tmp_path):
    merged = merging.merge(parse(f"{file},adapter={lora},device=cpu"), tmp_path / "merged")
    assert merged.dtype == torch.float32
    difference = logits(load(merged.folder).model) - logits(load(f"{file},adapter={lora}").model)
    assert float(difference.abs().max()) < 1e-3
    assert load(merged.folder).located.quantization_name is None


# --- what transformers ignores


def test_the_position_factors_of_llama_3_are_applied(tmp_path):
    base = tiny.llama(tmp_path / "base", rope_parameters={"rope_type": "llama3", "rope_theta": 5e5, **SCALING})
    waves = 2 * math.pi * 5e5 ** (np.arange(8) / 8)
    smooth = (8192 / waves - 1) / 3
    factors = np.where(waves < 2048, 1, np.where(waves > 8192, 8, 1 / ((1 - smooth) / 8 + smooth)))
    assert len(set(factors)) > 2
    file = written(tmp_path / "tiny.gguf", base, tensors={"rope_freqs.weight": factors.astype(np.float32)})
    assert torch.equal(logits(load(file).model), plain(base))
    without = written(tmp_path / "without.gguf", base)
    assert not torch.equal(logits(load(without).model), plain(base))


def test_other_position_factors_are_refused(base, tmp_path):
    factors = np.array([1, 2, 3, 4, 5, 6, 7, 8], dtype=np.float32)
    file = written(tmp_path / "tiny.gguf", base, tensors={"rope_freqs.weight": factors})
    assert "(rope_freqs.weight) that are not those of Llama 3" in refusal(file)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0}, "sets llama.rope.scaling.type to yarn"),
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 2.0}, "llama.rope.scaling.type to linear"),
        ({"llama.expert_count": 8}, "sets llama.expert_count to 8"),
        ({"llama.logit_scale": 16.0}, "sets llama.logit_scale to 16.0"),
        ({"llama.attention.sliding_window": 128}, "sets llama.attention.sliding_window to 128"),
        ({"llama.attention.key_length": 32}, "sets llama.attention.key_length to 32"),
        ({"llama.frob": "x"}, "sets llama.frob to x, which transformers would ignore"),
    ],
)
def test_a_setting_that_transformers_would_ignore_is_refused_by_name(base, tmp_path, settings, words):
    file = written(tmp_path / "tiny.gguf", base, settings=settings)
    assert words in refusal(file)
    assert torch.equal(logits(load(f"{file},allow_unexpected_keys=true").model), plain(base))


@pytest.mark.parametrize(
    "settings",
    [
        {"llama.rope.scaling.type": "none"},
        {"llama.expert_count": 0},
        {"llama.attention.key_length": 16},
        {"llama.attention.sliding_window": 4096},
        {"general.license": "mit"},
    ],
)
def test_a_setting_that_changes_nothing_is_accepted(base, tmp_path, settings):
    assert torch.equal(logits(load(written(tmp_path / "tiny.gguf", base, settings=settings)).model), plain(base))


def test_a_tensor_without_a_place_is_refused_by_name(base, tmp_path):
    file = written(tmp_path / "tiny.gguf", base, tensors={"blk.0.attn_frob.weight": np.ones((4, 32), np.float32)})
    message = refusal(file)
    assert "has weights without a place (blk.0.attn_frob.weight): its header, a llama, describes" in message
    assert load(f"{file},allow_unexpected_keys=true").parameters == 123_200


def test_a_missing_tensor_is_refused_by_name(base, tmp_path):
    file = written(tmp_path / "tiny.gguf", base, settings={"llama.block_count": 3})
    assert "lacks weights (model.layers.2." in refusal(file)


# --- files that are not what they seem


def test_an_unknown_architecture_is_refused_by_name(base, tmp_path):
    message = refusal(written(tmp_path / "tiny.gguf", base, architecture="frobnet"))
    assert "architecture frobnet is not supported yet" in message
    assert "update transformers if its architecture 'frobnet' is new" in message


@pytest.mark.parametrize("number", [137, 36])
def test_an_unknown_data_type_is_refused_by_name(base, tmp_path, number):
    file = written(tmp_path / "tiny.gguf", base, "F32")
    content, name = file.read_bytes(), b"blk.0.ffn_up.weight"
    place = content.index(name) + len(name) + 4 + 16
    file.write_bytes(content[:place] + struct.pack("<I", number) + content[place + 4 :])
    message = refusal(file)
    assert f"holds blk.0.ffn_up.weight in ggml's data type {number}, which the package gguf does not know" in message


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.001, 0.01, 0.3, 0.999])
def test_a_truncated_file_is_refused_as_such(file, tmp_path, share):
    content = file.read_bytes()
    (tmp_path / "cut.gguf").write_bytes(content[: int(share * len(content))])
    message = refusal(tmp_path / "cut.gguf")
    assert "is truncated" in message or "is not a GGUF file" in message


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.gguf", LFS_POINTER.encode(), "is a git-lfs pointer"),
        ("a.gguf", b"<html>not found</html>", "is not a GGUF file"),
        ("a.gguf", b"GGUF" + struct.pack("<IQQ", 1, 1, 1), "is a GGUF file of version 1"),
        ("a.gguf", b"GGUF" + struct.pack(">IQQ", 3, 1, 1), "is a GGUF file of big-endian"),
        ("a.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "is truncated or damaged"),
        ("a-00002-of-00003.gguf", b"GGUF", "is part 2 of 3 of a GGUF file"),
    ],
)
def test_other_content_is_refused_as_what_it_is(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    assert words in refusal(tmp_path / name)
    assert words in refusal(tmp_path)


@pytest.mark.parametrize("kind", ["adapter", "mmproj", "imatrix"])
def test_a_file_of_another_kind_is_refused(base, tmp_path, kind):
    file = written(tmp_path / "tiny.gguf", base, settings={"general.type": kind})
    assert f"holds no whole model, but what llama.cpp calls '{kind}'" in refusal(file)


def test_a_missing_file_is_not_searched_on_the_hub(tmp_path):
    assert "there is no file org/model.gguf: check the path" in refusal("org/model.gguf")


def test_the_package_is_named_if_it_is_missing(file, monkeypatch):
    monkeypatch.setattr("harness.checkpoints.gguf.find_spec", lambda name: None)
    with pytest.raises(HarnessError, match=r"needs the package gguf: install it with pip install .*\[gguf\]"):
        loading.locate(parse(str(file)))
