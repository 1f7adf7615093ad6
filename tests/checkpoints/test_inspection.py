"""What `harness inspect` tells of a checkpoint."""

from __future__ import annotations

import pytest

from harness.checkpoints import configs, inspection, loading, weights
from harness.checkpoints.reference import parse
from support import tiny
from support.tampering import load, set_json


def facts(reference: object, *, loaded: bool = False) -> dict[str, str]:
    located = loading.locate(parse(str(reference)))
    return inspection.facts(located, load(reference) if loaded else None)


@pytest.fixture(scope="module")
def of_base(base):
    return facts(f"{base},device=cpu")


@pytest.fixture(scope="module")
def of_lora(lora):
    return facts(f"{lora},device=cpu", loaded=True)


def test_a_base_is_told_without_reading_its_weights(base, of_base, monkeypatch):
    monkeypatch.setattr(weights, "load", None)
    assert facts(f"{base},device=cpu") == of_base


def test_a_base_s_size_is_that_of_its_weights(base, of_base):
    assert of_base["architecture"] == f"llama, {load(base).parameters:,} parameters"
    assert of_base["base on disk"] == f"{(base / 'model.safetensors').stat().st_size:,} bytes in 1 file"


def test_a_base_s_settings_are_told(of_base):
    assert of_base["kind"] == "base"
    assert of_base["computes in"] == "float32 on cpu"
    assert of_base["context length"] == "512 tokens"


def test_a_tokenizer_is_told(base, of_base):
    assert of_base["tokenizer"] == f"{base} ({len(tiny.tokenizer())} tokens)"
    assert of_base["begins and ends texts with"] == "<s>, </s>"
    assert of_base["chat template"] == "no"


def test_a_chat_template_is_told(copy):
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    assert facts(copy)["chat template"] == "yes"


def test_a_base_has_no_facts_of_an_adapter(of_base):
    assert not [name for name in of_base if "adapter" in name or name == "trained on"]


def test_the_fingerprint_is_the_checkpoint_s(lora, of_lora):
    assert of_lora["fingerprint"] == load(lora).fingerprint


def test_an_adapter_is_told_with_its_proof(base, lora, of_lora):
    found = load(lora)
    assert of_lora["adapter method"] == "lora"
    assert of_lora["trained on"] == str(base)
    assert of_lora["adapter changes"] == f"logits of a probe by up to {found.adapter_effect:.4g}"
    share = found.adapter_parameters / (found.parameters + found.adapter_parameters)
    assert of_lora["adapter holds"] == f"{found.adapter_parameters:,} parameters, {share:.2%} of all"


def test_without_its_weights_an_adapter_s_effect_is_not_told(lora):
    assert "adapter changes" not in facts(lora)


@pytest.mark.parametrize("loaded", [False, True])
def test_an_adapter_on_another_base_than_it_names_is_noted(base, adapter, loaded):
    assert "note" not in facts(f"{base},adapter={adapter}")
    set_json(adapter / "adapter_config.json", base_model_name_or_path="org/another-model")
    assert "was trained on org/another-model" in facts(f"{base},adapter={adapter}", loaded=loaded)["note"]


def test_an_adapter_that_names_no_base_says_so(base, adapter):
    set_json(adapter / "adapter_config.json", base_model_name_or_path=None)
    assert facts(f"{base},adapter={adapter}")["trained on"] == "not stated"


def test_the_body_is_what_every_token_goes_through(base):
    model = load(base).model
    tables = {id(weight) for name, weight in model.named_parameters() if "embed_tokens" in name or "lm_head" in name}
    found = configs.size(loading.locate(parse(str(base))))
    assert found.parameters == sum(weight.numel() for weight in model.parameters())
    assert found.body == sum(weight.numel() for weight in model.parameters() if id(weight) not in tables)
