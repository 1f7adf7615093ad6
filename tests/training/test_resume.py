"""A training that was interrupted ends as one that never was, and continues nothing but itself."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.training import lineage, recipe, stages, states
from support import small_trainings as small
from support import tiny, trained_stages
from support.killed_trainings import PLACES, Trainings
from support.small_trainings import examples, fit, rows, weights

RECIPE = """
seed: 5
threads: 1
corpora: {talk: talk.jsonl, more: more.jsonl, check: check.jsonl}
defaults: {per_device_train_batch_size: 2, gradient_accumulation_steps: 2, learning_rate: 1.0e-2, r: 2, max_length: 64}
stages:
  lora:
    {from: base, method: lora, lora_dropout: 0.3, corpora: {talk: 3, more: 1}, max_steps: 12, validation: check,
     lr_scheduler_type: cosine, warmup_steps: 3, eval_steps: 3, save_steps: 3, logging_steps: 4,
     load_best_model_at_end: true}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    tiny.llama(folder / "base", initializer_range=0.05, num_hidden_layers=1)
    for name, numbers in (("talk", range(9)), ("more", range(20, 25)), ("check", range(40, 44))):
        texts = [{"prompt": f"{n} + 3 = ", "completion": f"{n + 3} {'.' * (n % 5)}"} for n in numbers]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def commands(place: Path) -> Iterator[Trainings]:
    running = Trainings(place)
    yield running
    running.close()


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> dict[str, Any]:
    (stage,) = stages.train(recipe.load(place / "recipe.yaml"), place / "undisturbed")
    return outcome(stage.folder)


def outcome(folder: Path) -> dict[str, Any]:
    """Return the weights, the losses and the record of a stage, without its times."""
    log = json.loads((folder / states.STATE).read_text(encoding="utf-8"))["log_history"]
    record = lineage.read(folder)
    assert record is not None
    return {
        "weights": (folder / "adapter_model.safetensors").read_bytes(),
        "log": [{k: v for k, v in entry.items() if not re.search("second|runtime|train_loss", k)} for entry in log],
        "losses": record.curve,
        "evaluations": record.evaluations,
        "best": record.best,
        "files": sorted(path.name for path in folder.iterdir()),
    }


def test_a_training_that_is_killed_again_and_again_ends_as_if_it_never_was(place, commands, undisturbed):
    kills = [("step", 4), ("record", 1), ("optimizer", 1), ("folder", 0)]
    require_the_same_after_kills(place, commands, undisturbed, place / "killed", kills)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(8))
def test_kills_at_random_places_change_nothing(place, commands, undisturbed, tmp_path, seed):
    rng = random.Random(seed)
    places = [*PLACES, *PLACES]
    rng.shuffle(places)
    kills = [(name, rng.randrange(4)) for name in places]
    require_the_same_after_kills(place, commands, undisturbed, tmp_path / "out", kills)


def require_the_same_after_kills(
    place: Path, commands: Trainings, undisturbed: dict[str, Any], output: Path, kills: list[tuple[str, int]]
) -> None:
    """Assert that a training that is killed at each of `kills`, one after another, ends as one that never was.

    It ends earlier if it does not come to one of these places as often.
    """
    for name, passed in kills:
        ended = commands.run(place / "recipe.yaml", output, name, passed)
        if ended.code != -signal.SIGKILL:  # it was done before this place was reached so often
            assert ended.code == 0, ended.printed
            break
        assert (output / "lora").exists() == (name == "end")
    assert commands.run(place / "recipe.yaml", output).code == 0
    assert outcome(output / "lora") == undisturbed
    assert sorted(path.name for path in output.iterdir()) == [".encoded", "lora"]


@pytest.mark.parametrize(
    ("where", "passed", "step"),
    [("step", 4, 5), ("evaluation", 1, 6)],
    ids=["in a step", "in an evaluation"],
)
def test_a_signal_saves_the_state_and_a_sentence_says_how_to_continue(
    where, passed, step, place, commands, undisturbed, tmp_path
):
    output = tmp_path / "out"
    ended = commands.run(place / "recipe.yaml", output, where, passed, signal.SIGINT)
    assert ended.code == 130, ended.printed
    assert ended.printed.endswith(
        f"\ninterrupted. Finished stages stay in {output}: run the same command again to continue.\n"
    )
    state = states.newest(output / ".lora.training")
    assert states.step_of(state) == step
    assert not (output / "lora").exists()
    shutil.move(output, tmp_path / "moved")  # the folder may have another name by then
    assert commands.run(place / "recipe.yaml", tmp_path / "moved").code == 0
    assert outcome(tmp_path / "moved/lora") == undisturbed
    assert lineage.read(tmp_path / "moved/lora").resumed_at == states.step_of(state)


