"""Models quantised by ChatGLM's own method: while loading, from saved codes, with adapters, and in real sizes."""

from __future__ import annotations

import json
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, GlmConfig, GlmForCausalLM

from harness.checkpoints import configs, identity, loading, quantization
from harness.checkpoints.chatglm.model import ChatGLMConfig, ChatGLMForConditionalGeneration
from harness.checkpoints.chatglm.quantized import QuantizedLinear, quantize
from harness.checkpoints.chatglm.quantizer import METHOD, ChatGLMQuantizationConfig, replace_linears
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from support import tiny
from support.tampering import copied, load, logits, refusal, set_json, set_weights
from support.trained_adapters import LEARNED, lora_method, trained

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_up_proj", "down_proj")
MODULES = [f"model.layers.{i}.self_attn.{name}" for i in (0, 1) for name in ATTENTION]
MODULES += [f"model.layers.{i}.mlp.{name}" for i in (0, 1) for name in MLP]


@pytest.fixture(scope="module")
def glm(tmp_path_factory) -> Path:
    """A tiny GLM in float16 with biases of queries, keys and values, as ChatGLM2 has."""
    folder, words = tmp_path_factory.mktemp("chatglm") / "glm", tiny.tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GlmForCausalLM(tiny_config(words)).half()
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(weight)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def tiny_config(words) -> GlmConfig:
    return GlmConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        attention_bias=True,
        max_position_embeddings=512,
        initializer_range=0.3,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )


def codes(weights: dict[str, torch.Tensor], bits: int) -> dict[str, torch.Tensor]:
    """Return `weights` with the block linears quantised, in the names and dtypes of the published code."""
    state = {}
    for name, weight in weights.items():
        if name.removesuffix(".weight") in MODULES:
            state[name], state[f"{name}_scale"] = quantize(weight, bits)
        else:
            state[name] = weight
    return state


def saved(glm: Path, folder: Path, bits: int) -> Path:
    """Copy `glm` to `folder` with codes and scales for weights; return `folder`."""
    copied(glm, folder)
    save_file(
        codes(load_file(glm / "model.safetensors"), bits), folder / "model.safetensors", metadata={"format": "pt"}
    )
    set_json(folder / "config.json", quantization_config={"quant_method": METHOD, "bits": bits})
    return folder


def dequantized(glm: Path, folder: Path, bits: int) -> Path:
    """Copy `glm` to `folder` with the plain float32 weights that its codes and scales mean; return `folder`."""
    copied(glm, folder)

    def change(weights: dict[str, torch.Tensor]) -> None:
        for name in MODULES:
            weight = weights[f"{name}.weight"].float()
            scale = (weight.abs().amax(1) / (127 if bits == 8 else 7)).half()
            quotient = (weight / scale.float()[:, None]).half().float()
            weights[f"{name}.weight"] = quotient.round() * scale.float()[:, None]

    set_weights(folder / "model.safetensors", change)
    return folder


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_quantised_while_loading_is_loaded_from_codes_bit_for_bit(glm, tmp_path, bits, dtype):
    on_the_fly = load(f"{glm},quantize=chatglm-int{bits},dtype={dtype}").model
    from_codes = load(f"{saved(glm, tmp_path / 'saved', bits)},dtype={dtype}").model
    expected = codes(load_file(glm / "model.safetensors"), bits)
    for model in (on_the_fly, from_codes):
        state = model.state_dict()
        assert set(state) == set(expected)
        for name, value in state.items():
            is_coded = name.removesuffix("_scale").removesuffix(".weight") in MODULES
            assert value.dtype == (expected[name].dtype if is_coded else getattr(torch, dtype)), name
            assert torch.equal(value, expected[name].to(value.dtype)), name
    assert torch.equal(logits(on_the_fly), logits(from_codes))


@pytest.mark.parametrize("bits", [8, 4])
def test_logits_are_those_of_the_plain_weights_that_the_codes_mean(glm, tmp_path, bits):
    model = load(f"{glm},quantize=chatglm-int{bits}").model
    expected = AutoModelForCausalLM.from_pretrained(dequantized(glm, tmp_path / "plain", bits), dtype=torch.float32)
    assert torch.allclose(logits(model), logits(expected.eval()), atol=1e-4)
    assert not torch.allclose(logits(model), logits(load(glm).model), atol=1e-2)


def test_only_the_linear_layers_of_blocks_are_quantised(glm):
    model = load(f"{glm},quantize=chatglm-int4").model
    assert sorted(name for name, module in model.named_modules() if isinstance(module, QuantizedLinear)) == sorted(
        MODULES
    )
    assert type(model.lm_head) is nn.Linear
    assert not any(
        parameter.requires_grad for name, parameter in model.named_parameters() if parameter.dtype == torch.int8
    )


