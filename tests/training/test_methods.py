"""What a stage may train, and PEFT's settings as a person states them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from harness.errors import HarnessError
from harness.training import methods, recipe

SMALL = {"num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9}


def stage(method: str, **adapter: Any) -> recipe.Stage:
    return recipe.Stage.model_validate({"from": "x", "method": method, "corpora": ["a"], "adapter": adapter})


def model() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(LlamaConfig(**SMALL))


def learning(prepared: Any) -> set[str]:
    return {name for name, parameter in prepared.named_parameters() if parameter.requires_grad}


def test_everything_learns_with_full():
    prepared = methods.prepare(model().requires_grad_(False), stage("full"))
    assert learning(prepared) == {name for name, _ in prepared.named_parameters()}


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("lora", {"r": 2}),
        ("lora", {"r": 2, "use_dora": True}),
        ("prefix", {"num_virtual_tokens": 2}),
        ("prefix", {"num_virtual_tokens": 2, "prefix_projection": True, "encoder_hidden_size": 4}),
        ("p-tuning", {"num_virtual_tokens": 2, "encoder_hidden_size": 4}),
        ("prompt", {"num_virtual_tokens": 2}),
    ],
)
def test_only_the_adapter_learns(method, settings):
    plain = {name for name, _ in model().named_parameters()}
    names = learning(methods.prepare(model(), stage(method, **settings)))
    assert names
    assert not {name.removeprefix("base_model.model.").replace("base_layer.", "") for name in names} & plain


@pytest.mark.parametrize("targets", ["all-linear", None])
def test_all_linear_layers_are_a_pattern_which_peft_saves_in_one_order(targets):
    prepared = methods.prepare(model(), stage("lora", **({} if targets is None else {"target_modules": targets})))
    config = prepared.peft_config["default"]
    assert isinstance(config.target_modules, str)
    reference = peft.get_peft_model(model(), peft.LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear"))
    assert learning(prepared) == learning(reference)


@pytest.mark.parametrize(
    ("targets", "count"), [(["v_proj"], 2), (r".*layers\.1\..*q_proj", 1), (["q_proj", "down_proj"], 4)]
)
def test_stated_modules_are_taken(targets, count):
    names = learning(methods.prepare(model(), stage("lora", target_modules=targets)))
    assert len([name for name in names if "lora_A" in name]) == count


def test_a_name_of_modules_that_is_no_list_is_refused():
    with pytest.raises(HarnessError, match=r"'q_proj' is a pattern for whole names: write a list, \[q_proj\]"):
        methods.prepare(model(), stage("lora", target_modules="q_proj"))


def test_modules_to_save_and_defaults_are_those_of_peft():
    prepared = methods.prepare(model(), stage("lora", modules_to_save=["lm_head"]))
    assert {name for name in learning(prepared) if "lora_" not in name} == {
        "base_model.model.lm_head.modules_to_save.default.weight"
    }
    config, default = prepared.peft_config["default"], peft.LoraConfig()
    for name in ("r", "lora_alpha", "lora_dropout", "use_rslora", "bias"):
        assert getattr(config, name) == getattr(default, name)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("lora", {"target_modules": ["no_such"]}),
        ("lora", {"r": 0}),
        ("lora", {"init_lora_weights": "no_such"}),
        ("lora", {"target_modules": "("}),
        ("prompt", {"num_virtual_tokens": 2, "prompt_tuning_init": "TEXT"}),
    ],
)
def test_what_peft_cannot_put_on_a_base_is_one_sentence(method, settings):
    with pytest.raises(HarnessError) as error:
        methods.prepare(model(), stage(method, **settings))
    assert f"PEFT cannot put this {method} adapter on the base" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("settings", [{}, {"num_virtual_tokens": 0}, {"num_virtual_tokens": -1}])
@pytest.mark.parametrize("method", ["prefix", "p-tuning", "prompt"])
def test_the_length_of_what_is_learned_is_stated(method, settings):
    with pytest.raises(HarnessError, match=r"num_virtual_tokens, .* is a number from 1: state it"):
        methods.prepare(model(), stage(method, **settings))


def located(**changes: Any) -> Any:
    values = {"quantization": None, "stored_as": None, "layout": None, "name": "base", "quantization_name": None}
    return SimpleNamespace(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "trained", "message"),
    [
        ({"quantization": SimpleNamespace(name="nf4"), "quantization_name": "nf4"}, stage("full"), "nf4 weights"),
        ({"stored_as": "q4_1", "quantization_name": "q4_1"}, stage("full"), "q4_1 weights, which cannot learn"),
        ({"stored_as": "gptq", "quantization_name": "gptq"}, stage("full"), "gptq weights, which cannot learn"),
        ({"quantization": SimpleNamespace(name="int8")}, stage("lora", use_dora=True), "use int4"),
        ({"layout": object()}, stage("p-tuning"), "a ChatGLM is trained with method: full, lora or prefix"),
        ({"layout": object()}, stage("prompt"), "a ChatGLM is trained with method: full, lora or prefix"),
    ],
)
def test_what_cannot_learn_is_refused(changes, trained, message):
    with pytest.raises(HarnessError, match=message):
        methods.require_trainable(located(**changes), trained)


def test_adapters_may_learn_on_packed_and_quantised_weights():
    for changes in (
        {"stored_as": "q4_1"},
        {"stored_as": "gptq"},
        {"quantization": SimpleNamespace(name="int8")},
        {"quantization": SimpleNamespace(name="nf4")},
    ):
        for name in ("lora", "prefix", "p-tuning", "prompt"):
            methods.require_trainable(located(**changes), stage(name))
