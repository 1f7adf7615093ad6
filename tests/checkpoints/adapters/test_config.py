"""The configuration of an adapter: parsed into typed values, or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import peft
import pytest
import torch

from harness.checkpoints.adapters import config
from harness.checkpoints.adapters.config import AdapterConfig
from harness.errors import HarnessError
from support.tampering import load, logits, refusal, set_json
from support.trained_adapters import CONFIG, LEARNED, METHODS, TOKENS, WEIGHTS, peft_logits


def parsed(folder: Path, **content: object) -> AdapterConfig:
    """Return the configuration that a file with `content` gives."""
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", **content}))
    return config.read(folder)


def test_every_prompt_learning_method_of_peft_is_known():
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    learned = {t.value for t, c in PEFT_TYPE_TO_CONFIG_MAPPING.items() if issubclass(c, peft.PromptLearningConfig)}
    assert learned <= {*config.PROMPT_LEARNING, *config.UNSUPPORTED}


# --- values


@pytest.mark.parametrize("method", {**METHODS, **LEARNED}.values(), ids={**METHODS, **LEARNED})
def test_what_peft_saves_is_parsed(tmp_path, method):
    method.save_pretrained(tmp_path)
    adapter = config.read(tmp_path)
    assert adapter.folder == tmp_path
    assert adapter.method == method.peft_type.value
    assert adapter.is_prompt_learning is isinstance(method, peft.PromptLearningConfig)
    assert adapter.virtual_tokens == (TOKENS if adapter.is_prompt_learning else 0)
    assert adapter.trains_biases is (getattr(method, "bias", "none") != "none")
    assert adapter.uses_dora is getattr(method, "use_dora", False)


@pytest.mark.parametrize(
    ("base", "revision", "expected"),
    [
        ("org/name", "v1", ("org/name", "v1")),
        ("org/name", None, ("org/name", None)),
        ("", None, (None, None)),
        (3, None, (None, None)),
    ],
)
def test_the_stated_base_is_a_name_or_none(tmp_path, base, revision, expected):
    adapter = parsed(tmp_path, base_model_name_or_path=base, revision=revision)
    assert (adapter.base, adapter.revision) == expected


@pytest.mark.parametrize(
    ("init", "rounds_base", "starts_from_base_floats"),
    [
        ("pissa", True, True),
        ("pissa_niter_4", True, True),
        ("olora", True, True),
        ("corda", True, True),
        ("loftq", True, False),
        ("eva", False, True),
        ("gaussian", False, False),
        (True, False, False),
        (None, False, False),
    ],
)
def test_the_first_weights_of_a_lora_decide_what_it_does_to_the_base(
    tmp_path, init, rounds_base, starts_from_base_floats
):
    adapter = parsed(tmp_path, init_lora_weights=init)
    assert (adapter.rounds_base, adapter.rewrites_base) == (rounds_base, rounds_base)
    assert adapter.starts_from_base_floats is starts_from_base_floats


@pytest.mark.parametrize(
    ("bias", "rewrites_base"), [("none", False), (None, False), ("all", True), ("lora_only", True)]
)
def test_trained_biases_rewrite_the_base(tmp_path, bias, rewrites_base):
    adapter = parsed(tmp_path, bias=bias)
    assert (adapter.rewrites_base, adapter.rounds_base) == (rewrites_base, False)


@pytest.mark.parametrize(
    ("content", "defaults"),
    [
        ({"r": 4}, (("lora_alpha", 8),)),
        ({"lora_alpha": 16}, (("r", 8),)),
        ({}, (("r", 8), ("lora_alpha", 8))),
        ({"r": 4, "lora_alpha": 16}, ()),
        ({"peft_type": "LOHA", "r": 4}, (("alpha", 8),)),
        ({"peft_type": "IA3"}, ()),
        ({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4}, ()),
    ],
)
def test_settings_of_rank_and_scale_that_are_not_stated_have_peft_s_defaults(tmp_path, content, defaults):
    assert parsed(tmp_path, **content).defaults == defaults


def test_a_default_of_peft_is_noted(adapter):
    assert not load(adapter).notes
    set_json(adapter / CONFIG, lora_alpha=None)
    [note] = load(adapter).notes
    assert note == "the adapter's adapter_config.json states no lora_alpha: peft's default is used, lora_alpha = 8"


def test_an_adapter_without_a_stated_scale_answers_as_peft_loads_it(adapter, base):
    set_json(adapter / CONFIG, lora_alpha=None)
    assert torch.equal(logits(load(adapter).model), peft_logits(base, adapter))


# --- refusals


@pytest.mark.parametrize("tokens", [None, 0, -1, "6", 1.5])
def test_prompt_learning_without_a_number_of_virtual_tokens_is_refused(tmp_path, tokens):
    with pytest.raises(HarnessError, match=f"states num_virtual_tokens as {tokens}: fetch or save the adapter again"):
        parsed(tmp_path, peft_type="PREFIX_TUNING", num_virtual_tokens=tokens)


@pytest.mark.parametrize("method", config.UNSUPPORTED)
def test_other_methods_of_prompt_learning_are_refused_by_name(tmp_path, method):
    with pytest.raises(HarnessError, match=f"is a {method} adapter, which is not supported"):
        parsed(tmp_path, peft_type=method)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"peft_type": None}, "names no peft_type"),
        ({"peft_type": "SPARKLE"}, "update peft if its method is new"),
        ({"r": 0}, "should be a positive integer"),
        ({"r": "x"}, "save it again if its configuration was edited"),
        ({"alora_invocation_tokens": [5, 6]}, "is an activated LoRA"),
        ({"target_modules": "((("}, "save it again if its configuration was edited"),
        ({"rank_pattern": 3}, "save it again if its configuration was edited"),
        ({"target_modules": ["nothing"]}, "Target modules {'nothing'} not found"),
        ({"base_model_name_or_path": None}, "does not say which base it belongs to: name it, as BASE,adapter="),
        ({"base_model_name_or_path": 3}, "does not say which base it belongs to"),
        ({"base_model_name_or_path": "/no/such/base"}, "'/no/such/base', which cannot be found"),
        ({"base_model_name_or_path": "org/no-base", "revision": "v1"}, "hf download org/no-base --revision v1"),
        ({"base_model_name_or_path": "."}, "itself an adapter"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_unusable_settings_are_refused(adapter, changes, complaint):
    set_json(adapter / CONFIG, **changes)
    assert complaint in refusal(adapter)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("use_frob", True, "sets use_frob to true, which peft"),
        ("frob_alpha", 0.5, "sets frob_alpha to 0.5"),
        ("frob_rank", 0, "sets frob_rank to 0"),  # a number is no switch
        ("frob_mode", "fast", 'sets frob_mode to "fast"'),
        ("frob_config", {"depth": 2}, 'sets frob_config to {"depth": 2}'),
        ("frob_layers", list(range(100)), "sets frob_layers to [0, 1, 2"),
        ("use_dora2", [False], "sets use_dora2 to [false]"),
        ("Use_rslora", True, "sets Use_rslora to true"),
    ],
)
@pytest.mark.parametrize("method", ["LORA", "IA3", "PREFIX_TUNING", "VERA"])
def test_a_setting_that_peft_would_ignore_is_refused_by_name(tmp_path, method, setting, value, words):
    with pytest.raises(HarnessError) as error:
        parsed(tmp_path, peft_type=method, **{setting: value})
    assert words in str(error.value)
    assert "does not know and would ignore: update peft" in str(error.value)


def test_a_setting_of_another_method_is_refused(tmp_path):
    with pytest.raises(HarnessError, match="sets use_dora to true, which peft"):
        parsed(tmp_path, peft_type="IA3", use_dora=True)


def test_of_several_unknown_settings_the_first_is_shown_and_the_others_named(tmp_path):
    with pytest.raises(HarnessError, match=r"sets frob_a to 1 and 2 more \(frob_b, frob_c\), which peft"):
        parsed(tmp_path, frob_c=3, frob_b=2, frob_a=1, frob_d=None)


@pytest.mark.parametrize("value", [None, False, [], {}, ""])
def test_an_unknown_setting_that_is_switched_off_is_accepted(adapter, lora, value):
    set_json(adapter / CONFIG, base_model_name_or_path=str(lora.parent / "base"))
    content = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps({**content, "use_frob": value}))
    assert torch.equal(logits(load(adapter).model), logits(load(lora).model))


def test_an_adapter_with_an_unknown_setting_stops_before_weights_are_read(adapter):
    set_json(adapter / CONFIG, use_frob=True)
    (adapter / WEIGHTS).unlink()
    assert "sets use_frob to true" in refusal(adapter)


def test_invalid_json_is_refused(adapter):
    (adapter / CONFIG).write_text("{")
    assert "adapter_config.json is not valid JSON" in refusal(adapter)
