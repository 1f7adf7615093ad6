"""Attached adapters answer as PEFT's own loader makes them, or are refused in one sentence."""

from __future__ import annotations

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from support import tiny
from support.tampering import LFS_POINTER, Malice, copied, load, logits, refusal, set_json, set_weights, to_bin
from support.trained_adapters import CONFIG, METHODS, WEIGHTS, lora_method, peft_logits, trained

KEY = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_an_adapter_answers_as_peft_loads_it(base, tmp_path, method):
    folder = trained(tmp_path / "adapter", base, method)
    assert torch.equal(logits(load(folder).model), peft_logits(base, folder))


def test_an_adapter_in_bfloat16_answers_as_peft_loads_it(base, lora):
    model = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype="bfloat16"), lora)
    assert torch.equal(logits(load(f"{lora},dtype=bfloat16").model), logits(model.eval()))


def test_pickled_adapter_weights_answer_like_safetensors(adapter, base):
    expected = peft_logits(base, adapter)
    to_bin(adapter / WEIGHTS, "adapter_model.bin")
    assert torch.equal(logits(load(adapter).model), expected)


def test_with_its_adapter_disabled_the_model_is_the_base(base, lora):
    model = load(lora).model
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(AutoModelForCausalLM.from_pretrained(base)))


# --- its effect


def test_an_adapter_s_effect_and_parameters_are_measured(base, lora):
    checkpoint = load(lora)
    assert checkpoint.adapter_effect > 1
    assert checkpoint.adapter_parameters == 2 * (64 * 4 + 4 * 64 + 64 * 4 + 4 * 32 + 64 * 4 + 4 * 128)


@pytest.mark.parametrize(
    "method", [lora_method(), lora_method(use_dora=True), lora_method(target_modules="all-linear")]
)
def test_an_adapter_that_changes_nothing_is_refused(base, tmp_path, method):
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), method).save_pretrained(tmp_path / "new")
    reference = f"{base},adapter={tmp_path / 'new'}"
    assert "changes no logit" in refusal(reference)
    assert "--allow-inactive-adapter" in refusal(reference)


def test_an_adapter_that_changes_nothing_can_be_allowed_and_is_noted(base, tmp_path):
    checkpoint = load(tiny.lora(tmp_path / "zero", base, zero=True), allow_inactive_adapter=True)
    assert checkpoint.adapter_effect == 0.0
    assert checkpoint.notes == ["the adapter changes nothing: these are the base's answers"]


def test_an_adapter_for_one_rare_token_has_an_effect(base, tmp_path):
    method = peft.TrainableTokensConfig(task_type="CAUSAL_LM", token_indices=[1])
    assert load(trained(tmp_path / "adapter", base, method)).adapter_effect > 1


# --- adapters that do not fit


def test_a_missing_key_is_refused(adapter):
    set_weights(adapter / WEIGHTS, lambda w: w.pop(KEY))
    assert f"it lacks keys ({KEY})" in refusal(adapter)


@pytest.mark.parametrize("key", ["base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight", "q_proj.lora_A"])
def test_a_surplus_key_is_refused(adapter, key):
    set_weights(adapter / WEIGHTS, lambda w: w.update({key: torch.ones(4, 64)}))
    assert f"it has keys without a place ({key})" in refusal(adapter)


def test_of_many_keys_two_are_listed_and_the_others_counted(adapter):
    set_json(adapter / CONFIG, target_modules=["q_proj", "v_proj"])
    assert "up_proj.lora_B.weight and 2 more); name the base it was trained on" in refusal(adapter)


def test_a_key_of_another_size_is_refused_with_both_sizes(adapter):
    set_weights(adapter / WEIGHTS, lambda w: w.update({KEY: torch.ones(4, 7)}))
    message = refusal(adapter)
    assert "torch.Size([4, 7])" in message
    assert "torch.Size([4, 64])" in message


def test_a_single_number_in_place_of_a_tensor_is_refused(adapter):
    set_weights(adapter / WEIGHTS, lambda w: w.update({key: torch.tensor(1.0) for key in w}))
    assert "size mismatch" in refusal(adapter)


