"""The stages of a recipe in one folder: where each is, what it is made from, and which have become stale.

Not here: training a stage (`harness.training.stages`).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.checkpoints.reference import CheckpointReference, parse
from harness.errors import HarnessError
from harness.tasks.own_files import file_tasks
from harness.training import corpora, lineage
from harness.training.lineage import Lineage
from harness.training.recipe import FILES, Recipe, Stage
from harness.training.sources import Source

PROGRESS, ENCODED = "training", ".encoded"
"""`.STAGE.training` holds the states of an unfinished stage, `.encoded` the encoded corpora."""
UNUSED = 24 * 3600
"""Seconds after which an encoded corpus that no stage uses is removed."""


class Family:
    """The stages of a recipe in one folder."""

    def __init__(self, recipe: Recipe, output: Path) -> None:
        self.recipe, self.output = recipe, output
        self.keys: dict[str, str] = {}
        self.used: set[Path] = set()
        """Files of encoded corpora that this process has used."""

    def folder(self, name: str) -> Path:
        """Return the folder of a finished stage."""
        return self.output / name

    def progress(self, name: str) -> Path:
        """Return the hidden folder of an unfinished stage."""
        return self.output / f".{name}.{PROGRESS}"

    def reference(self, stage: Stage) -> CheckpointReference:
        """Return the reference of the checkpoint that `stage` starts from.

        A stage that continues an adapter starts from the weights, quantised or not, on which the adapter was trained.
        """
        reference = parse(stage.start)
        if stage.parent is None:
            return reference
        parent = self.recipe.stages[stage.parent]
        if reference.quantize is None and parent.method == stage.method and stage.method != "full":
            reference = replace(reference, quantize=self.reference(parent).quantize)
        return replace(reference, path=str(self.folder(stage.parent)))

    def available(self, stage: Stage) -> CheckpointReference:
        """Return the reference of the nearest ancestor of `stage` that exists, whose tokenizer is the stage's, too."""
        while stage.parent is not None and not self._exists(stage.parent):
            stage = self.recipe.stages[stage.parent]
        return self.reference(stage)

    def _exists(self, name: str) -> bool:
        """Return whether the folder of a stage has a whole checkpoint, of whatever recipe."""
        record = lineage.read(self.folder(name))
        return record is not None and not self.is_damaged(name, record)

    def key(self, name: str) -> str:
        """Return the digest of everything that decides the weights of the stage `name`."""
        if name not in self.keys:
            stage = self.recipe.stages[name]
            with naming(f"stage {name}"):
                parent = self.parent_key(stage)
            files = [(c, corpora.content_hash(self.recipe.corpora[c].file)) for c in (*stage.names, *stage.validation)]
            others = (self.reading(stage), self.files(stage))
            parts = (name, self.recipe.seed, self.recipe.threads, settings_of(stage), parent, files, others)
            self.keys[name] = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
        return self.keys[name]

    def reading(self, stage: Stage) -> dict[str, Any]:
        """Return how the corpora of `stage` are read, as `corpus.setting`, the kind of their files included."""
        result: dict[str, Any] = {}
        for name in (*stage.names, *stage.validation):
            corpus = self.recipe.corpora[name]
            settings = {**corpus.model_dump(exclude={"file"}), "kind": corpus.file.suffix.lower()}
            result |= {f"{name}.{key}": value for key, value in settings.items()}
        return result

    def files(self, stage: Stage) -> dict[str, str]:
        """Return a hash for each task or setting of `stage` that names files."""
        result: dict[str, str] = {}
        for name, digest in (*self._task_files(stage), *self._library_files(stage)):
            result[name] = hashlib.sha256(f"{result.get(name, '')}{digest}".encode()).hexdigest()
        return result

    def _library_files(self, stage: Stage) -> list[tuple[str, str]]:
        """Return the files of settings that arguments of `stage` name, such as DeepSpeed's, with their hashes."""
        arguments = self.recipe.resolved(stage).arguments
        stated = [(name, Path(arguments[name])) for name in FILES if isinstance(arguments.get(name), str)]
        return [(name, corpora.content_hash(file)) for name, file in stated if file.is_file()]

    def _task_files(self, stage: Stage) -> list[tuple[str, str]]:
        """Return the files on which `stage` is evaluated, as the recipe states them, with hashes of their content."""
        tasks = [task for task in stage.evaluate if file_tasks.names_files(task)]
        places = [
            (_without_place(task), Path(name.removeprefix(file_tasks.PREFIX)))
            for task in tasks
            for name in self.recipe.task(task)
        ]
        return [(task, corpora.content_hash(place)) for task, place in places if place.exists()]

    def parent_key(self, stage: Stage) -> str:
        """Return the digest of the checkpoint that `stage` starts from.

        It covers what a stage was made from and, once it is trained, its weights: another training of the same stage,
        on another machine or by another version, may have other weights. Other checkpoints have their fingerprint.
        """
        if stage.parent is not None:
            return self._identity(stage.parent)
        return Source(self.reference(stage), stage).fingerprint()

    def _identity(self, name: str) -> str:
        """Return the key of the stage `name` and, once it is trained, the digest of its weights."""
        content = lineage.content_digest(self.folder(name), with_tokenizer=True)
        return f"{self.key(name)} {content[:16]}" if content else self.key(name)

    def forget_keys(self) -> None:
        """Compute keys anew, after a stage was trained."""
        self.keys.clear()

    def finished(self, name: str) -> Lineage | None:
        """Return the record of the stage `name` if it is finished, whole, and what the recipe says now."""
        record = lineage.read(self.folder(name))
        is_current = record is not None and record.key == self.key(name) and not self.is_damaged(name, record)
        return record if is_current else None

    def is_damaged(self, name: str, record: Lineage) -> bool:
        """Return whether weights or settings of the finished stage `name` are not those that its training saved."""
        content = lineage.content_digest(self.folder(name))
        return content != record.content if record.content else not content

    def changes(self, name: str) -> str:
        """Return, in words, how the finished stage `name` in the folder differs from the recipe's."""
        record, stage = lineage.read(self.folder(name)), self.recipe.stages[name]
        if record is None:
            return "its record is of another version, or damaged"
        changes = lineage.differences(record.settings, settings_of(stage))
        for key, before, now in (
            ("seed", record.seed, self.recipe.seed),
            ("threads", record.threads, self.recipe.threads),
        ):
            changes += [f"{key}: {before} → {now}"] if before != now else []
        reading = {key: value for key, value in self.reading(stage).items() if key in record.reading}
        changes += lineage.differences({key: record.reading[key] for key in reading}, reading)
        hashes_before = {entry["name"]: entry["sha256"] for entry in (*record.corpora, *record.validation)}
        for corpus in (*stage.names, *stage.validation):
            before = hashes_before.get(corpus)
            if before is not None and before != corpora.content_hash(self.recipe.corpora[corpus].file):
                changes.append(f"the content of corpus {corpus}")
        files = {file: digest for file, digest in self.files(stage).items() if file in record.files}
        changes += [f"the content of {file}" for file, digest in files.items() if record.files[file] != digest]
        if record.parent_key != self.parent_key(stage):
            changes.append(f"the checkpoint it starts from, {stage.start}")
        if record.name != name:
            changes.append(f"its name: {record.name} → {name}")
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        return ", ".join(changes[:3]) + more if changes else "its record does not say in what"

    def stale(self, name: str) -> tuple[str, ...]:
        """Return the finished stages in the folder that descend from another training of the stage `name`."""
        parent = self._identity(name)
        folders = [folder for folder in self.output.iterdir() if folder.is_dir()]
        records = {folder.name: record for folder in folders if (record := lineage.read(folder)) is not None}
        stale = {other for other, record in records.items() if record.parent == name and record.parent_key != parent}
        while descendants := {other for other, record in records.items() if record.parent in stale} - stale:
            stale |= descendants
        return tuple(sorted(stale))

    def remove_unused(self) -> None:
        """Remove encoded corpora that no stage has used for a day; another process may need newer ones."""
        for file in (self.output / ENCODED).glob("*.arrow"):
            if file not in self.used and time.time() - file.stat().st_mtime > UNUSED:
                file.unlink(missing_ok=True)
                file.with_name(f"{file.name}.json").unlink(missing_ok=True)


