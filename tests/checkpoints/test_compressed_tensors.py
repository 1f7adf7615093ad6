"""Folders of compressed-tensors answer as the numbers that were written, with activations rounded where it says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from support import tiny
from support.tampering import copied, load, logits, refusal, set_json, set_weights

GROUP = 128
Encoded = tuple[dict[str, torch.Tensor], torch.Tensor]
INT8_INPUTS = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}


def settings(kind: str, bits: int, number: str, strategy: str, inputs: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the quantization_config of a checkpoint whose linear layers are stored in the format `kind`."""
    weights = {"num_bits": bits, "type": number, "symmetric": True, "strategy": strategy}
    if strategy == "group":
        weights["group_size"] = GROUP
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs, "output_activations": None}
    return {
        "quant_method": "compressed-tensors",
        "format": kind,
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": group},
    }


def four_bits(weight: torch.Tensor) -> Encoded:
    """Return a weight as pack-quantized: words of eight integers, lowest first, each raised by 8."""
    groups = weight.reshape(len(weight), -1, GROUP)
    scales = groups.abs().amax(-1) / 7
    integers = (groups / scales[..., None]).round().clamp(-8, 7)
    raised = (integers + 8).long().reshape(len(weight), -1, 8)
    words = sum(raised[..., place] << (4 * place) for place in range(8))
    words = torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)
    shape = torch.tensor(weight.shape)
    parts = {"weight_packed": words, "weight_scale": scales, "weight_shape": shape}
    return parts, (integers * scales[..., None]).reshape(weight.shape)


def eight_bits(weight: torch.Tensor) -> Encoded:
    scales = weight.abs().amax(-1, keepdim=True) / 127
    integers = (weight / scales).round()
    return {"weight": integers.to(torch.int8), "weight_scale": scales}, integers * scales


def floats(weight: torch.Tensor) -> Encoded:
    scales = weight.abs().amax(-1, keepdim=True) / 448
    numbers = (weight / scales).to(torch.float8_e4m3fn)
    return {"weight": numbers, "weight_scale": scales}, numbers.float() * scales


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """A base whose layers are wide enough for groups of 128."""
    return tiny.llama(tmp_path_factory.mktemp("wide") / "base", hidden_size=128, intermediate_size=256)


def saved(wide: Path, folder: Path, config: dict[str, Any], encode: Any) -> tuple[Path, Any]:
    """Save `wide` with its linear layers encoded; return the folder, and the model of the numbers that were encoded."""
    copied(wide, folder)
    model = AutoModelForCausalLM.from_pretrained(wide, dtype=torch.float32)
    plain, tensors = model.state_dict(), {}
    for key, weight in load_file(wide / "model.safetensors").items():
        parts = {"weight": weight}
        if "_proj" in key:
            parts, plain[key] = encode(weight)
        tensors |= {f"{key.removesuffix('.weight')}.{part}": tensor.contiguous() for part, tensor in parts.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    set_json(folder / "config.json", quantization_config=config)
    model.load_state_dict(plain)
    return folder, model.eval()


FORMATS = {
    "4 bits in groups": (settings("pack-quantized", 4, "int", "group"), four_bits),
    "8 bits": (settings("int-quantized", 8, "int", "channel"), eight_bits),
    "8-bit floats": (settings("float-quantized", 8, "float", "channel"), floats),
}


@pytest.mark.parametrize(("config", "encode"), FORMATS.values(), ids=FORMATS)
def test_weights_answer_as_the_numbers_that_were_written(wide, tmp_path, config, encode):
    folder, expected = saved(wide, tmp_path / "saved", config, encode)
    checkpoint = load(folder)
    assert torch.equal(logits(checkpoint.model), logits(expected))
    assert checkpoint.located.quantization_name == "compressed-tensors"
    assert not checkpoint.rounds_activations


@pytest.mark.parametrize(("config", "encode"), FORMATS.values(), ids=FORMATS)
def test_an_adapter_answers_as_peft_on_the_numbers_that_were_written(wide, tmp_path, config, encode):
    folder, expected = saved(wide, tmp_path / "saved", config, encode)
    lora = tiny.lora(tmp_path / "lora", wide)
    expected = peft.PeftModel.from_pretrained(expected, str(lora)).eval()
    assert torch.equal(logits(load(f"{folder},adapter={lora}").model), logits(expected))


def test_activations_are_rounded_as_the_checkpoint_states(wide, tmp_path):
    config = settings("int-quantized", 8, "int", "channel", INT8_INPUTS)
    folder, expected = saved(wide, tmp_path / "saved", config, eight_bits)

    def rounded(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        scale = inputs[0].abs().amax(-1, keepdim=True).clamp_min(1e-6) / 127.5
        return ((inputs[0] / scale).round().clamp(-128, 127) * scale,)

    for name, module in expected.named_modules():
        if name.endswith("_proj"):
            module.register_forward_pre_hook(rounded)
    checkpoint = load(folder)
    assert torch.allclose(logits(checkpoint.model), logits(expected), atol=1e-4)
    assert checkpoint.rounds_activations


@pytest.mark.parametrize("inputs", [None, INT8_INPUTS], ids=["weights only", "activations too"])
def test_integers_without_their_scale_are_refused(wide, tmp_path, inputs):
    config = settings("int-quantized", 8, "int", "channel", inputs)
    folder, _ = saved(wide, tmp_path / "saved", config, eight_bits)
    set_weights(folder / "model.safetensors", lambda w: w.pop("model.layers.0.mlp.up_proj.weight_scale"))
    assert "lacks weights (model.layers.0.mlp.up_proj.weight_scale)" in refusal(folder)


def test_packed_integers_without_their_scale_are_refused(wide, tmp_path):
    folder, _ = saved(wide, tmp_path / "saved", *FORMATS["4 bits in groups"])
    set_weights(folder / "model.safetensors", lambda w: w.pop("model.layers.1.mlp.up_proj.weight_scale"))
    assert "lacks weights (model.layers.1.mlp.up_proj.weight_scale)" in refusal(folder)
