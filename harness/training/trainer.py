"""transformers' Trainer, changed where a training must answer for what it does.

It divides by the learned tokens of a whole step, stops before a number that is not finite is used, saves only what
learns, evaluates by token and by task, and ends after a signal with its state saved.

Not here: its settings (`harness.training.arguments`), and when it is used (`harness.training.loop`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback

from harness.checkpoints.types import Model
from harness.common import signals
from harness.common.progress import Bar
from harness.errors import HarnessError
from harness.training import determinism, processes, states
from harness.training.batches import IGNORED, Filled, Rows
from harness.training.fitting import Best, Data, DivergedError, Fitted


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


class _InterruptedError(Exception):
    """A signal that arrived during an evaluation."""


class StageTrainer(Trainer):  # type: ignore[misc]
    """Saves and loads only what learns, stops at a loss that is not finite, and evaluates by token and by task."""

    fitted: Fitted
    data: Data
    is_stopping = False
    """Whether a signal has asked one of the processes to stop."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._pending: list[torch.Tensor] = []
        """The loss of each accumulated batch of the current step."""
        learning = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        self._unsound = {name for name, parameter in learning if not bool(parameter.isfinite().all())}
        """Weights that were not finite before the training."""

    # -- losses

    def training_step(self, model: Model, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Return the loss of a batch after computing its gradients."""
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        self._pending.append(loss)
        return loss

    def _get_grad_norm(self, model: Model, grad_norm: Any = None) -> Any:
        """Return the norm of a step's gradients, before the optimizer uses them.

        Adds the step's loss to the losses, and learns whether a process is asked to stop. Raises DivergedError in all
        processes if the loss of one, or the norm, is not finite.
        """
        norm = super()._get_grad_norm(model, grad_norm)
        losses = torch.stack(self._pending).double()
        self._pending = []
        wrong = (~losses.isfinite()).nonzero()
        row = torch.stack(
            [
                losses.sum(),
                wrong[0, 0].double() if len(wrong) else losses.new_tensor(torch.inf),
                losses.new_tensor(float(signals.received() is not None)),
            ]
        )[None]
        # Each device divides its loss by the tokens of all, and multiplies it by the number of devices.
        of_all = self.accelerator.gather(row.float()).cpu() if self.args.world_size > 1 else row.cpu()
        batch = float(of_all[:, 1].min())
        if batch < torch.inf:
            raise DivergedError("the loss", self.state.global_step + 1, self._rows(int(batch), 1))
        is_scaled = getattr(self.accelerator, "scaler", None) is not None  # then the optimizer skips the step
        if not is_scaled and norm is not None and not torch.isfinite(torch.as_tensor(norm)).all():
            raise DivergedError("the gradient", self.state.global_step + 1, self._rows(0, len(losses)))
        self.fitted.losses.append(float(of_all[:, 0].mean()))
        self.is_stopping = bool(of_all[:, 2].any())
        return norm

    def _rows(self, batch: int, count: int) -> tuple[int, int]:
        """Return the first row of `count` accumulated batches, from `batch` on, and the one behind their last."""
        size = self._train_batch_size * self.args.world_size
        first = (self.state.global_step * self.args.gradient_accumulation_steps + batch) * size
        return first, min(first + count * size, len(self.data.train))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log `logs`, with the loss over the same steps whether or not the training was interrupted."""
        if "loss" in logs:
            earlier = [int(entry["step"]) for entry in self.state.log_history if "loss" in entry]
            losses = self.fitted.losses[earlier[-1] if earlier else 0 :]
            logs["loss"] = sum(losses) / len(losses)
        super().log(logs, start_time)

    # -- evaluations

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Return the loss of each validation corpus and of all together, in nats per learned token, and task scores."""
        model, was_training = self.model, self.model.training
        metrics: dict[str, float] = {}
        totals = torch.zeros(2, dtype=torch.float64)
        with determinism.preserved():
            model.eval()
            try:
                for name, rows in self.data.validation.items():
                    sums = self._sums(model, rows)
                    totals += sums
                    metrics[f"{metric_key_prefix}_{name}_loss"] = float(sums[0] / sums[1])
                if self.data.validation:
                    metrics[f"{metric_key_prefix}_loss"] = float(totals[0] / totals[1])
                for name, score in self._task_scores().items():
                    metrics[f"{metric_key_prefix}_{name}"] = score
            finally:
                model.train(was_training)
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _sums(self, model: Model, rows: Rows) -> torch.Tensor:
        """Return the summed loss of all learned tokens of `rows`, and their number."""
        sums = torch.zeros(2, dtype=torch.float64)
        for inputs in self.get_eval_dataloader(Filled(rows, self.args.eval_batch_size, self.args.world_size)):
            inputs = self._prepare_inputs(inputs)
            labels = inputs.pop("labels")
            with torch.no_grad(), self.compute_loss_context_manager():
                loss = token_loss(model(**inputs), labels, 1)
            count = (labels[:, 1:] != IGNORED).sum()
            row = torch.stack([loss.double(), count.double(), loss.new_tensor(signals.received() is not None).double()])
            if self.args.world_size > 1:
                row = self.accelerator.gather(row[None]).sum(0)
            if row[2]:
                raise _InterruptedError
            sums += row[:2].cpu()
        return sums

    def _task_scores(self) -> dict[str, float]:
        """Return the scores of the stage's tasks, measured by the first process."""
        tasks = self.data.tasks
        if tasks is None:
            return {}

        def advance(_: int) -> None:
            if signals.received() is not None:
                raise _InterruptedError

        def measured() -> dict[str, float] | None:
            try:
                with _plain_forward(self.model):
                    return tasks.measure(self.model, advance)
            except _InterruptedError:
                return None

        scores = processes.first(measured)
        if scores is None:
            raise _InterruptedError
        return scores

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Return whether `metrics` are the best so far; their weights are then saved if they are wanted at the end."""
        try:
            is_best: bool = super()._determine_best_metric(metrics, trial)
        except KeyError as error:
            name = str(self.args.metric_for_best_model).removeprefix("eval_")
            raise HarnessError(
                f"{name} has no value at step {self.state.global_step:,}: name another metric"
            ) from error
        if is_best and self.args.load_best_model_at_end:
            self.control.should_save = True
        return is_best

    def _maybe_log_save_evaluate(self, *arguments: Any, **keywords: Any) -> None:
        """Log, evaluate and save; a signal during an evaluation saves the state of before it."""
        try:
            super()._maybe_log_save_evaluate(*arguments, **keywords)
        except _InterruptedError:
            self.is_stopping = True
            self._save_checkpoint(self.model_wrapped, None)
            self.control = self.callback_handler.on_save(self.args, self.state, self.control)

    def require_whole_model(self) -> None:
        """Raise HarnessError if tasks are to be evaluated, and the model is spread over several devices."""
        is_spread = self.is_deepspeed_enabled and self.accelerator.deepspeed_plugin.zero_stage == 3
        if self.data.tasks is not None and (self.is_fsdp_enabled or is_spread):
            raise HarnessError("evaluate: needs the whole model on one device, and this training spreads it: remove it")

    def catch_up(self) -> None:
        """Evaluate now if the training was interrupted at a step whose evaluation is due and has not ended."""
        state, arguments = self.state, self.args
        step = state.global_step
        is_due = arguments.eval_strategy == "steps" and step and arguments.eval_delay <= step
        is_due = is_due and (step % state.eval_steps == 0 or step == state.max_steps)
        if not is_due or any(entry["step"] == step and _is_evaluation(entry) for entry in state.log_history):
            return
        try:
            metrics = self._evaluate(None, None)
        except _InterruptedError:
            raise _stopped() from None
        if self._determine_best_metric(metrics, None):
            state.best_model_checkpoint = str(states.folder_of(step, Path(arguments.output_dir)))

    def conclude(self) -> None:
        """Record what was measured, and gather the weights. Raises DivergedError if one is not finite."""
        fitted, state, folder = self.fitted, self.state, Path(self.args.output_dir)
        fitted.evaluations = [
            {key: value for key, value in entry.items() if key == "step" or key.startswith("eval_")}
            for entry in state.log_history
            if _is_evaluation(entry)
        ]
        if self.args.load_best_model_at_end and state.best_global_step:
            metric = str(self.args.metric_for_best_model).removeprefix("eval_")
            fitted.best = Best(state.best_global_step, metric, float(state.best_metric))
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            fitted.state = self.accelerator.get_state_dict(self.model_wrapped)
            if processes.is_first():
                _require_whole(self._names(), fitted.state)
        else:
            self.model = self.accelerator.unwrap_model(self.model_wrapped, keep_fp32_wrapper=False)
        if not all(p.isfinite().all() for p in self.model.parameters() if p.requires_grad):
            last = state.global_step - 1
            size = self._train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps
            raise DivergedError("a weight after the update", last + 1, (last * size, len(self.data.train)))
        if processes.is_first():
            state.save_to_json(str(folder / states.STATE))
        self.model.eval()

    # -- states

    def _names(self) -> set[str]:
        return {name for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        """Save what learns.

        Raises HarnessError if a tensor is empty, as ZeRO's are on a device that has no part, and DivergedError if a
        weight is no longer finite.
        """
        if not self.args.should_save:
            return
        folder = Path(str(output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        names = self._names()
        state = self.model.state_dict() if state_dict is None else state_dict
        _require_whole(names, state)
        tensors = {name: state[name].detach().cpu().contiguous() for name in sorted(names)}
        if not all(bool(tensor.isfinite().all()) for name, tensor in tensors.items() if name not in self._unsound):
            size = self._train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps
            last = self.state.global_step - 1
            rows = (last * size, min((last + 1) * size, len(self.data.train)))
            raise DivergedError("a weight after the update", last + 1, rows)
        save_file(tensors, str(folder / states.LEARNED))

    def _save_rng_state(self, output_dir: str) -> None:
        """Save the random states of all processes, and the losses, before transformers' record completes the state."""
        super()._save_rng_state(output_dir)
        processes.wait()
        if processes.is_first():
            Path(output_dir, states.LOSSES).write_text(json.dumps(self.fitted.losses), encoding="utf-8")
            states.seal(Path(output_dir))
        processes.wait()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Model | None = None) -> None:
        """Load what learns from a saved state into the model."""
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        target = self.model if model is None else model
        tensors = load_file(str(Path(resume_from_checkpoint, states.LEARNED)))
        if set(tensors) != self._names():
            raise HarnessError(f"{resume_from_checkpoint} is of another training: remove it to start the stage anew")
        target.load_state_dict(tensors, strict=False)

    def _load_best_model(self) -> None:
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            super()._load_best_model()
        else:
            self._load_from_checkpoint(self.state.best_model_checkpoint)