def test_an_adapter_of_another_architecture_is_refused(lora, tmp_path):
    tokenizer = tiny.tokenizer()
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    message = refusal(f"{tmp_path},adapter={lora}")
    assert "does not fit this base" in message
    assert "name the base it was trained on" in message


def test_an_adapter_for_a_deeper_model_is_refused(lora, tmp_path):
    shallow = tiny.llama(tmp_path / "shallow", num_hidden_layers=1)
    assert "has keys without a place" in refusal(f"{shallow},adapter={lora}")


def test_nan_in_an_adapter_is_refused(adapter):
    set_weights(adapter / WEIGHTS, lambda w: w[KEY].fill_(float("nan")))
    assert "NaN" in refusal(adapter)


@pytest.mark.parametrize("part", ["adapter", "base"])
def test_malicious_pickles_are_refused_and_never_run(adapter, copy, tmp_path, part):
    canary = tmp_path / "canary"
    if part == "adapter":
        to_bin(adapter / WEIGHTS, "adapter_model.bin", evil=Malice(canary))
    else:
        to_bin(copy / "model.safetensors", "pytorch_model.bin", evil=Malice(canary))
    assert "pickled code, which is never run" in refusal(f"{copy},adapter={adapter}")
    assert not canary.exists()


def test_the_malicious_pickle_runs_in_a_trusting_reader(tmp_path):
    torch.save({"evil": Malice(tmp_path / "canary")}, tmp_path / "weights.bin")
    torch.load(tmp_path / "weights.bin", weights_only=False)
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("content", [[1], {"a": 1}, {3: torch.ones(2)}])
def test_a_pickle_of_something_other_than_tensors_is_refused(adapter, content):
    (adapter / WEIGHTS).unlink()
    torch.save(content, adapter / "adapter_model.bin")
    assert "adapter_model.bin cannot be read" in refusal(adapter)


