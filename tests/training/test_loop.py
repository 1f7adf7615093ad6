"""The loop: batches, losses, evaluations and settings mean what they say, and nothing goes on after a wrong number."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from transformers import TrainerCallback, get_scheduler, integrations
from transformers.integrations import integration_utils

from harness.errors import HarnessError
from harness.training import arguments, states
from harness.training.fitting import DivergedError
from harness.training.trainer import StageTrainer
from support import small_trainings as small
from support import tiny, trained_stages
from support.small_trainings import examples, fit, loss_by_hand, rows, weights


def assert_close(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor], tolerance: float) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, atol=tolerance, rtol=0, msg=lambda t, n=name: f"{n}: {t}")


# --- one step is one step, however it is divided ----------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [None, 14], ids=["one by one", "packed"])
@pytest.mark.parametrize("make", [small.model, small.lora], ids=["full", "lora"])
def test_accumulated_batches_are_one_large_batch(make, capacity, tmp_path):
    """transformers #34191: a mean over the means of batches weighs the tokens of short ones more.

    SGD, because Adam makes steps of equal size of gradients that differ by noise.
    """
    settings = {"optim": "sgd", "learning_rate": 0.5, "max_grad_norm": 0.5}
    train = rows(tmp_path / "rows.arrow", examples(lengths=small.LENGTHS[:9]), capacity)
    whole = make()
    expected = fit(whole, tmp_path / "1", {**settings, "per_device_train_batch_size": 4}, train=train)
    assert len(expected.losses) == math.ceil(len(train) / 4) > 1  # the last step is an incomplete batch
    for batch, accumulated in ((1, 4), (2, 2)):
        parts = make()
        size = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulated}
        result = fit(parts, tmp_path / f"{batch}", {**settings, **size}, train=train)
        assert result.losses == pytest.approx(expected.losses, abs=1e-6)
        assert_close(weights(parts), weights(whole), 2e-6)


def test_the_loss_of_a_step_is_the_mean_over_its_learned_tokens(tmp_path):
    model, untrained = small.model(), small.model()
    chosen = examples()
    result = fit(model, tmp_path, {"per_device_train_batch_size": 3, "learning_rate": 0.0})
    expected = [loss_by_hand(untrained, chosen[start : start + 3]) for start in (0, 3, 6, 9)]
    assert result.losses == pytest.approx(expected, abs=1e-5)


# --- what is not finite ends the training -----------------------------------------------------------------------------


def steps_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by one with each step of an optimizer."""
    taken: list[int] = []
    step = torch.optim.AdamW.step

    def counted(self: Any, *arguments: Any, **keywords: Any) -> Any:
        taken.append(1)
        return step(self, *arguments, **keywords)

    monkeypatch.setattr(torch.optim.AdamW, "step", counted)
    return taken


@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_loss_that_is_not_finite_stops_before_the_optimizer_uses_it(accumulated, tmp_path, monkeypatch):
    model = small.model()
    with torch.no_grad():
        model.get_input_embeddings().weight[39] = math.nan
    chosen = [*examples()[:5], ([7, 39, 8, 9], 1), *examples()[6:]]  # only row 5 has the token
    taken = steps_of(monkeypatch)
    settings = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": accumulated, "save_steps": 1}
    with pytest.raises(DivergedError) as caught:
        fit(model, tmp_path, settings, train=rows(tmp_path / "rows.arrow", chosen))
    assert caught.value.rows == (4, 6)
    assert caught.value.step == (3 if accumulated == 1 else 2)
    assert len(taken) == caught.value.step - 1
    state = states.newest(tmp_path)
    assert states.step_of(state) == caught.value.step - 1
    assert len(states.losses(state)) == caught.value.step - 1


def test_gradients_that_are_not_finite_stop_the_training(tmp_path, monkeypatch):
    model = small.model()
    model.lm_head.weight.register_hook(lambda gradient: gradient * math.inf)
    taken = steps_of(monkeypatch)
    with pytest.raises(DivergedError, match="the gradient of step 1 is not a finite number"):
        fit(model, tmp_path, {})
    assert taken == []


