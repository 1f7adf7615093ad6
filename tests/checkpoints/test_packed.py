"""Weights packed by GPTQ, AWQ and AutoRound answer as the numbers that were packed.

The packers here follow the published formats word by word, in loops over single integers: AutoGPTQ's
`qlinear_cuda.py`, AutoAWQ's `gemm.py` and AutoRound's `qlinear_triton.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from harness.checkpoints import identity, inspection, loading, packed
from harness.checkpoints.adapters import merging
from harness.checkpoints.reference import parse
from support import tiny
from support.tampering import copied, load, logits, refusal, set_json, set_weights

GROUP = 128
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": False, "sym": False}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"}
AUTO = {"quant_method": "auto-round", "bits": 4, "group_size": GROUP, "sym": True, "data_type": "int"}
FORMATS: dict[str, dict[str, Any]] = {
    "gptq": GPTQ,
    "gptq, checkpoint_format": {**GPTQ, "checkpoint_format": "gptq"},
    "gptq_v2": {**GPTQ, "checkpoint_format": "gptq_v2"},
    "gptq, act-order": {**GPTQ, "desc_act": True},
    "gptq, 8 bits": {**GPTQ, "bits": 8},
    "gptq, 2 bits, groups of 32": {**GPTQ, "bits": 2, "group_size": 32},
    "gptq, one group": {**GPTQ, "group_size": -1},
    "awq": AWQ,
    "awq, groups of 64": {**AWQ, "group_size": 64},
    "auto-round": {**AUTO, "packing_format": "auto_round:gptqmodel"},
    "auto-round without an offset": {**AUTO, "packing_format": "auto_round"},
    "auto-round as gptq": {**AUTO, "packing_format": "auto_round:auto_gptq"},
    "auto-round as awq": {**AUTO, "packing_format": "auto_round:auto_awq"},
}


class Layer(NamedTuple):
    """A quantised layer before it is packed."""

    integers: np.ndarray
    """(inputs, outputs)"""
    zeros: np.ndarray
    """(groups, outputs)"""
    scales: np.ndarray
    """(groups, outputs), float16"""
    groups: np.ndarray
    """Group of each input."""

    @property
    def weight(self) -> torch.Tensor:
        """The numbers that the layer stands for (outputs, inputs)."""
        differences = self.integers.astype(np.float32) - self.zeros.astype(np.float32)[self.groups]
        return torch.from_numpy((self.scales.astype(np.float32)[self.groups] * differences).T.copy())


def quantised(weight: torch.Tensor, settings: dict[str, Any], random: np.random.Generator) -> Layer:
    """Return `weight` (outputs, inputs) with random zero points, rounded to the bits and groups of `settings`."""
    outputs, inputs = weight.shape
    size = settings["group_size"] if settings["group_size"] > 0 else inputs
    groups = np.arange(inputs) // size
    if settings.get("desc_act"):
        random.shuffle(groups)
    top = 2 ** settings["bits"] - 1
    zeros = random.integers(1, top + 1, (groups.max() + 1, outputs))
    scales = (random.random(zeros.shape) / top).astype(np.float16)
    integers = np.round(weight.numpy().T / scales.astype(np.float32)[groups] + zeros[groups]).clip(0, top)
    return Layer(integers.astype(np.int64), zeros, scales, groups)


def words(rows: np.ndarray, bits: int, order: tuple[int, ...] | None = None) -> torch.Tensor:
    """Return the integers (rows, columns) packed along the columns, place i of a word holding column `order[i]`."""
    count = 32 // bits
    result = np.zeros((rows.shape[0], rows.shape[1] // count), dtype=np.uint32)
    for place in range(count):
        columns = rows[:, (order[place] if order else place) :: count][:, : result.shape[1]]
        result |= columns.astype(np.uint32) << np.uint32(bits * place)
    return torch.from_numpy(result.view(np.int32))


def parts(layer: Layer, settings: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors of a packed layer, by the format that `settings` state."""
    bits, kind = settings["bits"], settings.get("packing_format", settings.get("checkpoint_format"))
    scales = torch.from_numpy(layer.scales)
    if settings["quant_method"] == "awq" or kind == "auto_round:auto_awq":
        return {
            "qweight": words(layer.integers, bits, AWQ_ORDER),
            "qzeros": words(layer.zeros, bits, AWQ_ORDER),
            "scales": scales,
        }
    offset = 0 if kind in ("gptq_v2", "auto_round", "auto_round:gptqmodel") else 1
    return {
        "qweight": words(layer.integers.T, bits).T.contiguous(),
        "qzeros": words(layer.zeros - offset, bits),
        "scales": scales,
        **({} if "packing_format" in settings else {"g_idx": torch.from_numpy(layer.groups.astype(np.int32))}),
    }


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """A base whose layers are wide enough for groups of 128."""
    return tiny.llama(tmp_path_factory.mktemp("wide") / "base", hidden_size=128, intermediate_size=256)


