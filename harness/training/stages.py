"""Training the stages of a recipe, each into its own folder, with transformers' Trainer and PEFT.

A finished stage is reused: its folder has `training.json`, written last, with a digest of everything that the stage was
made from. An interrupted recipe resumes at the beginning of the stage that was interrupted. If the recipe or a corpus
changes, the stages that depend on the change are trained again.

All randomness comes from the recipe's seed; the caller's random state is restored.

Not here: evaluating the checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from harness.checkpoints.types import Model, Tokenizer
from harness.common import atomic_write, places, progress, safe_load
from harness.errors import HarnessError
from harness.training import corpora, methods
from harness.training.corpora import IGNORED, Encoded, Example
from harness.training.recipe import Recipe, Stage

DONE = "training.json"
"""The file that marks a finished stage."""
_NEW, _SCRATCH = "new", "scratch"
"""Tags of a stage's hidden folders: the checkpoint that is being written, and what the Trainer writes meanwhile."""


class Trained(NamedTuple):
    """A finished stage. Its `training.json` has these fields under these names, except `folder` and `reused`."""

    name: str
    folder: Path
    stage: Stage
    learning: int
    """Number of trained parameters."""
    tokens: int
    """Tokens read, including prompts, without padding."""
    loss: float
    """Mean loss over about the last tenth of the steps, in nats per learned token."""
    seconds: float
    """Wall-clock seconds of the training."""
    reused: bool
    """Whether the stage was finished before and not trained again."""


def train(recipe: Recipe, output: Path, names: Sequence[str] = ()) -> Iterator[Trained]:
    """Train into `output` the stages `names` (default: all), after the stages they start from; yield each when done.

    Raises HarnessError on errors that the user can correct: unknown stages, unreadable corpora or checkpoints.
    """
    order = recipe.order(names)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        advice = places.advice(error, "name another folder")
        raise HarnessError(f"cannot write checkpoints to {output} ({error.strerror}): {advice}") from error
    needed = dict.fromkeys(corpus for name in order for corpus in recipe.stages[name].corpora)
    texts = {name: corpora.read(recipe.corpora[name]) for name in needed}
    keys: dict[str, str] = {}
    for name in order:
        stage = recipe.stages[name]
        start = output / stage.start if stage.start in recipe.stages else Path(stage.start)
        keys[name] = _key(name, recipe, stage, texts, keys.get(stage.start) or _content(start))
        for tag in (_NEW, _SCRATCH):
            atomic_write.remove_tagged(output / name, tag)
        _require_free(output / name, start)
        yield _finished(name, stage, output, keys[name]) or _train(name, recipe, start, output, texts, keys[name])


def _require_free(folder: Path, start: Path) -> None:
    """Raise HarnessError if training into `folder` would overwrite files that no stage wrote, or `start` itself."""
    is_foreign = folder.exists() and not (folder / DONE).is_file() and (not folder.is_dir() or any(folder.iterdir()))
    if is_foreign or folder.resolve() == start.resolve():
        raise HarnessError(
            f"{folder} holds something other than this stage: rename the stage, or choose another --output"
        )


def _key(name: str, recipe: Recipe, stage: Stage, texts: dict[str, list[Example]], start: str) -> str:
    """Return a digest of everything that determines a stage's checkpoint.

    `start` is the digest of the checkpoint from which the stage starts.
    """
    digest = hashlib.sha256(start.encode())
    settings = (name, recipe.seed, recipe.threads, recipe.max_length, stage.model_dump_json(exclude={"start"}))
    digest.update(repr(settings).encode())
    for corpus in stage.corpora:
        digest.update(json.dumps([corpus, texts[corpus]], ensure_ascii=False).encode())
    return digest.hexdigest()