def test_weights_that_are_not_finite_after_the_last_step_are_not_kept(tmp_path):
    chosen = rows(tmp_path / "rows.arrow", examples()[:1])
    with pytest.raises(DivergedError, match="a weight after the update of step 1 is not a finite number"):
        fit(small.model(), tmp_path, {"learning_rate": 1e39}, train=chosen)


def test_a_stage_that_diverges_names_step_corpus_and_rows(tmp_path):
    tiny.llama(tmp_path / "base", initializer_range=0.05)
    text = "full: {from: base, learning_rate: 1.0e+30, max_steps: 3, save_steps: 1}"
    with pytest.raises(HarnessError) as caught:
        trained_stages.train(tmp_path, text)
    message = str(caught.value)
    assert message.startswith("stage full: the loss of step 2 is not a finite number (talk, row ")
    assert "and 1 more); the state of step 1 is kept: lower its learning_rate" in message
    assert not (tmp_path / "out/full").exists()


# --- evaluations ------------------------------------------------------------------------------------------------------


def of_steps(measured: list[dict[str, float]], key: str) -> dict[int, float]:
    return {int(entry["step"]): entry[key] for entry in measured}


def test_a_validation_loss_weighs_tokens_not_batches(tmp_path):
    one, two = examples(5, (2, 12, 3, 9, 4)), examples(6, (15, 2))
    validation = {"one": rows(tmp_path / "one.arrow", one), "two": rows(tmp_path / "two.arrow", two)}
    model, lines = small.model(), []
    settings = {"per_device_train_batch_size": 2, "per_device_eval_batch_size": 3, "eval_steps": 2}
    result = fit(model, tmp_path, settings, validation=validation, lines=lines)
    assert list(of_steps(result.evaluations, "eval_loss")) == [2, 4, 5]
    last = result.evaluations[-1]
    assert last["eval_one_loss"] == pytest.approx(loss_by_hand(model, one), abs=1e-5)
    assert last["eval_two_loss"] == pytest.approx(loss_by_hand(model, two), abs=1e-5)
    assert last["eval_loss"] == pytest.approx(loss_by_hand(model, [*one, *two]), abs=1e-5)
    assert lines[-1] == (
        f"step 5 of 5, evaluation: one_loss {last['eval_one_loss']:.4f}, two_loss {last['eval_two_loss']:.4f}, "
        f"loss {last['eval_loss']:.4f}"
    )
    assert lines[0] == f"step 1 of 5, loss {result.losses[0]:.4f}"


class Scores:
    """Tasks whose scores are stated, and that use up random numbers."""

    metrics: ClassVar = {"quiz": True, "quiz/acc": True, "ppl": False}

    def __init__(self, *values: float) -> None:
        self._values = iter(values)
        self.seen: list[dict[str, torch.Tensor]] = []

    def measure(self, model: Any, advance: Callable[[int], None]) -> dict[str, float]:
        assert not model.training
        torch.rand(7)
        advance(1)
        self.seen.append(weights(model))
        value = next(self._values)
        return {"quiz": value, "quiz/acc": value, "ppl": value}


def test_evaluations_change_nothing_that_is_learned(tmp_path):
    """Dropout would draw other numbers if an evaluation used up some."""
    plain = small.lora(lora_dropout=0.3)
    expected = fit(plain, tmp_path / "plain", {})
    evaluated = small.lora(lora_dropout=0.3)
    validation = {"one": rows(tmp_path / "one.arrow", examples(5))}
    settings = {"eval_steps": 3, "eval_on_start": True}
    result = fit(evaluated, tmp_path / "more", settings, validation=validation, tasks=Scores(*range(5)))
    assert result.losses == expected.losses
    assert_close(weights(evaluated), weights(plain), 0)
    assert of_steps(result.evaluations, "eval_quiz") == {0: 0, 3: 1, 6: 2, 9: 3, 10: 4}


@pytest.mark.parametrize(
    ("metric", "best"),
    [("quiz", 2), ("quiz/acc", 2), ("eval_quiz", 2), ("ppl", 3)],
)
def test_the_weights_of_the_best_score_are_kept(metric, best, tmp_path):
    tasks = Scores(0.3, 0.9, 0.1, 0.9)  # a tie keeps the earlier
    settings = {"eval_steps": 1, "load_best_model_at_end": True, "metric_for_best_model": metric}
    settings["save_steps"] = 4  # the best is saved though no state is due
    model = small.model()
    result = fit(model, tmp_path, settings, train=rows(tmp_path / "r.arrow", examples()[:4]), tasks=tasks)
    assert result.best._asdict() == {
        "step": best,
        "metric": metric.removeprefix("eval_"),
        "value": 0.1 if metric == "ppl" else 0.9,
    }
    assert_close(weights(model), tasks.seen[best - 1], 0)
    assert len(result.losses) == 4