def _require_whole(names: set[str], state: Mapping[str, torch.Tensor]) -> None:
    """Raise HarnessError unless `state` holds a tensor with elements for each of `names`."""
    if lacking := [name for name in names if name not in state or not state[name].numel()]:
        raise HarnessError(
            f"the weights that learn are not whole on one device ({min(lacking)}): let the launcher gather them "
            "(stage3_gather_16bit_weights_on_model_save)"
        )


def _is_evaluation(entry: Mapping[str, Any]) -> bool:
    return any(key.startswith("eval_") for key in entry)


def _stopped() -> signals.Stopped:
    received = signals.received()
    return signals.Stopped(received.name if received else "stopped")


@contextmanager
def _plain_forward(model: Model) -> Iterator[None]:
    """Compute without mixed precision while the block runs, as a run of the finished checkpoint does."""
    wrapped = vars(model).pop("forward", None) if "_original_forward" in vars(model) else None
    try:
        yield
    finally:
        if wrapped is not None:
            model.forward = wrapped


class Watch(TrainerCallback):  # type: ignore[misc]
    """Moves the bar, reports lines, and ends the training when a signal asks for it, after its state is saved."""

    def __init__(self, bar: Bar, report: Callable[[str], None], fitted: Fitted) -> None:
        self._bar, self._report, self._fitted = bar, report, fitted
        self.trainer: StageTrainer | None = None
        self.has_begun = False
        """Whether everything is set up and the first step begins."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Show the steps before an interruption as done, and do what it left undone."""
        assert self.trainer is not None
        self.has_begun = True
        self._bar.expect(state.max_steps)
        self._bar.advance(state.global_step)
        state.compute_steps(args, state.max_steps)  # a continued training has the intervals of now
        best = states.folder_of(state.best_global_step or 0, Path(args.output_dir))
        if best.is_dir():  # the output may have been moved
            state.best_model_checkpoint = str(best)
        self.trainer.require_whole_model()
        self.trainer.catch_up()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Return `control`, which asks for a state and the end after a signal."""
        assert self.trainer is not None
        if self.trainer.is_stopping:
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False  # `catch_up` will
        else:
            self._bar.advance(1)
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Raise Stopped after a signal, now that the state is saved."""
        assert self.trainer is not None
        if self.trainer.is_stopping:
            processes.wait()
            raise _stopped()

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any) -> None:
        """Report a line on a loss or an evaluation."""
        logs = logs or {}
        measured = {key.removeprefix("eval_"): value for key, value in logs.items() if key.startswith("eval_")}
        values = measured or {key: logs[key] for key in ("loss",) if key in logs}
        if values:
            kind = "evaluation: " if measured else ""
            if len([name for name in measured if name.endswith("_loss")]) == 1:
                values.pop("loss", None)  # which is that of the only corpus
            numbers = ", ".join(f"{name} {value:.4f}" for name, value in values.items() if "/" not in name)
            self._report(f"step {state.global_step:,} of {state.max_steps:,}, {kind}{numbers}")
