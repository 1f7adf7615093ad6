"""TrainingArguments of a stage: the recipe's, and those that this project decides (`harness.training.settings.OURS`).

The rows of a stage are one epoch of Trainer's, however often they repeat the corpora. `epoch` in a strategy is
therefore written as a number of steps: those in which as many examples are read as the corpora have.

Not here: names and types of single settings (`harness.training.settings`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, did_you_mean

_LEAST = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "save_total_limit": 1,
    "learning_rate": 0,
    "max_grad_norm": 0,
    "weight_decay": 0,
}
"""Smallest values that transformers does not check."""
_EVALUATING = ("load_best_model_at_end", "metric_for_best_model", "eval_steps", "eval_on_start", "greater_is_better")
_BY_METRIC = ("reduce_lr_on_plateau", "greedy")
"""Schedules that follow a measured loss or score."""
_KINDS = ("eval", "save", "logging")


def metrics(validation: Sequence[str], tasks: Mapping[str, bool]) -> dict[str, bool]:
    """Return what a stage measures during its training, and whether more of it is better.

    These are the loss of all its `validation` corpora and of each, and the metrics of its `tasks`.
    """
    losses = ["loss", *(f"{name}_loss" for name in validation)] if validation else []
    return {**dict.fromkeys(losses, False), **tasks}


def build(
    settings: Mapping[str, Any],
    folder: Path,
    seed: int,
    *,
    epoch_steps: int,
    metrics: Mapping[str, bool],
    on_cpu: bool,
) -> Any:
    """Return transformers' TrainingArguments for a stage with the `settings`, whose states are saved in `folder`.

    `epoch_steps` are the steps of an epoch, `metrics` what the stage measures (see the function of this name). Raises
    HarnessError if the settings do not fit together, or need what is not installed or not on this machine.
    """
    import torch
    from transformers import TrainingArguments

    _require_values(settings)
    if metrics:
        _require_direction(settings, metrics)
        settings = _with_metric(settings, metrics)
    else:
        _require_no_evaluation(settings)
    if settings.get("fp16") and on_cpu:
        raise HarnessError("fp16 needs a GPU: set bf16 instead, or neither")
    # The rows are already as many as these two say.
    values = {name: value for name, value in settings.items() if name not in ("num_train_epochs", "max_steps")}
    try:
        arguments = TrainingArguments(
            **{
                "logging_steps": 10,
                "save_total_limit": 1,
                "dataloader_pin_memory": torch.cuda.is_available() and not on_cpu,
                "use_cpu": on_cpu,
                **_with_steps(values, epoch_steps, is_evaluated=bool(metrics)),
            },
            output_dir=str(folder),
            num_train_epochs=1,
            seed=seed,
            train_sampling_strategy="sequential",
            remove_unused_columns=False,
            label_names=["labels"],
            logging_nan_inf_filter=False,
            disable_tqdm=True,
        )
    except Exception as error:  # each library that a setting needs raises its own types
        raise refusal(error) from error
    arguments._n_gpu = min(arguments.n_gpu, 1)  # each further GPU of one process would enlarge the batch
    return arguments


def check(settings: Mapping[str, Any], metrics: Mapping[str, bool], *, on_cpu: bool) -> None:
    """Raise HarnessError as `build` does, and if a tracker in `report_to` cannot be used."""
    from transformers.integrations import get_reporting_integration_callbacks

    arguments = build(settings, Path("unused"), 0, epoch_steps=1, metrics=metrics, on_cpu=on_cpu)
    _require_optimizer(arguments)
    try:
        for tracker in get_reporting_integration_callbacks(arguments.report_to):
            tracker()
    except Exception as error:
        raise refusal(error) from error


def _require_optimizer(arguments: Any) -> None:
    """Raise HarnessError if the optimizer refuses its settings, on a parameter that stands for the model's."""
    import torch
    from transformers import Trainer

    parameter = torch.nn.Parameter(torch.zeros(1))
    try:
        kind, values = Trainer.get_optimizer_cls_and_kwargs(arguments, torch.nn.Linear(1, 1))
        kind([parameter], **{name: value for name, value in values.items() if name not in _OF_MODELS})
    except Exception as error:
        raise refusal(error) from error