@pytest.mark.sampled(2)
@pytest.mark.parametrize("metric", [None, "loss", "eval_loss", "good_loss", "eval_bad_loss"])
def test_the_weights_of_the_best_loss_are_kept(metric, tmp_path):
    """`good` is what is learned, so its loss falls to the end; `bad` has other answers to the same prompts."""
    learned = examples(1, (6, 6, 6, 6))
    other = [([*ids[:first], *reversed(ids[first:])], first) for ids, first in learned]
    validation = {"good": rows(tmp_path / "good.arrow", learned), "bad": rows(tmp_path / "bad.arrow", other)}
    settings: dict[str, Any] = {"eval_steps": 1, "load_best_model_at_end": True, "per_device_train_batch_size": 4}
    settings |= {} if metric is None else {"metric_for_best_model": metric}
    model = small.model()
    train = rows(tmp_path / "train.arrow", learned * 12)
    result = fit(model, tmp_path, settings, train=train, validation=validation)
    key = f"eval_{(metric or 'loss').removeprefix('eval_')}"
    losses = of_steps(result.evaluations, key)
    step = min(losses, key=lambda number: losses[number])
    assert (result.best.step, result.best.value) == (step, losses[step])
    assert metric is None or ("good" in metric) <= (step == 12)
    assert metric is None or ("bad" in metric) <= (step < 12)
    again = small.model()
    fit(again, tmp_path / "again", {"per_device_train_batch_size": 4}, train=rows(tmp_path / "t.arrow", learned * step))
    assert_close(weights(model), weights(again), 0)


def test_an_epoch_is_one_reading_of_the_corpora(tmp_path):
    validation = {"one": rows(tmp_path / "one.arrow", examples(5))}
    settings = {"eval_strategy": "epoch", "save_strategy": "epoch", "save_total_limit": 9}
    train = rows(tmp_path / "train.arrow", examples() * 3)
    result = fit(small.model(), tmp_path, settings, train=train, validation=validation, epochs=3)
    assert list(of_steps(result.evaluations, "eval_loss")) == [10, 20, 30]
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [f"checkpoint-{n}0" for n in (1, 2, 3)]


# --- settings ---------------------------------------------------------------------------------------------------------

EASY = [([3, 5, 7, 9, 11, 13], 1)] * 16
"""What any training learns."""


@pytest.mark.sampled(7)
@pytest.mark.parametrize("make", [small.model, small.lora], ids=["full", "lora"])
@pytest.mark.parametrize(
    "settings",
    [
        {"lr_scheduler_type": "linear", "warmup_steps": 0.25},
        {"lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": {"num_cycles": 2}},
        {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2.0}},
        {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 3},
        {"optim": "adafactor"},
        {"optim": "sgd", "learning_rate": 1.0},
        {"bf16": True},
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
        {"adam_beta1": 0.8, "adam_beta2": 0.9, "max_grad_norm": 0.1, "weight_decay": 0.1},
    ],
    ids=lambda settings: " ".join(map(str, settings.values())),
)
def test_every_setting_trains(make, settings, tmp_path):
    model = make()
    result = fit(model, tmp_path, {"learning_rate": 5e-2, **settings}, train=rows(tmp_path / "rows.arrow", EASY))
    assert result.losses[-1] < 0.9 * result.losses[0]
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.config.use_cache is True
    assert not model.training
    with torch.no_grad():
        assert model(input_ids=torch.tensor([[3, 5]])).logits.dtype == torch.float32


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("make", [small.model, small.lora], ids=["full", "lora"])
def test_gradient_checkpointing_learns_the_same(make, reentrant, tmp_path):
    plain, checkpointed = make(), make()
    expected = fit(plain, tmp_path / "plain", {})
    settings = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": reentrant}}
    assert fit(checkpointed, tmp_path / "more", settings).losses == pytest.approx(expected.losses, abs=1e-6)
    assert_close(weights(checkpointed), weights(plain), 1e-6)


