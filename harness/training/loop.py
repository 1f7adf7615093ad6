"""The training loop: rows, a model and settings → the same model, trained, and what was measured.

The loss of a step is the mean over all its learned tokens, however they are spread over batches, accumulated batches
and devices. What is saved between the first step and the last is only what learns, with the states of optimizer,
schedule and random numbers; a training that is continued from there ends with the same weights as one that was never
interrupted. So does one that is evaluated in between.

The first loss that is not a finite number stops the training before the optimizer uses it.

Not here: what is trained (`harness.training.methods`), on what (`harness.training.batches`), and the folder of the
finished stage (`harness.training.stages`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from harness.checkpoints.types import Model
from harness.common import progress, signals
from harness.errors import HarnessError
from harness.training import arguments as arguments_
from harness.training import packing, processes, states
from harness.training.batches import Collator, Filled
from harness.training.fitting import Data, DivergedError, Fitted
from harness.training.trainer import StageTrainer, Watch, token_loss


def fit(
    model: Model,
    data: Data,
    settings: Mapping[str, Any],
    folder: Path,
    *,
    seed: int,
    title: str,
    report: Callable[[str], None],
) -> Fitted:
    """Train `model` on `data` in its order, and return what was measured.

    `settings` are arguments of TrainingArguments. States are saved in `folder`, and an interrupted training continues
    from the newest there. `report` is called with a line on each logged loss and evaluation, for outputs without a
    progress bar. Raises DivergedError, and HarnessError if transformers refuses the settings or memory is full.
    """
    metrics = arguments_.metrics(list(data.validation), data.tasks.metrics if data.tasks else {})
    on_cpu = model.device.type == "cpu"
    arguments = arguments_.build(settings, folder, seed, epoch_steps=data.epoch_steps, metrics=metrics, on_cpu=on_cpu)
    use_cache = getattr(model.config, "use_cache", None)  # which Trainer switches off
    state = processes.first(lambda: states.newest(folder))
    fitted = Fitted()
    if state is not None:
        fitted.resumed_at, fitted.losses = states.step_of(state), states.losses(state)
        arguments.eval_on_start = False
    with progress.bar(title, None, unit="steps") as bar, _quiet():
        watch = Watch(bar, report, fitted)
        try:
            trainer = StageTrainer(
                model,
                arguments,
                data_collator=Collator(data.pad),
                train_dataset=Filled(data.train, arguments.train_batch_size, processes.count()),
                eval_dataset=dict(data.validation),
                compute_loss_func=token_loss,
                callbacks=[watch],
            )
            trainer.fitted, trainer.data, watch.trainer = fitted, data, trainer
            for callback in (PrinterCallback, ProgressCallback):
                trainer.remove_callback(callback)
            with signals.deferred():  # a signal lets the step end, so that its state can be saved
                trainer.train(resume_from_checkpoint=None if state is None else str(state))
        except (HarnessError, OSError, DivergedError):
            raise
        except Exception as error:
            if _is_memory_error(error):
                raise HarnessError(
                    f"{model.device} ran out of memory: set a smaller per_device_train_batch_size with more "
                    "gradient_accumulation_steps, gradient_checkpointing: true, or a smaller max_length"
                ) from error
            if watch.has_begun:
                raise
            raise arguments_.refusal(error) from error  # such as a schedule that needs lr_scheduler_kwargs
    trainer.conclude()
    if use_cache is not None:
        model.config.use_cache = use_cache
    return fitted


def require_no_leak(model: Model) -> None:
    """Raise HarnessError if packed examples of `model` would see one another."""
    packing.require_no_leak(model, int(model.get_input_embeddings().weight.shape[0]))


def _is_memory_error(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' advice on saving and generation off the terminal while it trains."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(save_pretrained|embedding layers|gradient.checkpointing).*")
        yield


def batch(settings: Mapping[str, Any], *, accumulated: bool = True) -> int:
    """Return the rows of a step on all devices or, if not `accumulated`, of one of its batches."""
    size = int(settings.get("per_device_train_batch_size", 8)) * processes.count()
    return size * int(settings.get("gradient_accumulation_steps", 1)) if accumulated else size