def test_a_state_without_a_folder_is_quantised_weight_by_weight(glm):
    class Lazy:
        """A weight that is read when it is needed, and counted as long as it is in memory."""

        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor

        def __getitem__(self, index):
            reads.append(self)
            return self.tensor.clone()

    reads: list[Lazy] = []
    weights = load_file(glm / "model.safetensors")
    model = GlmForCausalLM.from_pretrained(
        None,
        config=GlmConfig.from_pretrained(glm),
        state_dict={name: Lazy(weight) for name, weight in weights.items()},
        quantization_config=ChatGLMQuantizationConfig(bits=4),
        dtype=torch.float32,
    )
    assert len(reads) == len(weights)
    assert torch.equal(logits(model.eval()), logits(load(f"{glm},quantize=chatglm-int4").model))


def test_a_saved_model_loads_again(glm, tmp_path):
    model = load(f"{glm},quantize=chatglm-int4").model
    folder = copied(glm, tmp_path / "again")
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["quantization_config"] == {
        "bits": 4,
        "quant_method": METHOD,
    }
    checkpoint = load(folder)
    assert checkpoint.located.quantization_name == "chatglm-int4"
    assert torch.equal(logits(checkpoint.model), logits(model))


@pytest.mark.parametrize("bits", [8, 4])
def test_lora_on_quantised_weights_answers_as_on_the_plain_ones_that_they_mean(glm, tmp_path, bits):
    method = peft.LoraConfig(r=4, target_modules=["q_proj", "gate_up_proj", "down_proj"], modules_to_save=["lm_head"])
    adapter = trained(tmp_path / "adapter", glm, method)
    plain = dequantized(glm, tmp_path / "plain", bits)
    expected = load(f"{plain},adapter={adapter}")
    checkpoint = load(f"{adapter},quantize=chatglm-int{bits}")
    assert checkpoint.adapter_parameters == expected.adapter_parameters
    assert torch.allclose(logits(checkpoint.model), logits(expected.model), atol=1e-4)


def test_a_prefix_on_quantised_weights_starts_as_on_plain_ones(glm, tmp_path):
    adapter = trained(tmp_path / "adapter", glm, LEARNED["prefix"])
    checkpoint, plain = load(f"{adapter},quantize=chatglm-int4"), load(adapter)
    assert checkpoint.adapter_effect
    assert checkpoint.root.length == plain.root.length
    assert not checkpoint.rounds_activations


def test_adapters_that_need_plain_weights_are_refused(glm, tmp_path):
    dora = trained(tmp_path / "dora", glm, lora_method(use_dora=True))
    message = refusal(f"{dora},quantize=chatglm-int4")
    assert "DoRA needs the base's floating-point weights, which chatglm-int4 does not keep: int4 does" in message
    pissa = trained(tmp_path / "pissa", glm, lora_method(init_lora_weights="pissa"))
    message = refusal(f"{pissa},quantize=chatglm-int8")
    assert "pissa starts from the base's floating-point weights, which chatglm-int8 does not keep" in message
    other = trained(tmp_path / "boft", glm, peft.BOFTConfig(boft_block_size=4, target_modules=["q_proj"]))
    assert "BOFT is not supported there, LoRA and prompt learning are" in refusal(f"{other},quantize=chatglm-int8")


def test_another_model_is_refused(base):
    message = refusal(f"{base},quantize=chatglm-int4")
    assert message.endswith("is a llama, and chatglm-int4 is only for ChatGLM: write quantize=int4")


def test_codes_are_not_quantised_again(glm, tmp_path):
    folder = saved(glm, tmp_path / "saved", 4)
    for name in ("chatglm-int4", "int8"):
        message = refusal(f"{folder},quantize={name}")
        assert f"is already quantised (chatglm-int4): leave quantize={name} out" in message


@pytest.mark.parametrize("bits", [3, "4", None, [4]])
def test_saved_settings_with_other_bits_are_refused(glm, tmp_path, bits):
    folder = saved(glm, tmp_path / "saved", 4)
    set_json(folder / "config.json", quantization_config={"quant_method": METHOD, "bits": bits})
    assert "ChatGLM's quantisation has 8 or 4 bits" in refusal(folder)


def test_codes_of_other_bits_than_stated_are_refused(glm, tmp_path):
    folder = saved(glm, tmp_path / "saved", 8)
    set_json(folder / "config.json", quantization_config={"quant_method": METHOD, "bits": 4})
    assert "has weights of other sizes" in refusal(folder)


@pytest.mark.parametrize("name", ["mlp.down_proj.weight", "self_attn.q_proj.weight_scale", "self_attn.k_proj.bias"])
def test_a_missing_part_of_a_saved_layer_is_named(glm, tmp_path, name):
    folder = saved(glm, tmp_path / "saved", 4)
    set_weights(folder / "model.safetensors", lambda weights: weights.pop(f"model.layers.1.{name}"))
    assert f"lacks weights (model.layers.1.{name})" in refusal(folder)