def test_a_warm_up_below_1_is_a_share_of_the_steps(tmp_path):
    settings = {"lr_scheduler_type": "cosine", "warmup_steps": 0.3, "learning_rate": 1e-3}
    fit(small.model(), tmp_path, settings)
    log = json.loads((tmp_path / states.STATE).read_text())["log_history"]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = get_scheduler("cosine", optimizer, num_warmup_steps=3, num_training_steps=10)
    expected = []
    for _ in range(10):
        expected.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert [entry["learning_rate"] for entry in log if "learning_rate" in entry] == pytest.approx(expected)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"fp16": True}, "fp16 needs a GPU"),
    ({"fp16": True, "bf16": True}, "fp16 needs a GPU"),
    ({"report_to": "tensorboard"}, "TensorBoardCallback requires tensorboard to be installed"),
    ({"report_to": ["wandb"]}, "WandbCallback requires wandb to be installed"),
    ({"report_to": "notebook"}, "notebook is not supported, only"),
    ({"deepspeed": "zero2.json"}, "eep[sS]peed"),
    ({"weight_decay": -1.0}, "weight_decay is -1.0"),
    ({"load_best_model_at_end": True}, "load_best_model_at_end needs something to evaluate"),
    ({"eval_steps": 5}, "eval_steps needs something to evaluate"),
    ({"eval_strategy": "steps"}, "eval_strategy needs something to evaluate"),
    ({"lr_scheduler_type": "reduce_lr_on_plateau"}, "lr_scheduler_type needs something to evaluate"),
    ({"logging_steps": 0}, "logging strategy .* requires non-zero"),
    ({"per_device_train_batch_size": 0}, "per_device_train_batch_size is 0: set it to a finite number of at least 1"),
    ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps is 0"),
    ({"learning_rate": math.nan}, "learning_rate is nan"),
    ({"max_steps": 0}, "max_steps is 0: set it to at least 1"),
    ({"num_train_epochs": -1.0}, "num_train_epochs is -1.0"),
    ({"warmup_steps": -1}, "warmup_steps"),
    ({"dataloader_prefetch_factor": 2}, "prefetch_factor"),
    ({"torch_empty_cache_steps": 0}, "torch_empty_cache_steps"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED, ids=[str(settings) for settings, _ in REFUSED])
def test_settings_that_cannot_be_are_one_sentence_before_anything_is_read(settings, message):
    with pytest.raises(HarnessError, match=message) as caught:
        arguments.check(settings, {}, on_cpu=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metric_for_best_model": "quizz"}, "is 'quizz', which the stage does not measure; did you mean 'quiz'"),
        ({"metric_for_best_model": "eval_bleu"}, "is 'eval_bleu', which the stage does not measure: choose among quiz"),
        ({"load_best_model_at_end": True}, "needs a metric_for_best_model: set it to one of quiz, quiz/acc"),
        (
            {"load_best_model_at_end": True, "metric_for_best_model": "quiz", "save_strategy": "no"},
            "requires the save and eval strategy to match",
        ),
    ],
    ids=str,
)
def test_a_metric_that_is_not_measured_is_refused(settings, message):
    with pytest.raises(HarnessError, match=message):
        arguments.check(settings, Scores.metrics, on_cpu=True)


@pytest.mark.parametrize(
    ("metric", "stated", "better"),
    [
        (None, True, "lower loss"),
        ("loss", True, "lower loss"),
        ("eval_a_loss", True, "lower a_loss"),
        ("quiz", False, "higher quiz"),
    ],
)
def test_a_direction_that_keeps_the_worst_evaluation_is_refused(metric, stated, better):
    metrics = arguments.metrics(["a"], {"quiz": True})
    settings = {"load_best_model_at_end": True} | ({} if metric is None else {"metric_for_best_model": metric})
    with pytest.raises(
        HarnessError, match=f"greater_is_better is {str(stated).lower()}, and a {better} is better: remove"
    ):
        arguments.check({**settings, "greater_is_better": stated}, metrics, on_cpu=True)
    arguments.check({**settings, "greater_is_better": not stated}, metrics, on_cpu=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr_scheduler_type": "warmup_stable_decay"}, "decay"),
        ({"adam_beta1": 1.5}, "Invalid beta parameter"),
        ({"fsdp": True}, "fsdp only works in distributed training"),
        ({"optim": "adamw_apex_fused"}, "apex"),
        ({"optim": "galore_adamw", "optim_target_modules": ["mlp"]}, "galore"),
    ],
    ids=str,
)
def test_what_only_the_beginning_of_a_training_shows_is_one_sentence(settings, message, tmp_path):
    with pytest.raises(HarnessError, match=f"(?i)transformers refuses the stage's settings .*{message}"):
        fit(small.model(), tmp_path, settings)


