"""The training loop: transformers' Trainer, with the loss, the saving and the validation that this project answers for.

The loss of a step is the mean over all its learned tokens, however they are spread over batches, accumulated batches
and devices. What is saved between the first step and the last is only what learns, with the states of optimizer,
schedule and random numbers; a training that is continued from there ends with the same weights as one that was never
interrupted.

The first loss that is not a finite number stops the training before the optimizer uses it.

Not here: what is trained (`harness.training.methods`), on what (`harness.training.batches`), and the folder of the
finished stage (`harness.training.stages`).
"""

from __future__ import annotations

import json
import math
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from harness.checkpoints.types import Model
from harness.common import progress, signals
from harness.common.progress import Bar
from harness.errors import HarnessError
from harness.training import packing
from harness.training.batches import IGNORED, Collator, Rows

LEARNED, LOSSES, STATE = "learned.safetensors", "losses.json", "trainer_state.json"
"""Files of a saved state: the weights that learn, the loss of each step, and transformers' own, written last."""


class DivergedError(Exception):
    """A loss that is not a finite number."""

    def __init__(self, step: int, rows: tuple[int, int]) -> None:
        super().__init__(f"the loss of step {step} is not a finite number")
        self.step = step
        """The step, counted from 1."""
        self.rows = rows
        """The first row of the batch whose loss it is, and the one behind its last."""


@dataclass
class Fitted:
    """What a training measured."""

    losses: list[float] = field(default_factory=list)
    """The loss of each step, in nats per learned token."""
    evaluations: list[dict[str, float]] = field(default_factory=list)
    """What each validation measured, with its `step`."""
    resumed_at: int = 0
    """Step after which an interrupted training was continued; 0 if it was not interrupted."""
    seconds: float = 0.0

    @property
    def loss(self) -> float:
        """Mean loss over about the last tenth of the steps."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(last) / len(last)


def token_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Return the cross-entropy of the learned tokens, summed and divided by `num_items_in_batch`.

    `labels` has shape (B, T). Logits may have more places than labels, for the virtual tokens of prompt learning in
    front. Without `num_items_in_batch`, the sum is divided by the number of learned tokens in the batch.
    """
    logits = outputs.logits[:, -labels.shape[1] :]
    targets = labels[:, 1:]
    mask = targets != IGNORED
    selected = logits[:, :-1][mask].float()
    total = torch.nn.functional.cross_entropy(selected, targets[mask], reduction="sum")
    return total / (mask.sum() if num_items_in_batch is None else num_items_in_batch)


def fit(
    model: Model,
    train: Rows,
    validation: Mapping[str, Rows],
    settings: Mapping[str, Any],
    folder: Path,
    *,
    pad: int,
    seed: int,
    title: str,
    report: Callable[[str], None],
) -> Fitted:
    """Train `model` on `train` in its order, and return what was measured.

    `settings` are arguments of TrainingArguments. States are saved in `folder`, and an interrupted training continues
    from the newest there. `report` is called with a line on each logged loss and validation, for outputs without a
    progress bar. Raises DivergedError, and HarnessError if transformers refuses the settings.
    """
    arguments = _arguments(settings, folder, seed, has_validation=bool(validation))
    state = newest_state(folder)
    fitted = Fitted(resumed_at=_step(state) if state else 0)
    if state is not None:
        fitted.losses = list(json.loads((state / LOSSES).read_text(encoding="utf-8")))
    with progress.bar(title, None, unit="steps") as bar, _quiet():
        watch = _Watch(bar, report, fitted)
        try:
            trainer = _Trainer(
                model,
                arguments,
                data_collator=Collator(pad),
                train_dataset=train,
                eval_dataset=dict(validation) or None,
                compute_loss_func=token_loss,
                callbacks=[watch],
            )
        except (ImportError, ValueError, RuntimeError) as error:  # such as a tracker that is not installed
            raise HarnessError(f"transformers refuses a setting: {' '.join(str(error).split())[:300]}") from error
        trainer.fitted, watch.trainer = fitted, trainer
        for callback in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(callback)
        with signals.deferred():  # a signal lets the step end, so that its state can be saved
            trainer.train(resume_from_checkpoint=None if state is None else str(state))
    fitted.evaluations = [
        {key: value for key, value in entry.items() if key == "step" or key.startswith("eval_")}
        for entry in trainer.state.log_history
        if any(key.startswith("eval_") for key in entry)
    ]
    trainer.state.save_to_json(str(folder / STATE))
    model.eval()
    return fitted