def settings_of(stage: Stage) -> dict[str, Any]:
    """Return the settings of `stage` that decide its weights, as JSON."""
    content = stage.model_dump(exclude={"start", "parent"})
    content["arguments"] = {k: v for k, v in stage.arguments.items() if k not in _WITHOUT_EFFECT}
    content["evaluate"] = [_without_place(name) for name in stage.evaluate]
    return dict(json.loads(json.dumps(content, default=str)))


def _without_place(task: str) -> str:
    """Return the name of a task without the folder of an absolute path, which does not count."""
    return re.sub(r"^(\w+:)?/.*/", r"\1", task)


_WITHOUT_EFFECT = (
    *("logging_steps", "logging_first_step", "logging_strategy", "report_to", "run_name", "project", "log_level"),
    *("save_steps", "save_strategy", "save_total_limit", "eval_on_start", "dataloader_num_workers"),
    *("dataloader_pin_memory", "dataloader_persistent_workers", "dataloader_prefetch_factor", "ddp_timeout"),
)
"""Arguments that do not decide the weights, so that changing them trains nothing anew."""


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Let a HarnessError in the block begin with `what` it is about."""
    try:
        yield
    except HarnessError as error:
        message = str(error)
        raise type(error)(message if message.startswith(what) else f"{what}: {message}") from error