_OF_MODELS = ("params", "model", "optimizer_dict")
"""Arguments of an optimizer that transformers fills with the model or its parameters."""


def refusal(error: Exception) -> HarnessError:
    """Return the error for settings that transformers, or a library below it, refuses."""
    reason = " ".join(str(error).split())[:300].rstrip(". ") or type(error).__name__
    return HarnessError(f"transformers refuses the stage's settings ({reason}): correct the recipe")


def _require_values(settings: Mapping[str, Any]) -> None:
    for name, least in _LEAST.items():
        value = settings.get(name)
        if value is not None and not least <= value < math.inf:
            raise HarnessError(f"{name} is {value}: set it to a finite number of at least {least}")
    steps, epochs = settings.get("max_steps"), settings.get("num_train_epochs")
    if steps is not None and steps != -1 and steps < 1:
        raise HarnessError(f"max_steps is {steps}: set it to at least 1, or set num_train_epochs")
    if epochs is not None and not 0 < epochs < math.inf:
        raise HarnessError(f"num_train_epochs is {epochs}: set it to a number above 0")


def _with_metric(settings: Mapping[str, Any], metrics: Mapping[str, bool]) -> Mapping[str, Any]:
    """Return `settings` with the full name and the direction of `metric_for_best_model`, one of `metrics`."""
    name = settings.get("metric_for_best_model")
    choices = ", ".join(list(metrics)[:6])
    if name is None:
        if settings.get("save_strategy") == "best":
            raise HarnessError(f"save_strategy: best needs a metric_for_best_model: set it to one of {choices}")
        if settings.get("load_best_model_at_end") and "loss" not in metrics:
            raise HarnessError(f"load_best_model_at_end needs a metric_for_best_model: set it to one of {choices}")
        return settings
    metric = name if name in metrics else str(name).removeprefix("eval_")
    if metric not in metrics:
        hint = did_you_mean(metric, metrics) or f": choose among {choices}"
        raise HarnessError(f"metric_for_best_model is '{name}', which the stage does not measure{hint}")
    return {"greater_is_better": metrics[metric], **settings, "metric_for_best_model": f"eval_{metric}"}


def _require_direction(settings: Mapping[str, Any], metrics: Mapping[str, bool]) -> None:
    """Raise HarnessError if `greater_is_better` is stated and would keep the worst evaluation."""
    metric = str(settings.get("metric_for_best_model") or "loss")
    metric = metric if metric in metrics else metric.removeprefix("eval_")
    stated = settings.get("greater_is_better")
    if stated is not None and metric in metrics and stated != metrics[metric]:
        better = "higher" if metrics[metric] else "lower"
        raise HarnessError(f"greater_is_better is {str(stated).lower()}, and a {better} {metric} is better: remove it")


def _require_no_evaluation(settings: Mapping[str, Any]) -> None:
    names = [name for name in _EVALUATING if settings.get(name)]
    names += ["eval_strategy"] if settings.get("eval_strategy", "no") != "no" else []
    names += ["lr_scheduler_type"] if settings.get("lr_scheduler_type") in _BY_METRIC else []
    if names:
        raise HarnessError(
            f"{names[0]} needs something to evaluate during the training: set validation: to a corpus, or evaluate: to "
            "tasks"
        )


def _with_steps(values: dict[str, Any], epoch_steps: int, *, is_evaluated: bool) -> dict[str, Any]:
    """Return `values` with each strategy `epoch` as steps, and with a strategy if something is evaluated."""
    result = dict(values)
    if is_evaluated:
        result.setdefault("eval_strategy", "steps" if "eval_steps" in result else "epoch")
    if result.get("load_best_model_at_end"):
        result.setdefault("save_strategy", result["eval_strategy"])
        if result["save_strategy"] == "steps" and "eval_steps" in result:
            result.setdefault("save_steps", result["eval_steps"])
    for kind in _KINDS:
        if result.get(f"{kind}_strategy") == "epoch":
            result |= {f"{kind}_strategy": "steps", f"{kind}_steps": epoch_steps}
    return result