def test_a_truncated_adapter_is_refused(adapter):
    content = (adapter / WEIGHTS).read_bytes()
    (adapter / WEIGHTS).write_bytes(content[: len(content) // 2])
    assert "adapter_model.safetensors is truncated" in refusal(adapter)


def test_an_adapter_that_is_a_git_lfs_pointer_is_named(adapter):
    (adapter / WEIGHTS).write_text(LFS_POINTER)
    assert "git lfs pull" in refusal(adapter)


def test_an_adapter_without_weights_is_refused(adapter):
    (adapter / WEIGHTS).unlink()
    assert "but no weights" in refusal(adapter)


# --- its base


def test_a_base_beside_the_adapter_is_found_from_any_working_directory(base, lora, tmp_path, monkeypatch):
    copied(base, tmp_path / "base")
    copied(lora, tmp_path / "adapter")
    set_json(tmp_path / "adapter" / CONFIG, base_model_name_or_path="../base")
    monkeypatch.chdir("/")
    assert load(tmp_path / "adapter").located.base == tmp_path / "base"


def test_a_base_in_the_working_directory_is_found(base, adapter, monkeypatch):
    set_json(adapter / CONFIG, base_model_name_or_path="base")
    monkeypatch.chdir(base.parent)
    assert load(adapter).located.base.resolve() == base


def test_an_absolute_base_is_found(lora, base):
    assert load(lora).located.base == base


def test_a_missing_base_can_be_named(adapter, base):
    set_json(adapter / CONFIG, base_model_name_or_path="/no/such/base")
    message = refusal(adapter)
    assert message.endswith(f"name its base, as BASE,adapter={adapter}")
    assert load(f"{base},adapter={adapter}").adapter_effect > 1


def test_an_adapter_on_an_adapter_is_refused(lora, adapter):
    assert "is an adapter itself" in refusal(f"{lora},adapter={adapter}")


def test_an_adapter_trained_on_an_adapter_is_refused(lora, adapter):
    set_json(adapter / CONFIG, base_model_name_or_path=str(lora))
    assert f"{lora}, itself an adapter: merge that into its base" in refusal(adapter)


def test_a_model_in_place_of_an_adapter_is_refused(base, copy):
    assert f"{copy} has no adapter_config.json" in refusal(f"{base},adapter={copy}")


def test_for_a_training_s_folder_in_place_of_an_adapter_the_message_names_its_last_checkpoint(base, tmp_path):
    for step in (9, 10):
        tiny.lora(tmp_path / f"checkpoint-{step}", base)
    assert f"such as {tmp_path / 'checkpoint-10'}" in refusal(f"{base},adapter={tmp_path}")


# --- embeddings in the adapter's file


def test_embeddings_saved_with_the_adapter_are_read(base, tmp_path):
    folder = trained(tmp_path / "adapter", base, lora_method(), save_embedding_layers=True)
    set_weights(folder / WEIGHTS, lambda w: w["base_model.model.lm_head.weight"].mul_(2))
    assert torch.equal(logits(load(folder).model), peft_logits(base, folder))


EXTENDED = {
    "saved with the adapter": lora_method(),
    "trained in full": lora_method(modules_to_save=["embed_tokens", "lm_head"]),
    "new rows trained": lora_method(trainable_token_indices=[390, 399]),
}


@pytest.mark.parametrize("method", EXTENDED.values(), ids=EXTENDED)
def test_embeddings_that_training_extended_are_read(base, tmp_path, method):
    folder = trained(tmp_path / "adapter", base, method, rows=400)
    answers = logits(load(folder).model)
    assert answers.shape[-1] == 400
    assert torch.equal(answers, peft_logits(base, folder, rows=400))


def test_rows_that_only_the_adapter_has_are_zero_without_it(base, tmp_path):
    folder = trained(tmp_path / "adapter", base, EXTENDED["trained in full"], rows=400)

    def as_older_peft_saved_it(weights):
        for key in [key for key in weights if "original_module" in key or "modules_to_save" in key]:
            weights.pop(key)

    set_weights(folder / WEIGHTS, as_older_peft_saved_it)
    model = load(folder).model
    assert logits(model)[..., 384:].abs().max() > 1
    with model.disable_adapter():
        assert logits(model)[..., 384:].abs().max() == 0


def test_a_tokenizer_with_the_tokens_that_training_added_fits(base, tmp_path):
    folder = trained(tmp_path / "adapter", base, lora_method(), rows=400)
    tokenizer = tiny.tokenizer()
    tokenizer.add_tokens([f"<new-{i}>" for i in range(400 - len(tokenizer))])
    tokenizer.save_pretrained(folder)
    assert len(load(folder).tokenizer) == 400


def test_an_adapter_that_extends_one_embedding_of_two_is_refused(base, tmp_path):
    folder = trained(tmp_path / "adapter", base, lora_method(), rows=400)
    set_weights(folder / WEIGHTS, lambda w: w.pop("base_model.model.lm_head.weight"))
    assert "adds rows to one embedding of the base and not to the other" in refusal(folder)


def test_smaller_embeddings_are_refused(base, tmp_path):
    folder = trained(tmp_path / "adapter", base, lora_method(), rows=300)
    assert "size mismatch" in refusal(folder)


def test_an_adapter_that_states_another_base_is_noted(base, adapter):
    set_json(adapter / "adapter_config.json", base_model_name_or_path="org/another-model")
    assert load(f"{base},adapter={adapter}").notes == [
        f"the adapter says it was trained on org/another-model, not on {base}"
    ]
    set_json(adapter / "adapter_config.json", base_model_name_or_path=f"/moved/away/{base.name}")
    assert load(f"{base},adapter={adapter}").notes == []


@pytest.mark.parametrize("is_trained", [False, True])
def test_an_adapter_that_rewrites_the_base_is_compared_with_the_original_base(base, tmp_path, is_trained):
    model = AutoModelForCausalLM.from_pretrained(base)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, init_lora_weights="pissa", target_modules=["q_proj"]))
    if is_trained:
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.save_pretrained(tmp_path / "pissa")
    if is_trained:
        assert load(tmp_path / "pissa").adapter_effect > 0
    else:
        assert "changes no logit" in refusal(tmp_path / "pissa")
