"""The facts that `harness inspect` shows of a checkpoint."""

from __future__ import annotations

import pytest

from harness.checkpoints import configs, inspection, loading, weights
from harness.checkpoints.reference import parse
from support import tiny
from support.tampering import load, set_json


def facts(reference: object, *, loaded: bool = False) -> dict[str, str]:
    """Return the facts of `reference`, with those of its weights if `loaded`."""
    located = loading.locate(parse(str(reference)))
    return inspection.facts(located, load(reference) if loaded else None)


@pytest.fixture(scope="module")
def base_facts(base):
    return facts(f"{base},device=cpu")


@pytest.fixture(scope="module")
def lora_facts(lora):
    return facts(f"{lora},device=cpu", loaded=True)


def test_a_base_is_described_without_reading_its_weights(base, base_facts, monkeypatch):
    monkeypatch.setattr(weights, "load", None)
    assert facts(f"{base},device=cpu") == base_facts


def test_the_size_of_a_base_is_that_of_its_weights(base, base_facts):
    assert base_facts["architecture"] == f"llama, {load(base).parameters:,} parameters"
    assert base_facts["base on disk"] == f"{(base / 'model.safetensors').stat().st_size:,} bytes in 1 file"


def test_the_settings_of_a_base_are_shown(base_facts):
    assert base_facts["kind"] == "base"
    assert base_facts["computes in"] == "float32 on cpu"
    assert base_facts["context length"] == "512 tokens"


def test_the_tokenizer_is_shown(base, base_facts):
    assert base_facts["tokenizer"] == f"{base} ({len(tiny.tokenizer())} tokens)"
    assert base_facts["begins and ends texts with"] == "<s>, </s>"
    assert base_facts["chat template"] == "no"


def test_a_chat_template_is_shown(copy):
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    assert facts(copy)["chat template"] == "yes"


def test_a_base_has_no_facts_about_an_adapter(base_facts):
    assert not [name for name in base_facts if "adapter" in name or name == "trained on"]


def test_the_fingerprint_is_shown(lora, lora_facts):
    assert lora_facts["fingerprint"] == load(lora).fingerprint


def test_an_adapter_is_shown_with_its_effect(base, lora, lora_facts):
    checkpoint = load(lora)
    assert lora_facts["adapter method"] == "lora"
    assert lora_facts["trained on"] == str(base)
    assert lora_facts["adapter changes"] == f"logits of a probe by up to {checkpoint.adapter_effect:.4g}"
    share = checkpoint.adapter_parameters / (checkpoint.parameters + checkpoint.adapter_parameters)
    assert lora_facts["adapter holds"] == f"{checkpoint.adapter_parameters:,} parameters, {share:.2%} of all"


def test_without_weights_the_effect_of_an_adapter_is_not_shown(lora):
    assert "adapter changes" not in facts(lora)


@pytest.mark.parametrize("loaded", [False, True])
def test_an_adapter_on_another_base_than_it_states_is_noted(base, adapter, loaded):
    assert "note" not in facts(f"{base},adapter={adapter}")
    set_json(adapter / "adapter_config.json", base_model_name_or_path="org/another-model")
    assert "was trained on org/another-model" in facts(f"{base},adapter={adapter}", loaded=loaded)["note"]


def test_for_an_adapter_that_states_no_base_this_is_shown(base, adapter):
    set_json(adapter / "adapter_config.json", base_model_name_or_path=None)
    assert facts(f"{base},adapter={adapter}")["trained on"] == "not stated"


def test_the_body_excludes_embeddings_and_output_layer(base):
    model = load(base).model
    tables = {id(weight) for name, weight in model.named_parameters() if "embed_tokens" in name or "lm_head" in name}
    size = configs.size(loading.locate(parse(str(base))))
    assert size.parameters == sum(weight.numel() for weight in model.parameters())
    assert size.body == sum(weight.numel() for weight in model.parameters() if id(weight) not in tables)