# --- continued by the library -----------------------------------------------------------------------------------------


class StoppedError(Exception):
    """The end of a process, in tests."""


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let a training end before its step `step`, as if the process were killed there."""
    from harness.training.trainer import StageTrainer

    norm = StageTrainer._get_grad_norm

    def stopping(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if self.state.global_step == step - 1:
            raise StoppedError
        return norm(self, *arguments, **keywords)

    monkeypatch.setattr(StageTrainer, "_get_grad_norm", stopping)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("make", "settings", "capacity"),
    [
        (small.model, {"lr_scheduler_type": "cosine", "warmup_steps": 2}, None),
        (lambda: small.lora(lora_dropout=0.4), {"gradient_accumulation_steps": 2, "bf16": True}, None),
        (lambda: small.model(attention_dropout=0.3), {"optim": "adafactor"}, 16),
        (small.model, {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_steps": 1}, None),
    ],
    ids=["schedule", "dropout and accumulation", "packed", "plateau"],
)
def test_optimizer_schedule_and_random_numbers_continue(make, settings, capacity, tmp_path, monkeypatch):
    train = rows(tmp_path / "rows.arrow", examples(lengths=small.LENGTHS * 2), capacity)
    validation = {"one": rows(tmp_path / "one.arrow", examples(5))} if "eval_steps" in settings else {}
    values = {"save_steps": 2, **settings}
    whole = make()
    expected = fit(whole, tmp_path / "whole", values, train=train, validation=validation)
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        with pytest.raises(StoppedError):
            fit(make(), tmp_path / "parts", values, train=train, validation=validation)
    parts = make()
    result = fit(parts, tmp_path / "parts", values, train=train, validation=validation)
    assert result.resumed_at == 2
    assert (result.losses, result.evaluations) == (expected.losses, expected.evaluations)
    assert all(parts_.equal(whole_) for parts_, whole_ in zip(*map(_tensors, (parts, whole)), strict=True))


def _tensors(model: Any) -> list[Any]:
    return list(weights(model).values())


def test_a_training_that_was_killed_after_its_last_state_is_not_repeated(tmp_path):
    whole, again = small.model(), small.model()
    expected = fit(whole, tmp_path, {})
    result = fit(again, tmp_path, {})  # its states are still there
    assert (result.resumed_at, result.losses) == (10, expected.losses)
    assert all(first.equal(second) for first, second in zip(*map(_tensors, (whole, again)), strict=True))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("file", [states.STATE, states.LOSSES, states.SUMS])
@pytest.mark.parametrize("content", [None, "", '{"epoch": 0.5, "log'])
def test_half_written_states_are_ignored(file, content, tmp_path):
    fit(small.model(), tmp_path, {"save_steps": 4, "save_total_limit": 5})
    assert states.step_of(states.newest(tmp_path)) == 10
    newest = tmp_path / "checkpoint-10" / file
    newest.unlink() if content is None else newest.write_text(content)
    assert states.newest(tmp_path) == tmp_path / "checkpoint-8"
    assert not (tmp_path / "checkpoint-10").exists()


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        (states.LEARNED, "one bit"),
        ("optimizer.pt", "missing"),
        ("optimizer.pt", "half"),
        ("scheduler.pt", "empty"),
        ("rng_state.pth", "missing"),
    ],
)
def test_no_training_is_continued_from_a_damaged_state(file, damage, tmp_path):
    fit(small.model(), tmp_path, {"save_steps": 4, "save_total_limit": 5})
    damaged = tmp_path / "checkpoint-10" / file
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.unlink()
    if damage != "missing":
        damaged.write_bytes({"empty": b"", "half": content[: len(content) // 2], "one bit": content}[damage])
    kind = "missing" if damage == "missing" else "damaged"
    with pytest.raises(HarnessError, match=rf"checkpoint-10/{file} is {kind}, .*remove the folder .*checkpoint-10"):
        fit(small.model(), tmp_path, {})
    shutil.rmtree(damaged.parent)
    assert fit(small.model(), tmp_path, {}).resumed_at == 8


def test_intervals_may_change_while_a_training_is_interrupted(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        with pytest.raises(StoppedError):
            fit(small.model(), tmp_path, {"save_steps": 3})
    lines: list[str] = []
    result = fit(small.model(), tmp_path, {"save_steps": 5, "save_total_limit": 9, "logging_steps": 5}, lines=lines)
    assert result.resumed_at == 3
    assert sorted(states.step_of(path) for path in tmp_path.glob("checkpoint-*")) == [3, 5, 10]
    assert [line.split(",")[0] for line in lines] == ["step 5 of 10", "step 10 of 10"]


# --- what is not continued --------------------------------------------------------------------------------------------

STAGE = "full: {from: base, max_steps: 4, save_steps: 1}"


@pytest.fixture
def interrupted(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a stage was interrupted after its second step."""
    (tmp_path / "base").symlink_to(place / "base")
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(StoppedError):
            trained_stages.train(tmp_path, STAGE)
    return tmp_path