def test_full_memory_is_one_sentence(tmp_path):
    model = small.model()

    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried")

    model.model.forward = full
    with pytest.raises(HarnessError, match="cpu ran out of memory: set a smaller per_device_train_batch_size"):
        fit(model, tmp_path, {})


def test_a_bug_in_a_step_keeps_its_type(tmp_path):
    model = small.model()

    def wrong(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    model.model.forward = wrong
    with pytest.raises(RuntimeError, match="a bug"):
        fit(model, tmp_path, {})


# --- trackers ---------------------------------------------------------------------------------------------------------


def test_losses_and_scores_go_to_the_trackers_of_report_to(tmp_path, monkeypatch):
    logged: list[tuple[int, dict[str, float]]] = []

    class Tracker(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            logged.append((state.global_step, dict(logs)))

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "swanlab", Tracker)
    assert integrations.get_reporting_integration_callbacks(["swanlab"]) == [Tracker]
    train = rows(tmp_path / "rows.arrow", examples()[:4])
    settings = {"report_to": "swanlab", "eval_steps": 2, "logging_steps": 2}
    result = fit(small.model(), tmp_path, settings, train=train, tasks=Scores(0.5, 0.6))
    by_name = {name: {step: logs[name] for step, logs in logged if name in logs} for name in ("loss", "eval_quiz")}
    assert by_name["eval_quiz"] == {2: 0.5, 4: 0.6}
    assert by_name["loss"] == pytest.approx({2: sum(result.losses[:2]) / 2, 4: sum(result.losses[2:]) / 2})
    assert {"grad_norm", "learning_rate"} <= {name for _, logs in logged for name in logs}


# --- weights that are spread over devices -----------------------------------------------------------------------------


def trainer_of(folder: Path, model: Any) -> StageTrainer:
    built = arguments.build({}, folder, 0, epoch_steps=1, metrics={}, on_cpu=True)
    return StageTrainer(model, built)


def test_empty_tensors_are_never_saved_as_weights(tmp_path):
    """ZeRO-3 leaves empty tensors on devices that have no part of a weight."""
    trainer = trainer_of(tmp_path, small.lora())
    whole = trainer.model.state_dict()
    name = next(name for name in whole if "lora_B" in name)
    for state in ({**whole, name: torch.empty(0)}, {key: value for key, value in whole.items() if key != name}, {}):
        with pytest.raises(HarnessError, match=r"are not whole on one device .*stage3_gather_16bit_weights"):
            trainer._save(str(tmp_path / "checkpoint-1"), state)
        assert not (tmp_path / "checkpoint-1" / states.LEARNED).exists()
    trainer._save(str(tmp_path / "checkpoint-1"), whole)
    trainer._load_from_checkpoint(str(tmp_path / "checkpoint-1"))


def test_a_state_of_another_training_is_refused(tmp_path):
    trainer_of(tmp_path, small.lora())._save(str(tmp_path / "checkpoint-1"))
    with pytest.raises(HarnessError, match="checkpoint-1 is of another training: remove it"):
        trainer_of(tmp_path, small.model())._load_from_checkpoint(str(tmp_path / "checkpoint-1"))


def test_a_weight_that_is_no_longer_finite_is_never_saved(tmp_path):
    chosen = rows(tmp_path / "rows.arrow", examples()[:4])
    settings = {"learning_rate": 1e39, "save_steps": 1, "per_device_train_batch_size": 2}
    with pytest.raises(DivergedError, match="a weight after the update of step 1 is not a finite number"):
        fit(small.model(), tmp_path, settings, train=chosen)
    assert states.newest(tmp_path) is None
