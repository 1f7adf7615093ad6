"""The settings of a stage that belong to libraries: TrainingArguments of transformers, and configurations of PEFT.

Each has its own name, default and meaning there; nothing is renamed. Values are checked against the libraries' own type
annotations. Arguments that this project decides itself (`OURS`) cannot be set.

Not here: what other trainers call them (`harness.training.other_names`), the settings that are ours
(`harness.training.recipe`), and the objects (`harness.training.methods`, `harness.training.loop`).
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.common import slow_imports
from harness.errors import did_you_mean
from harness.training.other_names import NOT_NEEDED, OTHER_NAMES

_ORDER = "the order is that of the mixture"
_BATCH = "a batch holds what the model reads, and nothing else"
_LOSS = "the loss is the mean over all learned tokens of a step"
_VALIDATION = "a validation computes the loss alone, as the training does"
_UNTRIED = "nobody has shown that a training with it is resumed and counted right"
OURS = {
    "output_dir": "each stage has a folder of its own name below --output",
    "seed": "the recipe's seed applies",
    "data_seed": "the recipe's seed applies",
    "train_sampling_strategy": _ORDER,
    "length_column_name": _ORDER,
    "dataloader_in_order": _ORDER,
    "accelerator_config": _ORDER,
    "parallelism_config": "the launcher's own configuration states it",
    "remove_unused_columns": _BATCH,
    "label_names": _BATCH,
    "dataloader_drop_last": "no row is dropped without being counted",
    "auto_find_batch_size": "a batch that depends on the machine changes what is learned",
    "local_rank": "the launcher sets it",
    "ignore_data_skip": "a resumed stage continues where it stopped",
    "resume_from_checkpoint": "give the same command again: an interrupted stage continues",
    "restore_callback_states_from_checkpoint": "a resumed stage restores all that it needs",
    "save_only_model": "without the optimizer's state a stage cannot be resumed",
    "enable_jit_checkpoint": "a signal saves the state anyway",
    "logging_nan_inf_filter": "the first loss that is not finite stops the stage",
    "disable_tqdm": "progress is shown on a terminal",
    "compute_loss_func": _LOSS,
    "average_tokens_across_devices": _LOSS,
    "label_smoothing_factor": _LOSS,
    "prediction_loss_only": _VALIDATION,
    "eval_do_concat_batches": _VALIDATION,
    "eval_use_gather_object": _VALIDATION,
    "eval_accumulation_steps": _VALIDATION,
    "batch_eval_metrics": _VALIDATION,
    "bf16_full_eval": _VALIDATION,
    "fp16_full_eval": _VALIDATION,
    "include_for_metrics": _VALIDATION,
    "do_train": "a stage trains",
    "do_eval": "set validation:",
    "do_predict": "evaluate the checkpoint with 'harness run'",
    "use_cache": "a training has no use for a cache",
    "neftune_noise_alpha": _UNTRIED,
    "torch_compile": _UNTRIED,
    "torch_compile_backend": _UNTRIED,
    "torch_compile_mode": _UNTRIED,
    "use_liger_kernel": _UNTRIED,
    "liger_kernel_config": _UNTRIED,
}
"""Arguments of transformers that cannot be set, and why."""
OURS_OF_PEFT = {
    "layer_replication": "the checkpoint would not have its base's layers",
}
"""Settings of PEFT's configurations that cannot be set, and why."""
_INITIAL_WEIGHTS = {
    "pissa_niter_": "it changes the base by a random method, each time another one when the adapter is loaded: write "
    "pissa, which is exact",
    "corda": "it needs a preparation of its own, by PEFT's preprocess_corda",
    "loftq": "it changes the base's weights, which the checkpoint does not hold",
    "lora_ga": "it needs a preparation of its own, by PEFT's preprocess_loraga",
}
"""Beginnings of `init_lora_weights` that give an adapter which does not answer as it was trained, and why."""
_HUB = ("push_to_hub", "hub_")
ADAPTERS = {
    "lora": ("LoraConfig", "LoRA"),
    "prefix": ("PrefixTuningConfig", "P-tuning v2"),
    "p-tuning": ("PromptEncoderConfig", "P-tuning"),
    "prompt": ("PromptTuningConfig", "prompt tuning"),
}
"""PEFT's configuration class of each method that trains an adapter, and the method's name."""
_PEFT_OURS = (
    *("task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "runtime_config"),
    *OURS_OF_PEFT,
)


class Settings(NamedTuple):
    """The settings of a stage that belong to libraries."""

    arguments: dict[str, Any]
    """Of transformers' TrainingArguments."""
    adapter: dict[str, Any]
    """Of the method's PEFT configuration."""


class SettingError(Exception):
    """A setting that does not exist or has a wrong value; `name` is its name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def checked(values: Mapping[str, Any], method: str, own: typing.Collection[str]) -> Settings:
    """Return `values`, the settings of a stage of the `method` that are not among the names `own`, by library.

    Raises SettingError on a name that no library has for this method, and on a value of a wrong type.
    """
    arguments, adapter = argument_types(), adapter_types(method)
    result = Settings({}, {})
    for name, value in values.items():
        if name in adapter:
            result.adapter[name] = _typed(name, value, adapter[name])
        elif name in arguments:
            result.arguments[name] = _typed(name, value, arguments[name])
        else:
            raise SettingError(name, _unknown(name, method, {*own, *arguments, *adapter}))
    return result


def _unknown(name: str, method: str, known: set[str]) -> str:
    if reason := OURS.get(name) or OURS_OF_PEFT.get(name):
        return f"'{name}' cannot be set: {reason}"
    if name.startswith(_HUB):
        return f"'{name}' cannot be set: a training reaches no network"
    if name in OTHER_NAMES:
        return f"there is no '{name}': write {OTHER_NAMES[name]}"
    if name in NOT_NEEDED:
        return f"there is no '{name}': {NOT_NEEDED[name]}"
    for other, (_, title) in ADAPTERS.items():
        if other != method and name in adapter_types(other):
            return f"'{name}' is a setting of {title}, and this stage has method: {method}"
    return f"there is no '{name}' in transformers' TrainingArguments or in PEFT{did_you_mean(name, known)}"


@functools.cache
def argument_types() -> dict[str, Any]:
    """Return the arguments of TrainingArguments that a stage may set, with their types."""
    with slow_imports.importing():
        from transformers import TrainingArguments

    fields = {field.name for field in dataclasses.fields(TrainingArguments) if field.init}
    types = _types(TrainingArguments, fields)
    return {name: kind for name, kind in types.items() if name not in OURS and not name.startswith(_HUB)}


@functools.cache
def adapter_types(method: str) -> dict[str, Any]:
    """Return the settings of the PEFT configuration of `method` with their types; none for a method without one."""
    if method not in ADAPTERS:
        return {}
    with slow_imports.importing():
        import peft
    kind = getattr(peft, ADAPTERS[method][0])
    fields = {field.name for field in dataclasses.fields(kind) if field.init}
    return {name: hint for name, hint in _types(kind, fields).items() if name not in _PEFT_OURS}


def _types(kind: type[Any], names: set[str]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for base in reversed(kind.__mro__):  # one at a time, so that an annotation that cannot be resolved spoils no other
        try:
            hints |= typing.get_type_hints(base)
        except Exception:
            hints |= dict.fromkeys(getattr(base, "__annotations__", {}), Any)
    return {name: hints.get(name, Any) for name in names}


def _is_enumeration(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def _require_pattern(value: str) -> None:
    """Raise SettingError if `value` of target_modules is no pattern, but what other trainers write for modules."""
    names = re.split(r"[,\s]+", value.strip())
    if value.strip().lower() == "all":
        raise SettingError("target_modules", "'target_modules' is 'all': write all-linear")
    if len(names) > 1 and all(re.fullmatch(r"\w[\w.]*", name) for name in names):
        raise SettingError("target_modules", f"'target_modules' is '{value}': write a list, [{', '.join(names)}]")


def _typed(name: str, value: Any, kind: Any) -> Any:
    """Return `value` as the type `kind`; raise SettingError if it has another type."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    if name == "init_lora_weights":
        for beginning, reason in _INITIAL_WEIGHTS.items():
            if str(value).startswith(beginning):
                raise SettingError(name, f"'{name}' cannot be {value!r}: {reason}")
    if name == "target_modules" and isinstance(value, str):
        _require_pattern(value)
    if kind is Any:
        return value
    choices = [choice.value for part in typing.get_args(kind) if _is_enumeration(part) for choice in part]
    if choices and isinstance(value, str) and value not in choices:
        hint = did_you_mean(value, choices) or f": choose among {', '.join(choices)}"
        raise SettingError(name, f"'{name}' is {value!r}, which transformers does not know{hint}")
    try:
        adapter = TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:
        adapter = TypeAdapter(kind)
    except Exception:  # a type that pydantic cannot describe; the library itself will look at the value
        return value
    try:
        typed = adapter.validate_python(value)
    except ValidationError as error:
        message = error.errors()[-1]["msg"]
        raise SettingError(name, f"'{name}' is {value!r}: {message[:1].lower()}{message[1:]}") from error
    return typed.value if hasattr(typed, "value") and not isinstance(typed, str) else typed