CHANGES = [
    ("max_steps: 4", "max_steps: 4, per_device_train_batch_size: 2", "per_device_train_batch_size: 4 → 2"),
    ("max_steps: 4", "max_steps: 4, gradient_accumulation_steps: 2", "gradient_accumulation_steps: not set → 2"),
    ("max_steps: 4", "max_steps: 5", "max_steps: 4 → 5"),
    ("max_steps: 4", "max_steps: 4, learning_rate: 0.5", "learning_rate: 0.01 → 0.5"),
]


@pytest.mark.parametrize(("before", "after", "change"), CHANGES, ids=[change for *_, change in CHANGES])
def test_an_interrupted_stage_is_not_continued_with_other_settings(before, after, change, interrupted):
    stage = STAGE.replace(before, after)
    message = (
        f"stage full was interrupted with other settings ({change}): restore them to continue it, or pass --replace"
    )
    with pytest.raises(HarnessError, match=re.escape(message)):
        trained_stages.train(interrupted, stage)
    assert states.step_of(states.newest(interrupted / "out/.full.training")) == 2
    assert trained_stages.train(interrupted, STAGE)["full"].lineage.resumed_at == 2


def test_an_interrupted_stage_is_not_continued_by_other_processes_or_seeds(interrupted, monkeypatch):
    other = trained_stages.HEAD.replace("seed: 1", "seed: 2")
    with pytest.raises(HarnessError, match=r"other settings \(seed: 1 → 2\)"):
        trained_stages.train(interrupted, STAGE, head=other)
    with monkeypatch.context() as patch:
        patch.setattr("harness.training.processes.count", lambda: 2)
        patch.setattr("harness.training.processes.first", lambda function: function())
        patch.setattr("harness.training.processes.wait", lambda: None)
        with pytest.raises(HarnessError, match=r"other settings \(processes: 1 → 2\)"):
            trained_stages.train(interrupted, STAGE)


def test_replace_starts_an_interrupted_stage_anew(interrupted):
    stage = trained_stages.train(interrupted, STAGE.replace("max_steps: 4", "max_steps: 3"), replace=True)["full"]
    assert (stage.lineage.resumed_at, stage.lineage.steps) == (0, 3)


def test_what_has_no_effect_on_the_weights_may_change(interrupted):
    text = STAGE.replace("save_steps: 1", "save_steps: 3, logging_steps: 1, report_to: none")
    assert trained_stages.train(interrupted, text)["full"].lineage.resumed_at == 2


def test_until_leaves_out_later_stages_and_the_same_command_goes_on(interrupted):
    texts = (
        STAGE,
        "lora: {from: full, method: lora, r: 2, max_steps: 1}",
        "more: {from: lora, method: lora, max_steps: 1}",
    )
    assert list(trained_stages.train(interrupted, *texts, until="lora")) == ["full", "lora"]
    result = trained_stages.train(interrupted, *texts)
    assert {name: stage.reused for name, stage in result.items()} == {"full": True, "lora": True, "more": False}