def require_no_leak(model: Model) -> None:
    """Raise HarnessError if packed examples of `model` would see one another."""
    packing.require_no_leak(model, int(model.get_input_embeddings().weight.shape[0]))


def world_size() -> int:
    """Return the number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def newest_state(folder: Path) -> Path | None:
    """Return the newest complete state in `folder`, or None; states that a killed process left half-written go."""
    states = sorted((path for path in folder.glob("checkpoint-*") if path.is_dir()), key=_step, reverse=True)
    for state in states:
        try:
            json.loads((state / STATE).read_text(encoding="utf-8"))
            json.loads((state / LOSSES).read_text(encoding="utf-8"))
            return state
        except (OSError, ValueError):
            shutil.rmtree(state, ignore_errors=True)
    return None


def _step(state: Path) -> int:
    number = state.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1


def _arguments(settings: Mapping[str, Any], folder: Path, seed: int, *, has_validation: bool) -> TrainingArguments:
    """Return transformers' arguments. Raises HarnessError if it refuses them."""
    values = dict(settings)
    for name in ("num_train_epochs", "max_steps"):  # the rows are already as many as they say
        values.pop(name, None)
    if has_validation and "eval_strategy" not in values:
        values["eval_strategy"] = "steps" if "eval_steps" in values else "epoch"  # that is: at the end
    if values.get("load_best_model_at_end") and "save_steps" not in values and "eval_steps" in values:
        values["save_steps"] = values["eval_steps"]
    try:
        arguments = TrainingArguments(
            **{
                "logging_steps": 10,
                "save_total_limit": 1,
                "dataloader_pin_memory": torch.cuda.is_available(),
                **values,
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
    except (ImportError, ValueError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise HarnessError(f"transformers refuses the stage's settings: {reason}; correct the recipe") from error
    arguments._n_gpu = min(arguments.n_gpu, 1)  # each further GPU of one process would enlarge the batch
    return arguments


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' advice on saving and generation off the terminal while it trains."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(save_pretrained|embedding layers|gradient checkpointing).*")
        yield


class _Trainer(Trainer):  # type: ignore[misc]
    """Saves and loads only what learns, stops at a loss that is not finite, and validates by token."""

    fitted: Fitted
    _pending: float = 0.0
    """The loss of the current step so far, over accumulated batches."""
    _batches: int = 0
    """Accumulated batches of the current step so far."""

    def training_step(self, model: Model, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Return the loss of a batch after computing its gradients. Raises DivergedError if it is not finite."""
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        value = float(loss)
        if not math.isfinite(value):
            raise DivergedError(self.state.global_step + 1, self._rows())
        self._pending += value
        self._batches += 1
        return loss

    def _rows(self) -> tuple[int, int]:
        size, accumulated = self._train_batch_size * self.args.world_size, self.args.gradient_accumulation_steps
        first = (self.state.global_step * accumulated + self._batches) * size
        return first, min(first + size, len(self.train_dataset))

    def take_loss(self) -> float:
        """Return the loss of the step that has just ended, over all its batches and devices."""
        loss, self._pending, self._batches = self._pending, 0.0, 0
        if self.args.world_size > 1:
            # Each device divides by the tokens of all and multiplies by the number of devices.
            gathered = self.accelerator.gather(torch.tensor([loss], device=self.args.device))
            loss = float(gathered.mean())
        return loss

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Return the loss of each validation corpus, and of all together, in nats per learned token."""
        datasets: dict[str, Rows] = self.eval_dataset if eval_dataset is None else eval_dataset
        model, was_training = self.model, self.model.training
        model.eval()
        metrics: dict[str, float] = {}
        totals = torch.zeros(2, dtype=torch.float64)
        try:
            for name, rows in datasets.items():
                sums = self._sums(model, rows)
                totals += sums
                metrics[f"{metric_key_prefix}_{name}_loss"] = float(sums[0] / sums[1])
        finally:
            model.train(was_training)
        metrics[f"{metric_key_prefix}_loss"] = float(totals[0] / totals[1])
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _sums(self, model: Model, rows: Rows) -> torch.Tensor:
        """Return the summed loss of all learned tokens of `rows`, and their number."""
        sums = torch.zeros(2, dtype=torch.float64)
        for inputs in self.get_eval_dataloader(rows):
            inputs = self._prepare_inputs(inputs)
            labels = inputs.pop("labels")
            with torch.no_grad(), self.compute_loss_context_manager():
                loss = token_loss(model(**inputs), labels, 1)
            count = (labels[:, 1:] != IGNORED).sum()
            both = torch.stack([loss.double(), count.double()])
            if self.args.world_size > 1:
                both = self.accelerator.gather(both[None]).sum(0)
            sums += both.cpu()
        return sums

    # -- states

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        """Save what learns. Raises HarnessError if a tensor is empty, as ZeRO's are on a device that has no part."""
        folder = Path(str(output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        names = {name for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        state = self.model.state_dict() if state_dict is None else state_dict
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items() if name in names}
        if lacking := [name for name in names if name not in tensors or not tensors[name].numel()]:
            raise HarnessError(
                f"the weights that learn are not whole on one device ({min(lacking)}): let the launcher gather them "
                "(stage3_gather_16bit_weights_on_model_save)"
            )
        save_file(tensors, str(folder / LEARNED))
        (folder / LOSSES).write_text(json.dumps(self.fitted.losses), encoding="utf-8")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Model | None = None) -> None:
        """Load what learns from a saved state into the model."""
        target = self.model if model is None else model
        tensors = load_file(str(Path(resume_from_checkpoint, LEARNED)))
        outcome = target.load_state_dict(tensors, strict=False)
        if outcome.unexpected_keys:
            raise HarnessError(f"{resume_from_checkpoint} is of another training: remove it to start the stage anew")

    def _load_best_model(self) -> None:
        self._load_from_checkpoint(self.state.best_model_checkpoint)


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Moves the bar, keeps losses, reports lines, and saves the state when a signal asks the process to stop."""

    def __init__(self, bar: Bar, report: Callable[[str], None], fitted: Fitted) -> None:
        self._bar, self._report, self._fitted = bar, report, fitted
        self.trainer: _Trainer | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._bar.expect(state.max_steps)
        self._bar.advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        assert self.trainer is not None
        self._fitted.losses.append(self.trainer.take_loss())
        if signals.received() is not None:
            control.should_save = control.should_training_stop = True
        else:
            self._bar.advance(1)
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any) -> None:
        logs = logs or {}
        names = [key for key in logs if key.endswith("loss") and key != "train_loss"]
        if losses := [f"{name.removeprefix('eval_')} {logs[name]:.4f}" for name in names]:
            kind = "validation: " if any(key.startswith("eval_") for key in logs) else ""
            self._report(f"step {state.global_step:,} of {state.max_steps:,}, {kind}{', '.join(losses)}")


def batch(settings: Mapping[str, Any], *, accumulated: bool = True) -> int:
    """Return the rows of a step on all devices or, if not `accumulated`, of one of its batches."""
    size = int(settings.get("per_device_train_batch_size", 8)) * world_size()
    return size * int(settings.get("gradient_accumulation_steps", 1)) if accumulated else size
