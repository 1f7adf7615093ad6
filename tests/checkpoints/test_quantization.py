"""Quantised checkpoints answer as bitsandbytes quantises them, without settings that make rows depend on each other."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from harness.checkpoints import configs, identity, loading, quantization
from harness.checkpoints.adapters.attach import check_fit
from harness.checkpoints.reference import parse
from support import tiny
from support.tampering import copied, load, logits, refusal, set_json
from support.trained_adapters import lora_method, trained

CONFIGS = {
    "int8": BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0),
    "int4": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32),
    "fp4": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="fp4", bnb_4bit_compute_dtype=torch.float32),
}


def by_transformers(base: Path, config: BitsAndBytesConfig | None = None):
    """Return the model that transformers' own loader makes with `config`, or with the saved one."""
    arguments = {"quantization_config": config} if config else {}  # None would remove the saved one
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, device_map={"": "cpu"}, **arguments).eval()


@pytest.fixture(params=["int8", "nf4", "saved with the default threshold"])
def saved(request, base, tmp_path) -> Path:
    """A checkpoint that bitsandbytes quantised before it was saved."""
    config = {"int8": CONFIGS["int8"], "nf4": CONFIGS["int4"]}.get(request.param, BitsAndBytesConfig(load_in_8bit=True))
    folder = copied(base, tmp_path / "saved")
    (folder / "model.safetensors").unlink()
    by_transformers(base, config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_a_quantised_checkpoint_answers_as_the_library_that_quantises(base, name):
    model = load(f"{base},quantize={name}").model
    assert torch.equal(logits(model), logits(by_transformers(base, CONFIGS[name])))
    assert not torch.equal(logits(model), logits(load(base).model))


def test_the_cast_of_every_int8_layer_is_not_logged_and_other_records_are(base, caplog):
    model = load(f"{base},quantize=int8").model
    caplog.clear()
    with caplog.at_level("WARNING", "bitsandbytes"):
        logits(model)
        logging.getLogger("bitsandbytes.autograd._functions").warning("something else")
    assert [record.getMessage() for record in caplog.records] == ["something else"]


def test_a_saved_quantised_checkpoint_answers_as_the_library_that_saved_it(saved):
    config = json.loads((saved / "config.json").read_text())["quantization_config"]
    checkpoint = load(saved)
    set_json(saved / "config.json", quantization_config={**config, "llm_int8_threshold": 0.0})
    expected = by_transformers(saved)
    assert checkpoint.located.quantization.name == ("int8" if config["load_in_8bit"] else "nf4")
    assert checkpoint.located.quantization.saved
    assert torch.equal(logits(checkpoint.model), logits(expected))


def test_lora_on_a_saved_quantised_checkpoint_answers_as_peft(saved, base, tmp_path):
    adapter = tiny.lora(tmp_path / "adapter", base)
    located = loading.locate(parse(f"{saved},adapter={adapter}"))
    check_fit(located.adapter_config, configs.empty_model(located))
    checkpoint = load(f"{saved},adapter={adapter}")
    config = json.loads((saved / "config.json").read_text())["quantization_config"]
    set_json(saved / "config.json", quantization_config={**config, "llm_int8_threshold": 0.0})
    expected = peft.PeftModel.from_pretrained(by_transformers(saved), str(adapter)).eval()
    assert torch.equal(logits(checkpoint.model), logits(expected))


def test_the_threshold_of_a_saved_checkpoint_is_not_used(saved):
    settings = load(saved).model.config.quantization_config
    assert settings.llm_int8_threshold == 0.0
    assert settings.bnb_4bit_compute_dtype == torch.float32


def test_four_bit_weights_compute_in_the_dtype_of_the_reference(base):
    layer = load(f"{base},quantize=int4,dtype=bfloat16").model.model.layers[0].mlp.up_proj
    assert layer.compute_dtype == torch.bfloat16
    assert load(f"{base},quantize=int4").model.model.layers[0].mlp.up_proj.compute_dtype == torch.float32


@pytest.mark.parametrize("name", ["int4", "fp4"])
def test_four_bit_weights_answer_the_same_on_a_cpu_with_bfloat16_kernels(base, name, monkeypatch):
    expected = logits(load(f"{base},quantize={name}").model)
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)
    assert torch.equal(logits(load(f"{base},quantize={name}").model), expected)


def test_memory_falls_with_the_bits_and_is_counted_to_the_byte(base):
    sizes = {key: load(f"{base},{key}").memory_bytes for key in ("dtype=float32", "dtype=bfloat16")}
    sizes |= {key: load(f"{base},{key},dtype=bfloat16").memory_bytes for key in ("quantize=int8", "quantize=int4")}
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True)
    parameters, body, _ = configs.size(loading.locate(parse(str(base))))
    frequencies = 2 * 8 * 4  # of rotary positions, which transformers stores twice
    linear = body - 5 * 64  # the norms stay as they are
    assert sizes["dtype=float32"] == 4 * parameters + frequencies
    rows = 2 * (64 + 2 * 32 + 64 + 2 * 128 + 64)  # a float32 scale for every output of 8-bit layers
    assert sizes["quantize=int8"] == 2 * (parameters - linear) + linear + 4 * rows + frequencies
    assert sizes["quantize=int4"] == 2 * (parameters - linear) + linear // 2 + linear // 64 * 4 + frequencies


