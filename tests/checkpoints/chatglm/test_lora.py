"""LoRAs with ChatGLM's names: on GLM's three layers they compute what the fused layer and their matrices compute.

The oracle is arithmetic on the published weights: the product of the matrices is added to the fused weight (DoRA: its
rows are scaled to the learned magnitudes), and the folder with these weights is loaded without an adapter.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from harness.checkpoints import loading, weights
from harness.checkpoints.adapters import attach
from harness.checkpoints.reference import CheckpointReference
from harness.errors import HarnessError
from support import chatglm
from tolerances import FUSED_LORA

LAYER = "transformer.encoder.layers.{}.{}"
IDS = torch.arange(3, 60)[None]


def logits(base: Path, adapter: Path | None = None) -> torch.Tensor:
    located = loading.locate(CheckpointReference(str(base), adapter=adapter and str(adapter)))
    model = weights.load(located).model
    if located.adapter_config is not None:
        model = attach.attach(model, located.adapter_config, attach.read(located.adapter_config))
    with torch.inference_mode():
        return model(input_ids=IDS).logits


def difference(logits: torch.Tensor, others: torch.Tensor) -> float:
    return float((logits - others).abs().max() / logits.abs().max())


def matrices(parts: list[str], rank: Callable[[int, str], int]) -> chatglm.Tensors:
    """Return random A and B of `parts` in every layer."""
    generator = torch.Generator().manual_seed(1)
    result = {}
    for layer in range(chatglm.LAYERS):
        for part in parts:
            rows, columns = chatglm.WIDTHS[part]
            r = rank(layer, part)
            result[f"{LAYER.format(layer, part)}.lora_A.weight"] = torch.randn(r, columns, generator=generator) / 8
            result[f"{LAYER.format(layer, part)}.lora_B.weight"] = torch.randn(rows, r, generator=generator) / 8
    return result


def fused(tensors: chatglm.Tensors, lora: chatglm.Tensors, scale: Callable[[str], float]) -> chatglm.Tensors:
    """Return the published `tensors` with the LoRA added."""
    result = dict(tensors)
    for key, a in lora.items():
        if key.endswith(".lora_A.weight"):
            name = key.removesuffix(".lora_A.weight")
            changed = result[f"{name}.weight"] + scale(name) * lora[f"{name}.lora_B.weight"] @ a
            magnitudes = lora.get(f"{name}.lora_magnitude_vector")
            if magnitudes is not None:
                changed = magnitudes[:, None] * changed / changed.norm(dim=1, keepdim=True)
            result[f"{name}.weight"] = changed
    return result


@pytest.mark.parametrize("parts", [[chatglm.QKV], list(chatglm.WIDTHS)], ids=["query_key_value", "all four"])
@pytest.mark.parametrize("uses_dora", [False, True])
@pytest.mark.parametrize("separator", [".", ".default."], ids=["peft", "ChatGLM-Tuning"])
def test_a_lora_equals_the_fused_arithmetic(
    tmp_path: Path, parts: list[str], *, uses_dora: bool, separator: str
) -> None:
    lora = matrices(parts, lambda _layer, _part: 4)
    if uses_dora:
        generator = torch.Generator().manual_seed(2)
        for name in [key.removesuffix(".lora_A.weight") for key in list(lora) if key.endswith(".lora_A.weight")]:
            rows = len(lora[f"{name}.lora_B.weight"])
            lora[f"{name}.lora_magnitude_vector"] = 1 + torch.rand(rows, generator=generator)
    base = chatglm.save(tmp_path / "base")
    saved = {key.replace(".weight", f"{separator}weight"[:-6] + "weight"): value for key, value in lora.items()}
    targets = [part.split(".")[-1] for part in parts]
    adapter = chatglm.save_lora(tmp_path / "lora", saved, target_modules=targets, use_dora=uses_dora)
    expected = logits(chatglm.save(tmp_path / "merged", fused(chatglm.weights(), lora, lambda _name: 2.0)))
    assert difference(expected, logits(base)) > 0.1
    assert difference(expected, logits(base, adapter)) <= FUSED_LORA


def test_ranks_scales_and_layers_chosen_by_published_names_are_honoured(tmp_path: Path) -> None:
    def rank(layer: int, part: str) -> int:
        return 2 if layer == 1 and part == chatglm.QKV else 4

    lora = {key: value for key, value in matrices(list(chatglm.WIDTHS), rank).items() if ".layers.0." not in key}

    def scale(name: str) -> float:
        return (16 if name.endswith("dense_h_to_4h") else 8) / (2 if "layers.1.self_attention.query" in name else 4)

    adapter = chatglm.save_lora(
        tmp_path / "lora",
        lora,
        target_modules=r".*\.(query_key_value|dense|dense_h_to_4h|dense_4h_to_h)",
        exclude_modules=r"transformer\.encoder\.layers\.0\..*",
        rank_pattern={"layers.1.self_attention.query_key_value": 2},
        alpha_pattern={"dense_h_to_4h": 16},
    )
    base = chatglm.save(tmp_path / "base")
    expected = logits(chatglm.save(tmp_path / "merged", fused(chatglm.weights(), lora, scale)))
    assert difference(expected, logits(base, adapter)) <= FUSED_LORA
    again = chatglm.save_lora(
        tmp_path / "listed",
        lora,
        target_modules=[part.split(".")[-1] for part in chatglm.WIDTHS],
        layers_to_transform=[1, 2],
        rank_pattern={"1.self_attention.query_key_value": 2},
        alpha_pattern={"dense_h_to_4h": 16},
    )
    assert difference(expected, logits(base, again)) <= FUSED_LORA


@pytest.mark.parametrize("name", ["lora_A.weight", "lora_A.default.weight"])
def test_chatglm_6b_takes_loras_of_peft_and_of_chatglm_tuning(tmp_path: Path, name: str) -> None:
    base = chatglm.save_6b(tmp_path / "base")
    generator = torch.Generator().manual_seed(1)
    layer, size = "transformer.layers.{}.attention.query_key_value", chatglm.HIDDEN
    tensors = {}
    for i in range(chatglm.LAYERS):
        tensors[f"{layer.format(i)}.{name}"] = torch.randn(4, size, generator=generator) / 8
        tensors[f"{layer.format(i)}.{name.replace('A', 'B')}"] = torch.randn(3 * size, 4, generator=generator) / 8
    adapter = chatglm.save_lora(tmp_path / "lora", tensors, target_modules=["query_key_value"])
    checkpoint = loading.load(loading.locate(CheckpointReference(str(base), adapter=str(adapter))))
    assert checkpoint.adapter_effect > 0.1


def test_biases_trained_with_a_lora_are_split(tmp_path: Path) -> None:
    lora = matrices([chatglm.QKV], lambda _layer, _part: 4)
    other = chatglm.weights(9)
    names = [f"{LAYER.format(i, chatglm.QKV)}.bias" for i in range(chatglm.LAYERS)]
    biases = {name: other[name] for name in names}
    saved = {name.replace(".bias", ".base_layer.bias"): bias for name, bias in biases.items()}
    adapter = chatglm.save_lora(
        tmp_path / "lora", {**lora, **saved}, target_modules=["query_key_value"], bias="lora_only"
    )
    merged = {**fused(chatglm.weights(), lora, lambda _name: 2.0), **biases}
    expected = logits(chatglm.save(tmp_path / "merged", merged))
    assert difference(expected, logits(chatglm.save(tmp_path / "base"), adapter)) <= FUSED_LORA


def test_modules_to_save_replace_the_published_modules(tmp_path: Path) -> None:
    lora = matrices([chatglm.QKV], lambda _layer, _part: 4)
    other = chatglm.weights(7)
    names = ["transformer.output_layer", "transformer.encoder.layers.1.mlp.dense_4h_to_h"]
    replaced = {f"{name}.weight": other[f"{name}.weight"] for name in names}
    adapter = chatglm.save_lora(
        tmp_path / "lora",
        {**lora, **replaced},
        target_modules=["query_key_value"],
        modules_to_save=["output_layer", "layers.1.mlp.dense_4h_to_h"],
    )
    base = chatglm.save(tmp_path / "base")
    merged = {**fused(chatglm.weights(), lora, lambda _name: 2.0), **replaced}
    expected = logits(chatglm.save(tmp_path / "merged", merged))
    assert difference(expected, logits(base, adapter)) <= FUSED_LORA


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"init_lora_weights": "pissa"}, "is a pissa adapter of query_key_value"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern in its adapter_config.json names 'q_proj'"),
    ],
)
def test_what_cannot_be_split_or_found_is_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    lora = matrices([chatglm.QKV], lambda _layer, _part: 4)
    adapter = chatglm.save_lora(tmp_path / "lora", lora, target_modules=["query_key_value"], **settings)
    with pytest.raises(HarnessError, match=message):
        logits(chatglm.save(tmp_path / "base"), adapter)


def test_a_lora_of_a_base_with_other_rows_is_refused(tmp_path: Path) -> None:
    lora = matrices([chatglm.QKV], lambda _layer, _part: 4)
    lora = {key: tensor[:-16] if "lora_B" in key else tensor for key, tensor in lora.items()}
    adapter = chatglm.save_lora(tmp_path / "lora", lora, target_modules=["query_key_value"])
    with pytest.raises(HarnessError, match=r"112 × 4.*cannot be split into queries, keys and values .128 rows."):
        logits(chatglm.save(tmp_path / "base"), adapter)


def test_other_methods_on_the_fused_layer_are_refused(tmp_path: Path) -> None:
    config = peft.LoHaConfig(target_modules=["query_key_value"])
    tensors = {f"{LAYER.format(0, chatglm.QKV)}.hada_w1_a": torch.ones(128, 8)}
    adapter = chatglm.save_lora(tmp_path / "loha", tensors)
    config.save_pretrained(adapter)
    with pytest.raises(HarnessError, match="only LoRA and DoRA are supported on query_key_value"):
        logits(chatglm.save(tmp_path / "base"), adapter)
