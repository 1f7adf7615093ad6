"""The configuration of an adapter: parsed into typed values, or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import peft
import pytest

from harness.checkpoints.adapters import config
from harness.checkpoints.adapters.config import AdapterConfig
from harness.errors import HarnessError
from support.tampering import refusal, set_json
from support.trained_adapters import CONFIG, LEARNED, METHODS, TOKENS


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


def test_invalid_json_is_refused(adapter):
    (adapter / CONFIG).write_text("{")
    assert "adapter_config.json is not valid JSON" in refusal(adapter)