def test_parameters_are_counted_before_quantisation_packs_them(base):
    assert load(f"{base},quantize=int4").parameters == load(base).parameters == 123_200


def test_every_quantisation_has_a_fingerprint_of_its_own(base):
    references = [str(base), *(f"{base},quantize={name}" for name in CONFIGS)]
    fingerprints = {identity.fingerprint(loading.locate(parse(reference))) for reference in references}
    assert len(fingerprints) == 4


@pytest.mark.parametrize("name", CONFIGS)
def test_lora_on_a_quantised_base_answers_as_peft(base, tmp_path, name):
    adapter = tiny.lora(tmp_path / "adapter", base)
    expected = peft.PeftModel.from_pretrained(by_transformers(base, CONFIGS[name]), str(adapter)).eval()
    assert torch.equal(logits(load(f"{adapter},quantize={name}").model), logits(expected))


def test_dora_works_on_four_bits_and_is_refused_on_eight(base, tmp_path):
    adapter = trained(tmp_path / "adapter", base, lora_method(use_dora=True))
    expected = peft.PeftModel.from_pretrained(by_transformers(base, CONFIGS["int4"]), str(adapter)).eval()
    assert torch.equal(logits(load(f"{adapter},quantize=int4").model), logits(expected))
    message = refusal(f"{adapter},quantize=int8")
    assert "DoRA needs the base's floating-point weights, which int8 does not keep" in message


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_an_adapter_that_starts_from_the_base_s_weights_is_refused_on_quantised_ones(base, tmp_path, init):
    adapter = trained(tmp_path / "adapter", base, lora_method(init_lora_weights=init))
    assert f"{init} starts from the base's floating-point weights" in refusal(f"{adapter},quantize=int4")


def test_a_method_that_peft_cannot_put_on_quantised_weights_is_refused_by_name(base, tmp_path):
    method = peft.BOFTConfig(boft_block_size=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    message = refusal(f"{trained(tmp_path / 'adapter', base, method)},quantize=int8")
    assert "peft has no BOFT layers for weights that bitsandbytes quantised" in message


def test_quantised_weights_are_not_quantised_again(saved):
    assert "is already quantised" in refusal(f"{saved},quantize=int4")


def test_an_unknown_quantisation_is_refused(base):
    assert "quantize is one of int8, int4, fp4, chatglm-int8, chatglm-int4, not 'int3'" in refusal(
        f"{base},quantize=int3"
    )


@pytest.mark.parametrize(
    ("stated", "missing"),
    [
        ({"quant_method": "gptq", "bits": 3, "group_size": 128, "desc_act": False}, "optimum"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemv"}, "gptqmodel"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {}}, "compressed"),
        ({"quant_method": "made-up"}, "made-up"),
        ({"quant_method": "int8", "load_in_8bit": True, "load_in_4bit": True}, "both True"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["quant_method"],
)
def test_a_package_that_a_saved_checkpoint_needs_is_named(base, tmp_path, monkeypatch, stated, missing):
    for method in ("gptq", "awq", "compressed_tensors"):
        for package in ("optimum", "gptqmodel", "compressed_tensors"):
            module = f"transformers.quantizers.quantizer_{method}.is_{package}_available"
            monkeypatch.setattr(module, lambda: False, raising=False)
    folder = copied(base, tmp_path / "other")
    set_json(folder / "config.json", quantization_config=stated)
    message = refusal(folder)
    assert missing in message
    assert f" in {stated['quant_method']} cannot be used here" in message


def test_fp8_weights_are_unpacked_if_no_gpu_can_multiply_them(base, tmp_path):
    folder, scale = copied(base, tmp_path / "fp8"), 1 / 64
    tensors, packed = load_file(folder / "model.safetensors"), {}
    for key, value in tensors.items():
        if "_proj" in key:
            packed[key] = (value / scale).to(torch.float8_e4m3fn)
            packed[f"{key}_scale_inv"] = torch.full((value.shape[0] // 32, value.shape[1] // 32), scale)
        else:
            packed[key] = value
    save_file(packed, folder / "model.safetensors", metadata={"format": "pt"})
    stated = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [32, 32]}
    set_json(folder / "config.json", quantization_config=stated)
    plain = {key: value.float() * (scale if value.dtype == torch.float8_e4m3fn else 1) for key, value in packed.items()}
    expected = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    expected.load_state_dict({key: value for key, value in plain.items() if not key.endswith("_scale_inv")})
    checkpoint = load(f"{folder},device=cpu")
    assert checkpoint.located.quantization.name == "fp8"
    assert torch.equal(logits(checkpoint.model), logits(expected.eval()))


def test_the_expected_bytes_are_those_in_memory_except_for_norms(base):
    located = loading.locate(parse(f"{base},quantize=int4,dtype=bfloat16"))
    parameters, body, _ = configs.size(located)
    expected = quantization.expected_bytes(located.quantization, parameters, body, 2)
    assert expected == pytest.approx(load(f"{base},quantize=int4,dtype=bfloat16").memory_bytes, rel=0.01)
