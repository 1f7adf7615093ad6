"""Entries of an adapter's configuration that the base does not have are refused; all others are PEFT's."""

from __future__ import annotations

from typing import Any

import peft
import pytest
import torch

from harness.checkpoints import configs, loading
from harness.checkpoints.adapters import attach
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from support.tampering import load, logits, refusal, set_json
from support.trained_adapters import CONFIG, lora_method, peft_logits, trained

# The base has the layers 0 and 1.
FITTING: dict[str, dict[str, Any]] = {
    "ranks": {"rank_pattern": {"v_proj": 2}, "target_modules": ["q_proj", "v_proj"]},
    "scales": {"alpha_pattern": {r".*\.0\.self_attn\.q_proj": 32, "^model.layers.1.self_attn.q_proj": 1}},
    "a rank of a module without an adapter": {"rank_pattern": {"k_proj": 2}},
    "one layer": {"layers_to_transform": 1},
    "layers of a list": {"layers_to_transform": [0, 1], "layers_pattern": "layers"},
    "layers of one of two lists": {"layers_to_transform": [1], "layers_pattern": ["layers"]},
    "whole names": {"target_modules": ["model.layers.0.self_attn.q_proj", "layers.1.mlp.up_proj"]},
    "a pattern": {"target_modules": r".*\.(q_proj|W_pack)"},
    "saved modules": {"modules_to_save": ["model.embed_tokens", "lm_head"]},
    "tokens": {"trainable_token_indices": {"embed_tokens": [3]}},
    "layers repeated": {"layer_replication": [(0, 2), (1, 2)], "rank_pattern": {"layers.2.self_attn.q_proj": 2}},
}
MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"rank_pattern": {"q_proj": 4, "W_pack": 2}}, "rank_pattern in {} names 'W_pack'"),
    ({"rank_pattern": {"layers.7.self_attn.q_proj": 2}}, "names 'layers.7.self_attn.q_proj', which is no module"),
    ({"alpha_pattern": {"_proj": 64}}, "alpha_pattern in {} names '_proj'"),
    ({"alpha_pattern": {"^q_proj": 64}}, "alpha_pattern in {} names '^q_proj'"),
    ({"layers_to_transform": [0, 1, 2]}, "layers_to_transform in {} names '2', which is no layer"),
    ({"layers_to_transform": [-1, 0]}, "names '-1', which is no layer"),
    ({"layers_to_transform": 9}, "names '9', which is no layer"),
    (
        {"layers_to_transform": [0, 1], "layers_pattern": ["layers", "h"]},
        "layers_pattern in {} names 'h'",
    ),
    ({"trainable_token_indices": {"wte": [1]}}, "trainable_token_indices in {} names 'wte'"),
    ({"target_parameters": ["mlp.experts.gate_up_proj"]}, "names 'mlp.experts.gate_up_proj', which is no parameter"),
]


@pytest.mark.parametrize("settings", FITTING.values(), ids=FITTING)
def test_entries_that_the_base_has_are_used_as_peft_uses_them(base, tmp_path, settings):
    folder = trained(tmp_path / "adapter", base, lora_method(**settings))
    assert torch.equal(logits(load(folder).model), peft_logits(base, folder))


@pytest.mark.parametrize(
    ("setting", "names", "others"),
    [
        ("target_modules", ["q_proj"], ["W_pack"]),
        ("target_modules", ["q_proj"], ["W_pack", "layers.7.self_attn.q_proj"]),
        ("modules_to_save", ["lm_head"], ["score"]),
        ("modules_to_save", [], ["embed_out"]),
    ],
)
def test_modules_of_other_architectures_are_noted(base, tmp_path, setting, names, others):
    method = lora_method(**({setting: names} if names else {}))
    folder = trained(tmp_path / "adapter", base, method)
    set_json(folder / CONFIG, **{setting: [*names, *others]})
    checkpoint = load(folder)
    assert torch.equal(logits(checkpoint.model), peft_logits(base, folder))
    [note] = [note for note in checkpoint.notes if setting in note]
    assert f"names {', '.join(others)}, which the base lacks" in note


@pytest.mark.parametrize(("settings", "complaint"), MISFITS)
def test_an_entry_that_the_base_lacks_is_refused_by_name(adapter, settings, complaint):
    set_json(adapter / CONFIG, **settings)
    message = refusal(adapter)
    assert complaint.format("its adapter_config.json") in message
    assert "does not fit this base" in message


def test_an_entry_that_the_base_lacks_is_refused_before_weights_are_read(adapter):
    set_json(adapter / CONFIG, rank_pattern={"W_pack": 2})
    located = loading.locate(parse(str(adapter)))
    with pytest.raises(HarnessError, match=r"rank_pattern in its .* names 'W_pack'"):
        attach.check_fit(located.adapter_config, configs.empty_model(located))


def test_the_rank_pattern_of_adalora_names_parameters(base, tmp_path):
    method = peft.AdaLoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM", total_step=10, init_r=4, target_r=2)
    folder = trained(tmp_path / "adapter", base, method)
    set_json(folder / CONFIG, rank_pattern={"model.layers.0.self_attn.q_proj.lora_E": [True, True, False, False]})
    assert "adapter_config.json names" not in attempt(folder)


def attempt(folder) -> str:
    """Return the message with which `folder` is refused; empty if it is loaded."""
    try:
        load(folder)
    except HarnessError as error:
        return str(error)
    return ""