def test_a_missing_plain_weight_and_one_of_another_size_are_named(glm, tmp_path):
    name = "model.layers.0.mlp.down_proj.weight"
    missing = copied(glm, tmp_path / "missing")
    set_weights(missing / "model.safetensors", lambda weights: weights.pop(name))
    assert f"lacks weights ({name}" in refusal(f"{missing},quantize=chatglm-int4")
    smaller = copied(glm, tmp_path / "smaller")
    set_weights(smaller / "model.safetensors", lambda weights: weights.update({name: torch.zeros(64, 32)}))
    assert f"has weights of other sizes ({name} is (64, 32)" in refusal(f"{smaller},quantize=chatglm-int8")


def test_an_odd_number_of_inputs_is_refused_before_weights_are_read(glm, tmp_path):
    folder = copied(glm, tmp_path / "odd")
    set_json(folder / "config.json", intermediate_size=95)
    message = refusal(f"{folder},quantize=chatglm-int4")
    assert "a layer with 95 inputs cannot be quantised to 4 bits" in message


def test_bytes_and_parameters_and_fingerprint(glm):
    references = [f"{glm},dtype=float16", *(f"{glm},dtype=float16,quantize=chatglm-int{bits}" for bits in (8, 4))]
    located = [loading.locate(parse(reference)) for reference in references]
    plain, int8, int4 = (loading.load(place) for place in located)
    assert plain.parameters == int8.parameters == int4.parameters
    linear = 2 * (64 * 64 * 2 + 32 * 64 * 2 + 192 * 64 + 64 * 96)
    rows = 2 * (64 + 32 + 32 + 64 + 192 + 64)
    assert plain.memory_bytes - int8.memory_bytes == linear - 2 * rows
    assert int8.memory_bytes - int4.memory_bytes == linear // 2
    parameters, body, _ = configs.size(located[2])
    expected = quantization.expected_bytes(located[2].quantization, parameters, body, 2)
    assert expected == pytest.approx(int4.memory_bytes, rel=0.03)
    assert len({identity.fingerprint(place) for place in located}) == 3


def chatglm2_6b() -> nn.Module:
    return GlmForCausalLM(
        GlmConfig(
            vocab_size=65024,
            hidden_size=4096,
            intermediate_size=13696,
            num_hidden_layers=28,
            num_attention_heads=32,
            num_key_value_heads=2,
            head_dim=128,
            attention_bias=True,
            tie_word_embeddings=False,
            pad_token_id=0,
        )
    )


def chatglm_6b() -> nn.Module:
    return ChatGLMForConditionalGeneration(ChatGLMConfig(tie_word_embeddings=True))


@pytest.mark.parametrize(
    ("build", "bits", "size"),
    [
        (chatglm2_6b, None, 12_487_168_000),
        (chatglm2_6b, 8, 6_778_873_856),
        (chatglm2_6b, 4, 3_923_601_408),
        (chatglm_6b, None, 12_346_572_800),
        (chatglm_6b, 8, 6_711_492_608),
        (chatglm_6b, 4, 3_892_920_320),
    ],
)
def test_a_model_takes_as_many_bytes_as_its_published_files(build, bits, size):
    with torch.device("meta"):
        model = build().half()
    if bits:
        replace_linears(model, bits)
    tensors = {id(value): value for value in model.state_dict(keep_vars=True).values()}
    assert sum(value.numel() * value.element_size() for value in tensors.values()) == size
    computed = [value for name, value in model.named_buffers() if "weight_scale" not in name]  # angles
    assert quantization.bytes_in_memory(model) == size + sum(value.numel() * value.element_size() for value in computed)


@pytest.mark.parametrize(
    "name", ["attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"]
)
def test_layers_with_the_published_names_are_quantised_in_blocks_only(name):
    model, parent = nn.Module(), name.partition(".")[0]
    model.transformer = nn.Module()
    model.transformer.prefix_encoder = nn.ModuleDict({"trans": nn.Sequential(nn.Linear(4, 4))})
    block = nn.ModuleDict({parent: nn.ModuleDict({name.partition(".")[2]: nn.Linear(4, 6)})})
    model.transformer.layers = nn.ModuleList([block])
    model.lm_head = nn.Linear(4, 4)
    replace_linears(model, 8)
    coded = {key for key, module in model.named_modules() if isinstance(module, QuantizedLinear)}
    assert coded == {f"transformer.layers.0.{name}"}
    assert model.get_submodule(f"transformer.layers.0.{name}").bias is not None


def test_a_model_without_such_layers_is_refused():
    with pytest.raises(HarnessError, match="has no layers that ChatGLM's quantisation covers"):
        replace_linears(nn.Sequential(nn.Linear(4, 4)), 8)