def saved(wide: Path, folder: Path, settings: dict[str, Any]) -> tuple[Path, torch.Tensor]:
    """Save `wide` packed by `settings` in `folder`; return the folder, and the logits of what was packed."""
    random = np.random.default_rng(0)
    copied(wide, folder)
    model = AutoModelForCausalLM.from_pretrained(wide, dtype=torch.float32)
    plain, tensors = model.state_dict(), {}
    for key, weight in load_file(wide / "model.safetensors").items():
        if "_proj" not in key:
            tensors[key] = weight.half()
            plain[key] = weight.half().float()
            continue
        layer = quantised(weight, settings, random)
        plain[key] = layer.weight
        tensors |= {f"{key.removesuffix('.weight')}.{part}": value for part, value in parts(layer, settings).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    set_json(folder / "config.json", quantization_config=settings, dtype="float16")
    model.load_state_dict(plain)
    return folder, logits(model.eval())


@pytest.fixture(scope="module")
def gptq(wide, tmp_path_factory) -> tuple[Path, torch.Tensor]:
    return saved(wide, tmp_path_factory.mktemp("gptq") / "gptq", GPTQ)


# --- answers


@pytest.mark.parametrize("settings", FORMATS.values(), ids=FORMATS)
def test_packed_weights_answer_as_the_numbers_that_were_packed(wide, tmp_path, settings):
    folder, expected = saved(wide, tmp_path / "packed", settings)
    checkpoint = load(folder)
    assert torch.equal(logits(checkpoint.model), expected)
    group = f"-g{settings['group_size']}" if settings["group_size"] > 0 else ""
    assert checkpoint.located.quantization_name == f"{settings['quant_method']}-{settings['bits']}bit{group}"
    assert checkpoint.located.quantization is None
    assert checkpoint.parameters == load(wide).parameters


def test_a_zero_point_is_read_as_one_more_in_the_first_format_only(wide, tmp_path):
    folder, expected = saved(wide, tmp_path / "packed", GPTQ)
    set_json(folder / "config.json", quantization_config={**GPTQ, "checkpoint_format": "gptq_v2"})
    assert not torch.equal(logits(load(folder).model), expected)


def test_shards_and_pickles_are_unpacked(gptq, tmp_path):
    folder, expected = copied(gptq[0], tmp_path / "packed"), gptq[1]
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert torch.equal(logits(load(folder).model), expected)


def test_the_end_of_text_is_that_of_the_generation_config(gptq, tmp_path):
    folder = copied(gptq[0], tmp_path / "packed")
    set_json(folder / "generation_config.json", eos_token_id=[2, 9])
    assert load(folder).eos_ids == (2, 9)


def test_weights_are_unpacked_into_the_dtype_of_the_reference(gptq):
    exact = load(gptq[0]).model.state_dict()
    rounded = load(f"{gptq[0]},dtype=float16").model.state_dict()
    assert all(torch.equal(rounded[key], weight.half()) for key, weight in exact.items())


# --- with an adapter, quantised again, merged


def test_an_adapter_on_packed_weights_answers_as_peft_on_plain_ones(gptq, wide, tmp_path):
    lora = tiny.lora(tmp_path / "lora", wide)
    expected = AutoModelForCausalLM.from_pretrained(wide, dtype=torch.float32)
    expected.load_state_dict(load(gptq[0]).model.state_dict())
    expected = logits(peft.PeftModel.from_pretrained(expected, str(lora)).eval())
    assert torch.equal(logits(load(f"{gptq[0]},adapter={lora}").model), expected)


def test_a_merged_adapter_is_a_plain_checkpoint(gptq, wide, tmp_path):
    reference = f"{gptq[0]},adapter={tiny.lora(tmp_path / 'lora', wide)}"
    merged = merging.merge(parse(f"{reference},device=cpu,dtype=float32"), tmp_path / "merged")
    difference = logits(load(merged.folder).model) - logits(load(reference).model)
    assert float(difference.abs().max()) < 1e-3
    assert load(merged.folder).located.quantization_name is None


def test_packed_weights_can_be_quantised_again_and_are_named_so(gptq):
    checkpoint = load(f"{gptq[0]},quantize=int8")
    assert checkpoint.located.quantization_name == "int8 of gptq-4bit-g128"
    assert type(checkpoint.model.model.layers[0].mlp.up_proj).__name__ == "Linear8bitLt"


def test_inspect_says_that_weights_are_dequantised(gptq):
    facts = inspection.facts(loading.locate(parse(f"{gptq[0]},device=cpu")))
    assert facts["quantised"] == "gptq-4bit-g128, dequantised into float32 during loading"


def test_the_stated_format_is_part_of_the_fingerprint(gptq, tmp_path):
    folder = copied(gptq[0], tmp_path / "packed")
    before = identity.fingerprint(loading.locate(parse(str(folder))))
    set_json(folder / "config.json", quantization_config={**GPTQ, "checkpoint_format": "gptq_v2"})
    assert identity.fingerprint(loading.locate(parse(str(folder)))) != before


# --- refusals


@pytest.mark.parametrize(
    ("change", "words_of_message"),
    [
        (
            lambda w: w.pop("model.layers.0.mlp.up_proj.scales"),
            "in model.layers.0.mlp.up_proj that do not fit together",
        ),
        (
            lambda w: w.pop("model.layers.1.mlp.up_proj.qzeros"),
            "in model.layers.1.mlp.up_proj that do not fit together",
        ),
        (
            lambda w: w.update({"model.layers.0.mlp.up_proj.scales": torch.ones(3, 256).half()}),
            "integers, scales and zero points have the sizes (128, 256), (3, 256) and (1, 256)",
        ),
        (
            lambda w: w.update({"model.layers.0.mlp.up_proj.g_idx": torch.full((128,), 9, dtype=torch.int32)}),
            "128 inputs in groups of 128 need more than 1 scales",
        ),
        (lambda w: w.pop("model.layers.0.mlp.up_proj.qweight"), "weights without a place"),
        (lambda w: w.pop("model.norm.weight"), "lacks weights (model.norm.weight)"),
    ],
)
def test_parts_that_do_not_fit_are_refused_with_their_layer(gptq, tmp_path, change, words_of_message):
    folder = copied(gptq[0], tmp_path / "packed")
    set_weights(folder / "model.safetensors", change)
    message = refusal(folder)
    assert words_of_message in message or "lacks weights (model.layers.0.mlp.up_proj.weight)" in message


def test_a_wrong_group_size_is_refused(gptq, tmp_path):
    folder = copied(gptq[0], tmp_path / "packed")
    set_json(folder / "config.json", quantization_config={**GPTQ, "bits": 8})
    assert "do not fit together as gptq-8bit-g128" in refusal(folder)


def test_plain_weights_that_are_said_to_be_packed_are_refused(wide, tmp_path):
    folder = copied(wide, tmp_path / "plain")
    set_json(folder / "config.json", quantization_config=AWQ)
    assert "states awq-4bit-g128 in its config.json, but holds no packed weights (qweight)" in refusal(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {**GPTQ, "bits": 3},
        {**GPTQ, "checkpoint_format": "marlin"},
        {**AWQ, "version": "gemv"},
        {**AUTO, "packing_format": "auto_round:llm_compressor"},
        {**AUTO, "extra_config": {"model.layers.0.mlp.up_proj": {"bits": 8}}},
        {**AUTO, "data_type": "mx_fp4"},
    ],
    ids=str,
)
def test_other_formats_are_left_to_transformers(wide, tmp_path, settings):
    folder = copied(wide, tmp_path / "other")
    set_json(folder / "config.json", quantization_config=settings)
    assert f"in {settings['quant_method']} cannot be used here" in refusal(folder)


@pytest.mark.parametrize(("method", "package"), [(GPTQ, "gptqmodel"), (AWQ, "gptqmodel"), (AUTO, "auto_round")])
@pytest.mark.parametrize("is_there", [True, False])
def test_on_a_gpu_kernels_are_used_if_their_package_is_there(monkeypatch, method, package, is_there):
    config = type("Config", (), {"quantization_config": method})()
    monkeypatch.setattr(packed, "find_spec", lambda name: object() if is_there and name == package else None)
    assert (packed.packing(config, torch.device("cuda")) is None) is is_there
    assert packed.packing(config, torch.device("cpu")) is not None
