"""Every argument of transformers and setting of PEFT is either one of a stage, or refused with a reason."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import peft
import pytest
from transformers import TrainingArguments

from harness.training import recipe, settings
from harness.training.other_names import NOT_NEEDED, OF_CORPORA, OTHER_NAMES
from harness.training.settings import OURS, SettingError

SETTABLE = {
    # steps, batches, rates
    *("per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "max_steps", "learning_rate"),
    *("lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "max_grad_norm"),
    # optimizers
    *("optim", "optim_args", "optim_target_modules", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon"),
    # precision and memory
    *("bf16", "fp16", "tf32", "gradient_checkpointing", "gradient_checkpointing_kwargs", "activation_checkpointing"),
    *("activation_checkpointing_kwargs", "torch_empty_cache_steps", "skip_memory_metrics", "use_cpu"),
    # logs
    *("logging_strategy", "logging_steps", "logging_first_step", "log_on_each_node", "log_level", "log_level_replica"),
    *("include_num_input_tokens_seen", "report_to", "run_name", "project", "trackio_space_id", "trackio_bucket_id"),
    *("trackio_static_space_id", "debug", "full_determinism"),
    # validation and states
    *("eval_strategy", "eval_steps", "eval_delay", "eval_on_start", "per_device_eval_batch_size"),
    *("save_strategy", "save_steps", "save_total_limit", "save_on_each_node"),
    *("load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
    # reading rows
    *("dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers"),
    *("dataloader_prefetch_factor", "dataloader_multiprocessing_context"),
    # several devices
    *("ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_static_graph", "ddp_backend"),
    *("ddp_timeout", "fsdp", "fsdp_config", "deepspeed"),
}
"""Arguments that a stage may set. A new release of transformers may add one: look at what it does, then list it here or
in `settings.OURS`."""

OF_LLAMA_FACTORY = (
    *("stage", "finetuning_type", "model_name_or_path", "adapter_name_or_path", "dataset", "dataset_dir", "template"),
    *("cutoff_len", "max_samples", "overwrite_cache", "preprocessing_num_workers", "mix_strategy", "interleave_probs"),
    *("train_on_prompt", "mask_history", "neat_packing", "val_size", "eval_dataset", "lora_rank", "lora_target"),
    *("additional_target", "pissa_init", "quantization_bit", "pure_bf16", "plot_loss", "overwrite_output_dir"),
    *("disable_gradient_checkpointing", "default_system", "resize_vocab", "rope_scaling", "use_swanlab"),
)
OF_KNOWLM_AND_LAWGPT = (
    *(
        "base_model",
        "data_path",
        "batch_size",
        "micro_batch_size",
        "num_epochs",
        "cutoff_len",
        "val_set_size",
        "lora_r",
    ),
    *("lora_target_modules", "train_on_inputs", "add_eos_token", "group_by_length", "wandb_project", "wandb_run_name"),
    *("prompt_template_name", "resume_from_checkpoint", "output_dir"),
)
OF_CHATGLM = (
    *("ptuning_checkpoint", "quantization_bit", "pre_seq_len", "train_file", "validation_file", "test_file"),
    *("prompt_column", "response_column", "history_column", "max_source_length", "max_target_length"),
    *("max_train_samples", "max_predict_samples", "ignore_pad_token_for_loss", "predict_with_generate"),
    *("max_input_length", "max_output_length", "data_config", "training_args", "peft_config"),
)
SAME_THERE = {
    *(
        "learning_rate",
        "num_train_epochs",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "warmup_steps",
    ),
    *("lora_alpha", "lora_dropout", "use_rslora", "use_dora", "packing", "prefix_projection", "lr_scheduler_type"),
    *("max_grad_norm", "logging_steps", "save_steps", "eval_steps", "bf16", "fp16", "report_to", "deepspeed"),
}
"""Options of these trainers that have the same name here."""


def fields(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind) if field.init}


def every_setting() -> set[str]:
    """Return all names that a stage or corpus may state."""
    names = {*recipe.OWN, *recipe.Corpus.model_fields, *settings.argument_types()}
    return names.union(*(settings.adapter_types(method) for method in settings.ADAPTERS))


def message(name: str, value: object = 1, method: str = "lora") -> str:
    with pytest.raises(SettingError) as error:
        settings.checked({name: value}, method, recipe.OWN)
    assert error.value.name == name
    return str(error.value)


def test_every_argument_of_transformers_has_been_looked_at():
    new = settings.argument_types().keys() - SETTABLE
    assert new == set(), "look at what it does, then list it here or in settings.OURS"


def test_no_argument_is_settable_and_refused():
    assert SETTABLE & OURS.keys() == set()
    settable, hub = settings.argument_types().keys(), ("push_to_hub", "hub_")
    for name in fields(TrainingArguments):
        assert (name in settable) + (name in OURS) + name.startswith(hub) == 1, name


@pytest.mark.parametrize("name", ["torch_compile", "neftune_noise_alpha", "use_liger_kernel", "label_smoothing_factor"])
def test_what_changes_the_loss_or_the_model_is_refused(name):
    assert f"'{name}' cannot be set: " in message(name)


@pytest.mark.parametrize("value", ["pissa_niter_4", "pissa_niter_16", "loftq", "corda", "lora_ga"])
def test_initial_weights_whose_adapter_is_not_what_was_trained_are_refused(value):
    with pytest.raises(settings.SettingError, match=f"'init_lora_weights' cannot be '{value}': .{{20}}"):
        settings.checked({"init_lora_weights": value}, "lora", recipe.OWN)


@pytest.mark.parametrize("name", [*OURS, *settings.OURS_OF_PEFT])
def test_every_refusal_has_a_reason(name):
    assert re.fullmatch(rf"'{name}' cannot be set: [a-z].{{10,}}[^.]", message(name))


def test_peft_s_own_configurations_are_the_settings_of_adapters():
    kinds = (peft.LoraConfig, peft.PrefixTuningConfig, peft.PromptEncoderConfig, peft.PromptTuningConfig)
    for method, kind in zip(settings.ADAPTERS, kinds, strict=True):
        assert settings.adapter_types(method).keys() <= fields(kind)
        refused = fields(kind) - settings.adapter_types(method).keys()
        assert refused <= {
            *("task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
            *("inference_mode", "runtime_config"),
            *settings.OURS_OF_PEFT,
        }
    assert settings.adapter_types("full") == {}


@pytest.mark.parametrize("name", [*OF_LLAMA_FACTORY, *OF_KNOWLM_AND_LAWGPT, *OF_CHATGLM])
def test_an_option_of_another_trainer_is_answered(name):
    assert re.match(rf"there is no '{name}': |'{name}' cannot be set: ", message(name))


def test_options_that_are_called_the_same_are_taken():
    assert every_setting() >= SAME_THERE


@pytest.mark.parametrize(("name", "here"), OF_CORPORA.items())
def test_what_another_name_of_a_corpus_points_to_exists(name, here):
    assert {*re.findall(r"[a-z_]+", here)} & {*recipe.Corpus.model_fields, "corpora", "validation"}, f"{name} → {here}"
    assert name not in recipe.Corpus.model_fields


@pytest.mark.parametrize(("name", "here"), OTHER_NAMES.items())
def test_what_another_name_points_to_exists(name, here):
    words = re.findall(r"[a-zA-Z_]\w*", here)
    assert set(words) & every_setting(), f"{name} → {here}"
    assert words[0] in {*every_setting(), "weights", "paths", "the"}, f"{name} → {here}"


@pytest.mark.parametrize("name", [*OTHER_NAMES, *NOT_NEEDED])
def test_another_name_is_no_setting_itself(name):
    assert name not in every_setting() - recipe.Corpus.model_fields.keys()
    assert name not in OURS
    assert not (name in OTHER_NAMES and name in NOT_NEEDED)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", "1e-4", 1e-4),  # YAML 1.1 reads 1e-4 as a text
        ("learning_rate", 1, 1.0),
        ("max_steps", 5, 5),
        ("warmup_steps", 0.1, 0.1),
        ("bf16", True, True),
        ("lr_scheduler_type", "cosine", "cosine"),
        ("lr_scheduler_kwargs", {"num_cycles": 2}, {"num_cycles": 2}),
        ("report_to", ["tensorboard", "wandb"], ["tensorboard", "wandb"]),
        ("deepspeed", "zero2.json", "zero2.json"),
        ("r", 4, 4),
        ("target_modules", ["a", "b"], ["a", "b"]),
        ("target_modules", "all-linear", "all-linear"),
        ("target_modules", r".*\.(q|v)_proj{1,1}", r".*\.(q|v)_proj{1,1}"),
        ("init_lora_weights", "pissa", "pissa"),
        ("init_lora_weights", False, False),
        ("rank_pattern", {"q_proj": 8}, {"q_proj": 8}),
    ],
)
def test_values_have_the_library_s_types(name, value, expected):
    checked = settings.checked({name: value}, "lora", recipe.OWN)
    (result,) = [*checked.arguments.values(), *checked.adapter.values()]
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("max_steps", 1.5, "'max_steps' is 1.5: input should be a valid integer"),
        ("max_steps", [1], "'max_steps' is [1]"),
        ("learning_rate", "fast", "'learning_rate' is 'fast'"),
        ("bf16", "perhaps", "'bf16' is 'perhaps'"),
        ("lr_scheduler_type", "cosin", "did you mean 'cosine'"),
        ("optim", "adamw_torsh", "did you mean 'adamw_torch'"),
        ("r", "four", "'r' is 'four'"),
        ("lora_dropout", {}, "'lora_dropout' is {}"),
        ("use_dora", 7, "'use_dora' is 7"),
        ("num_virtual_tokens", 4, "is a setting of P-tuning v2, and this stage has method: lora"),
        ("lerning_rate", 1, "did you mean 'learning_rate'"),
        ("lora_alfa", 1, "did you mean 'lora_alpha'"),
        ("target_modules", "all", "'target_modules' is 'all': write all-linear"),
        ("target_modules", "q_proj,v_proj", "'target_modules' is 'q_proj,v_proj': write a list, [q_proj, v_proj]"),
        ("target_modules", "q_proj v_proj", "write a list, [q_proj, v_proj]"),
        ("early_stopping_patience", 3, "there is no 'early_stopping_patience': set load_best_model_at_end: true"),
        ("conversation", "chatml", "there is no 'conversation': write template in the recipe's corpora"),
        ("hub_model_id", "me/mine", "a training reaches no network"),
        ("task_type", "CAUSAL_LM", "there is no 'task_type'"),
        ("", 1, "there is no ''"),
    ],
)
def test_a_wrong_setting_is_one_sentence(name, value, text):
    assert text in message(name, value)
    assert "\n" not in message(name, value)