def _content(folder: Path) -> str:
    """Return a digest of the names and contents of the files of the checkpoint in `folder`."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        with file.open("rb") as stream:
            digest.update(f"{file.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _finished(name: str, stage: Stage, output: Path, key: str) -> Trained | None:
    """Return the stage `name` if it is finished in `output` and has the digest `key`, else None."""
    try:
        done = safe_load.json_file(output / name / DONE)
        if done["key"] != key:
            return None
        numbers = (int(done["learning"]), int(done["tokens"]), float(done["loss"]), float(done["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Trained(name, output / name, stage, *numbers, reused=True)


def _train(name: str, recipe: Recipe, start: Path, output: Path, texts: dict[str, list[Example]], key: str) -> Trained:
    stage, clock = recipe.stages[name], time.perf_counter()
    tokenizer, base = _load(start)
    if tokenizer.eos_token_id is None:
        raise HarnessError(f"the tokenizer in {start} has no end-of-text token to end examples with: set eos_token")
    count = stage.steps * stage.batch
    drawn = list(corpora.mixture(texts, stage.corpora, count, f"{recipe.seed} {name}"))
    examples = corpora.encode(drawn, tokenizer, recipe.max_length)
    with _random(recipe.seed), _threads(recipe.threads):
        model = methods.prepare(base, stage)
        loss = _fit(model, examples, stage, recipe.seed, output / name, _pad(tokenizer))
    if not math.isfinite(loss):
        raise HarnessError(f"stage {name} diverged, its loss is {loss}: lower its learning_rate, or raise max_length")
    learning = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    tokens = sum(len(example.input_ids) for example in examples)
    trained = Trained(name, output / name, stage, learning, tokens, loss, time.perf_counter() - clock, reused=False)
    _write(trained, model, tokenizer, os.path.relpath(start, output / name), key)
    return trained


def _load(folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        return (
            AutoTokenizer.from_pretrained(folder, local_files_only=True),
            AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32),
        )
    except Exception as error:  # safetensors and the configuration classes raise exceptions of their own
        cause = " ".join(str(error).split())[:200]
        raise HarnessError(
            f"training cannot start from {folder} ({cause}): name a checkpoint that transformers loads"
        ) from error


def _fit(model: Model, examples: Sequence[Encoded], stage: Stage, seed: int, folder: Path, pad: int) -> float:
    """Train `model` on `examples` in their order; return the mean loss over about the last tenth of the steps.

    A hidden folder beside `folder` gets what the Trainer writes, and is removed.
    """
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    losses: list[float] = []

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: object, **__: object) -> None:
            bar.advance(1)

        def on_log(self, *_: object, logs: dict[str, float] | None = None, **__: object) -> None:
            if logs and "loss" in logs:
                losses.append(float(logs["loss"]))

    def collate(batch: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        # Padding is on the right, after every learned token, so a causal model needs no attention mask.
        width = max(len(row["input_ids"]) for row in batch)

        def padded(key: str, filler: int) -> torch.Tensor:
            return torch.tensor([row[key] + [filler] * (width - len(row[key])) for row in batch])

        return {"input_ids": padded("input_ids", pad), "labels": padded("labels", IGNORED)}

    with (
        atomic_write.hidden_folder(folder, tag=_SCRATCH) as scratch,
        progress.bar(folder.name, stage.steps, unit="steps") as bar,
    ):
        arguments = TrainingArguments(
            output_dir=str(scratch),
            max_steps=stage.steps,
            per_device_train_batch_size=stage.batch,
            learning_rate=stage.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=stage.warmup,
            weight_decay=stage.weight_decay,
            adam_beta2=0.95,
            max_grad_norm=1.0,
            seed=seed,
            train_sampling_strategy="sequential",
            logging_steps=max(1, stage.steps // 10),
            logging_nan_inf_filter=False,  # the filter would hide NaN in the mean loss
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        )
        arguments._n_gpu = min(arguments.n_gpu, 1)  # each further GPU would enlarge the batch
        rows = [example._asdict() for example in examples]
        trainer = Trainer(model, arguments, data_collator=collate, train_dataset=rows, callbacks=[Watch()])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.eval()
    return losses[-1]


def _write(trained: Trained, model: Model, tokenizer: Tokenizer, start: str, key: str) -> None:
    """Write the folder of a stage, so that it either is complete or does not exist.

    Raises HarnessError if it cannot be written.
    """
    folder = trained.folder
    try:
        with atomic_write.folder(folder, tag=_NEW, replace=True) as hidden:
            _save(trained, model, tokenizer, start, key, hidden)
    except OSError as error:
        raise HarnessError(f"cannot write {folder} ({error.strerror or error}): make room there") from error


def _save(trained: Trained, model: Model, tokenizer: Tokenizer, start: str, key: str, hidden: Path) -> None:
    if trained.stage.method == "full":
        model.save_pretrained(hidden)
        tokenizer.save_pretrained(hidden)
    else:
        model.peft_config["default"].base_model_name_or_path = start
        # The vocabulary is that of the base; to check this, PEFT would look for the base on the hub.
        model.save_pretrained(hidden, save_embedding_layers=False)
    fields = trained._asdict() | {"folder": None, "reused": None, "stage": trained.stage.model_dump(by_alias=True)}
    content = {name: value for name, value in {"key": key, **fields}.items() if value is not None}
    (hidden / DONE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _pad(tokenizer: Tokenizer) -> int:
    return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)


@contextmanager
def _random(seed: int) -> Iterator[None]:
    """Seed torch with `seed`; afterwards restore the random states of Python, numpy and torch."""
    import random

    import numpy as np
    import torch

    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with `count` CPU threads (None: as many as before), and restore the previous number afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
