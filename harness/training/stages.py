"""Train the stages of a recipe, each into a folder of its own, by transformers' Trainer and PEFT.

A stage that is finished stays: its folder holds `training.json`, written last, with what it was made from. The same
recipe goes on where it was interrupted, at the stage's beginning. A changed recipe or corpus makes a stage anew, and
those that start from it.

Everything random comes from the recipe's seed, and the caller's random state is left as it was.

Not here: evaluating what was trained.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from harness.common import atomic_write, progress
from harness.errors import HarnessError
from harness.training import corpora, methods
from harness.training.corpora import IGNORED, Encoded, Example
from harness.training.recipe import Recipe, Stage

DONE = "training.json"


class Trained(NamedTuple):
    """A stage that is finished."""

    name: str
    folder: Path
    stage: Stage
    learning: int
    """Parameters that learned."""
    tokens: int
    """Tokens read, those of prompts too, padding not."""
    loss: float
    """Mean loss over about the last tenth of the steps, in nats a token that is learned."""
    seconds: float
    kept: bool
    """It was finished before, and not trained again."""


def train(recipe: Recipe, output: Path, wanted: Sequence[str] = ()) -> Iterator[Trained]:
    """Train the `wanted` stages (default: all) and what they start from into `output`; yield each as it is finished.

    Raises HarnessError on whatever the user can mend: unknown stages, corpora, checkpoints.
    """
    order = recipe.order(wanted)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(f"cannot write checkpoints to {output} ({error.strerror}): name a folder") from error
    used = dict.fromkeys(corpus for name in order for corpus in recipe.stages[name].corpora)
    texts = {name: corpora.read(recipe.corpora[name]) for name in used}
    keys: dict[str, str] = {}
    for name in order:
        stage = recipe.stages[name]
        start = output / stage.start if stage.start in recipe.stages else Path(stage.start)
        keys[name] = _key(name, recipe, stage, texts, keys.get(stage.start) or _content(start))
        _require_free(output / name, start)
        yield _kept(name, stage, output, keys[name]) or _train(name, recipe, start, output, texts, keys[name])


def _require_free(folder: Path, start: Path) -> None:
    """Raise HarnessError where training into `folder` would destroy what was not trained here, or `start` itself."""
    other = folder.exists() and not (folder / DONE).is_file() and (not folder.is_dir() or any(folder.iterdir()))
    if other or folder.resolve() == start.resolve():
        raise HarnessError(
            f"{folder} holds something else than this stage: rename the stage, or choose another --output"
        )


def _key(name: str, recipe: Recipe, stage: Stage, texts: dict[str, list[Example]], start: str) -> str:
    """Return a digest of all that decides what a stage becomes."""
    digest = hashlib.sha256(start.encode())
    settings = (name, recipe.seed, recipe.threads, recipe.max_length, stage.model_dump_json(exclude={"start"}))
    digest.update(repr(settings).encode())
    for corpus in stage.corpora:
        digest.update(json.dumps([corpus, texts[corpus]], ensure_ascii=False).encode())
    return digest.hexdigest()


def _content(folder: Path) -> str:
    """Return a digest of the files of the checkpoint in `folder`."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        with file.open("rb") as stream:
            digest.update(f"{file.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _kept(name: str, stage: Stage, output: Path, key: str) -> Trained | None:
    """Return stage `name` if `output` has it, made in the very way of `key`."""
    try:
        said = json.loads((output / name / DONE).read_text(encoding="utf-8"))
        if said["key"] != key:
            return None
        told = (int(said["learning"]), int(said["tokens"]), float(said["loss"]), float(said["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Trained(name, output / name, stage, *told, kept=True)


def _train(name: str, recipe: Recipe, start: Path, output: Path, texts: dict[str, list[Example]], key: str) -> Trained:
    stage, clock = recipe.stages[name], time.perf_counter()
    tokenizer, base = _load(start)
    if tokenizer.eos_token_id is None:
        raise HarnessError(f"the tokenizer in {start} has no end-of-text token, with which examples end: set eos_token")
    count = stage.steps * stage.batch
    drawn = list(corpora.mixture(texts, stage.corpora, count, f"{recipe.seed} {name}"))
    examples = corpora.encode(drawn, tokenizer, recipe.max_length)
    with _random(recipe.seed), _threads(recipe.threads):
        model = methods.prepare(base, stage)
        loss = _fit(model, examples, stage, recipe.seed, name, _pad(tokenizer))
    if not math.isfinite(loss):
        raise HarnessError(f"stage {name} diverged, its loss is {loss}: lower its learning_rate, or raise max_length")
    learning = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    tokens = sum(len(example.input_ids) for example in examples)
    made = Trained(name, output / name, stage, learning, tokens, loss, time.perf_counter() - clock, kept=False)
    _write(made, model, tokenizer, os.path.relpath(start, output / name), key)
    return made


def _load(folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        return (
            AutoTokenizer.from_pretrained(folder, local_files_only=True),
            AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32),
        )
    except Exception as error:  # safetensors and the configuration classes raise their own
        why = " ".join(str(error).split())[:200]
        raise HarnessError(f"{folder} cannot be trained on ({why}): name a checkpoint transformers loads") from error


def _fit(model: Any, examples: Sequence[Encoded], stage: Stage, seed: int, title: str, pad: int) -> float:
    """Train `model` on `examples` in their order; return the mean loss over the last tenth of the steps."""
    import tempfile

    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    losses: list[float] = []

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            bar.advance(1)

        def on_log(self, *_: Any, logs: dict[str, float] | None = None, **__: Any) -> None:
            if logs and "loss" in logs:
                losses.append(float(logs["loss"]))

    def collate(batch: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        # Padding on the right is behind every token that is learned, so that a causal model needs no attention mask.
        width = max(len(row["input_ids"]) for row in batch)

        def padded(key: str, filler: int) -> torch.Tensor:
            return torch.tensor([row[key] + [filler] * (width - len(row[key])) for row in batch])

        return {"input_ids": padded("input_ids", pad), "labels": padded("labels", IGNORED)}

    with tempfile.TemporaryDirectory() as scratch, progress.bar(title, stage.steps, unit="steps") as bar:
        arguments = TrainingArguments(
            output_dir=scratch,
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
            logging_nan_inf_filter=False,  # on, it would report the mean of the others
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        )
        arguments._n_gpu = min(arguments.n_gpu, 1)  # several would each take a batch of their own
        rows = [example._asdict() for example in examples]
        trainer = Trainer(model, arguments, data_collator=collate, train_dataset=rows, callbacks=[Watch()])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.eval()
    return losses[-1]


def _write(made: Trained, model: Any, tokenizer: Any, start: str, key: str) -> None:
    """Write a stage's folder under a hidden name and rename it, so that a folder that is there is whole."""
    try:
        with atomic_write.folder(made.folder, tag="new") as hidden:
            _save(made, model, tokenizer, start, key, hidden)
            shutil.rmtree(made.folder, ignore_errors=True)
    except OSError as error:
        raise HarnessError(f"cannot write {made.folder} ({error.strerror or error}): make room there") from error


def _save(made: Trained, model: Any, tokenizer: Any, start: str, key: str, hidden: Path) -> None:
    if made.stage.method == "full":
        model.save_pretrained(hidden)
        tokenizer.save_pretrained(hidden)
    else:
        model.peft_config["default"].base_model_name_or_path = start
        # The vocabulary is the base's; to find that out by itself PEFT would look for the base on the hub.
        model.save_pretrained(hidden, save_embedding_layers=False)
    told = {"key": key, **made._asdict(), "folder": None, "kept": None, "stage": made.stage.model_dump(by_alias=True)}
    text = json.dumps({name: value for name, value in told.items() if value is not None}, indent=2)
    (hidden / DONE).write_text(text + "\n", encoding="utf-8")


def _pad(tokenizer: Any) -> int:
    return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)


@contextmanager
def _random(seed: int) -> Iterator[None]:
    """Draw from `seed`, and give the caller back the random state it had."""
    import random

    import numpy as np
    import torch

    kept = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
