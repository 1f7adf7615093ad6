"""Merged ChatGLM checkpoints: this project loads them again, with the same tokenizer, angles and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.checkpoints import loading
from harness.checkpoints.adapters import merging
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from support import chatglm, chatglm_tokenizers
from tolerances import FUSED_LORA

IDS = torch.arange(10, 60)[None]
TEXT = "[Round 1]\n\n问：水在多少度沸腾？\n\n答："


def load(reference: str) -> Checkpoint:
    return loading.load(loading.locate(parse(reference)))


def logits(checkpoint: Checkpoint, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.inference_mode():
        return checkpoint.model(input_ids=ids).logits


def same(logits: torch.Tensor, others: torch.Tensor) -> bool:
    return float((logits - others).abs().max() / logits.abs().max()) <= FUSED_LORA


def lora(folder: Path, shapes: dict[str, tuple[int, int]], layers: list[str]) -> Path:
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for layer in layers:
        for part, (rows, columns) in shapes.items():
            tensors[f"{layer}.{part}.lora_A.weight"] = torch.randn(4, columns, generator=generator) / 8
            tensors[f"{layer}.{part}.lora_B.weight"] = torch.randn(rows, 4, generator=generator) / 8
    return chatglm.save_lora(folder, tensors, target_modules=[part.split(".")[-1] for part in shapes])


@pytest.mark.parametrize("settings", [{}, {"rope_ratio": 4}])
@pytest.mark.parametrize("generation", [2, 3])
def test_a_merged_chatglm2_or_3_answers_as_base_and_lora(
    tmp_path: Path, generation: int, settings: dict[str, Any]
) -> None:
    base = chatglm.save(tmp_path / "base", **settings)
    chatglm_tokenizers.folder(base, generation)
    layers = [f"transformer.encoder.layers.{i}" for i in range(chatglm.LAYERS)]
    adapter = lora(tmp_path / "lora", chatglm.WIDTHS, layers)
    apart = load(f"{base},adapter={adapter}")
    merging.merge(parse(f"{base},adapter={adapter}"), tmp_path / "merged")
    merged = load(str(tmp_path / "merged"))
    assert same(logits(apart), logits(merged))
    assert merged.located.config.rope_parameters == apart.located.config.rope_parameters
    assert merged.eos_ids == apart.eos_ids
    assert merged.tokenizer(TEXT)["input_ids"] == apart.tokenizer(TEXT)["input_ids"]
    assert merged.tokenizer.chat_template == apart.tokenizer.chat_template
    assert not any("chat template" in note for note in merged.notes)


def test_published_angles_are_no_part_of_a_merged_folder(tmp_path: Path) -> None:
    base = chatglm.save(tmp_path / "base")
    layers = [f"transformer.encoder.layers.{i}" for i in range(chatglm.LAYERS)]
    adapter = lora(tmp_path / "lora", chatglm.WIDTHS, layers)
    with pytest.raises(HarnessError, match="rope=published is no part of weights"):
        merging.merge(parse(f"{base},adapter={adapter},rope=published"), tmp_path / "merged")


def test_a_merged_chatglm_6b_answers_as_base_and_lora(tmp_path: Path) -> None:
    base = chatglm.save_6b(tmp_path / "base")
    size = chatglm.HIDDEN
    shapes = {"attention.query_key_value": (3 * size, size), "mlp.dense_h_to_4h": (2 * size, size)}
    adapter = lora(tmp_path / "lora", shapes, [f"transformer.layers.{i}" for i in range(chatglm.LAYERS)])
    apart = load(f"{base},adapter={adapter}")
    assert apart.adapter_effect > 0.1
    merging.merge(parse(f"{base},adapter={adapter}"), tmp_path / "merged")
    merged = load(str(tmp_path / "merged"))
    ids = torch.tensor([apart.tokenizer("问：水在多少度沸腾？答：在标准大气压下")["input_ids"]])
    assert same(logits(apart, ids), logits(merged, ids))
    assert merged.eos_ids == apart.eos_ids
    assert merged.tokenizer(TEXT)["input_ids"] == apart.tokenizer(TEXT)["input_ids"]
