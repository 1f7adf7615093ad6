"""lm-eval's task factory, taking documents from a mirror and telling what is missing.

A definition's files are parsed once, and a mirror's documents come from `harness.data.mirror` where it can give them;
the task built is the one that lm-eval would build with `datasets.load_dataset`.

Not here: which definitions there are (`harness.tasks.index`), or what becomes of the tasks (`harness.tasks.catalogue`).
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data import mirror, sources
from harness.data.sources import DataSource
from harness.errors import HarnessError
from harness.tasks.yaml_files import Reader


class Builder:
    """Builds tasks, and remembers what was found on the way."""

    def __init__(self, data: Path | None, documents: Mapping[str, Sequence[dict[str, Any]]] | None = None) -> None:
        """Take documents from `documents` by a task's name, the mirror `data` where it has them, else the hub."""
        from lm_eval.tasks._factory import TaskFactory

        outer = self

        class Factory(TaskFactory):  # type: ignore[misc]
            def _load_full_config(self, entry: Any, overrides: dict[str, Any] | None = None) -> Any:
                if not entry.yaml_path:
                    return super()._load_full_config(entry, overrides)
                content = outer._definitions.read(entry.yaml_path)
                config = super()._load_full_config(dataclasses.replace(entry, yaml_path=None, cfg=content), overrides)
                config["metadata"]["config_source"] = str(entry.yaml_path)
                return config

            def _build_task(self, entry: Any, overrides: dict[str, Any] | None) -> Any:
                try:
                    config = self._load_full_config(entry, overrides)
                except Exception as error:  # what a task's own utils.py raises
                    raise sources.explained(entry.name, DataSource("", None, None, ""), error) from error
                if entry.name in outer._documents:
                    return outer._on_documents(super()._build_task, entry, overrides, config)
                origin = sources.source(config, data)
                return outer._with_data(super()._build_task, entry, overrides, config, origin)

        logging.getLogger("lm_eval.api.task").addFilter(_is_no_advice)
        self._factory = Factory()
        self._documents = documents or {}
        self._definitions = Reader(functions=True)
        self._caches: dict[Path, Path] = {}
        self._splits: dict[tuple[Path, str | None], Any] = {}
        self.taken: dict[str, DataSource] = {}
        self.shotless: dict[str, str] = {}
        """Tasks whose data lack the split that shots are drawn from, and that split."""

    def build(self, entry: Any, registry: dict[str, Any]) -> Any:
        """Return the task, the group, or the tag's list of tasks that `entry` of the index `registry` stands for."""
        return self._factory.build(entry, registry=registry)

    def _on_documents(self, build: Any, entry: Any, overrides: Any, config: dict[str, Any]) -> Any:
        """Return the task, without shots, on documents that are given as its `process_docs` would have left them."""
        from datasets import Dataset
        from pyarrow import ArrowException

        split = config.get("test_split") or config.get("validation_split") or config.get("training_split") or "test"
        try:
            given = {split: Dataset.from_list(list(self._documents[entry.name]))}
        except (ArrowException, OverflowError, TypeError, ValueError) as error:
            raise HarnessError(f"the recorded documents of task {entry.name} make no table ({error})") from error
        keys = ("training_split", "validation_split", "test_split")
        changed = {
            **(overrides or {}),
            **{key: split if config.get(key) == split else None for key in keys},
            "custom_dataset": lambda **_: given,
            "dataset_kwargs": None,
            "process_docs": None,
            "fewshot_split": None,
            "fewshot_config": None,
            "num_fewshot": 0,
        }
        dataset = config.get("dataset_path") or entry.name
        origin = DataSource(f"{dataset} as recorded", config.get("dataset_name"), None, "")
        try:
            task = sources.complete(build(entry, changed))
        except (HarnessError, ImportError) as error:
            raise sources.explained(entry.name, origin, error) from error
        except Exception as error:
            raise HarnessError(
                f"task {entry.name} cannot be made of the recorded documents ({error}): name the task that was asked, "
                "or its data with --data"
            ) from error
        task.config.custom_dataset, task.config.dataset_kwargs = None, {}
        self.taken[str(task.config.task)] = origin
        return task

    def _with_data(self, build: Any, entry: Any, overrides: Any, config: dict[str, Any], origin: DataSource) -> Any:
        task, missing = None, ""
        if origin.folder is not None:
            build_here = functools.partial(self._on_mirror, build, entry, overrides, config, origin)
            try:
                task = build_here()
            except Exception as error:
                if (task := self._without_training_split(build_here, entry.name, config, origin, error)) is not None:
                    self.taken[str(task.config.task)] = origin
                    return task
                # Half a mirror: this is not in it, the hub may have it.
                if not (lacking := sources.lacking(origin, error)):
                    raise sources.explained(entry.name, origin, error) from error
                missing, origin = f"{origin.folder} lacks {lacking}, and ", origin._replace(folder=None)
        if task is None:
            try:
                task = sources.complete(build(entry, overrides))
            except Exception as error:
                raise sources.explained(entry.name, origin, error, missing) from error
        self.taken[str(task.config.task)] = origin
        return task

    def _without_training_split(
        self, build_here: Any, name: str, config: dict[str, Any], origin: DataSource, error: Exception
    ) -> Any:
        """Return the task where the copy lacks nothing but a split that only shots are drawn from, else None."""
        split = config.get("training_split")
        if not (isinstance(error, KeyError) and error.args == (split,)) or config.get("num_fewshot"):
            return None
        without = {"training_split": None, **({"fewshot_split": None} if config.get("fewshot_split") == split else {})}
        try:
            task = build_here(**without)
        except Exception as other:
            raise sources.explained(name, origin, other) from other
        self.shotless[str(task.config.task)] = str(split)
        return task

    def _on_mirror(
        self, build: Any, entry: Any, overrides: Any, config: dict[str, Any], origin: DataSource, **changes: Any
    ) -> Any:
        """Return the task built on the mirror's copy, some of its YAML's keys changed by `changes`."""
        changed = {**(overrides or {}), **changes, "dataset_path": str(origin.folder)}
        if (splits := self._splits_of(config, origin)) is None:
            return sources.complete(build(entry, {**changed, "dataset_kwargs": self._cached(config, origin)}))
        changed |= {"custom_dataset": lambda **_: splits, "dataset_kwargs": None}
        if config.get("process_docs"):
            changed["process_docs"] = _once_a_split(config["process_docs"])
        task = sources.complete(build(entry, changed))
        # A report tells of the task as its YAML has it.
        task.config.custom_dataset, task.config.dataset_kwargs = None, {}
        return task

    def _splits_of(self, config: dict[str, Any], origin: DataSource) -> Any | None:
        """Return the documents of the mirror's copy; None where the task has to ask `datasets` for them."""
        assert origin.folder is not None
        if not _asks_for_no_more(config):
            return None
        key = (origin.folder, origin.config)
        if key not in self._splits:
            self._splits[key] = mirror.read(*key)
        found = self._splits[key]
        return found if found is None else type(found)(found)  # a task may put splits of its own beside them

    def _cached(self, config: dict[str, Any], origin: DataSource) -> dict[str, Any]:
        """Return the arguments that make `load_dataset` read the mirror's copy, and no stale memory of it."""
        assert origin.folder is not None
        if origin.folder not in self._caches:
            self._caches[origin.folder] = origin.cache()
        return {**(config.get("dataset_kwargs") or {}), "cache_dir": str(self._caches[origin.folder])}


def _is_no_advice(record: logging.LogRecord) -> bool:
    """Tell whether what lm-eval says is something else than how to write a `custom_dataset`."""
    return "Custom kwargs can be passed" not in str(record.msg)


def _asks_for_no_more(config: dict[str, Any]) -> bool:
    """Tell whether a task asks `load_dataset` for nothing but a data set's configuration, and leaves it to lm-eval."""
    from lm_eval.api.task import ConfigurableTask

    wanted = {*(config.get("dataset_kwargs") or ())} - {"trust_remote_code"}
    fewshot = config.get("fewshot_config")
    own_shots = isinstance(fewshot, dict) and fewshot.get("process_docs")
    as_lm_eval = getattr(config.get("class", ConfigurableTask), "download", None) is ConfigurableTask.download
    # lm-eval passes metadata as keywords to what gives the documents.
    return as_lm_eval and not wanted and not own_shots and all(isinstance(key, str) for key in config["metadata"])


def _once_a_split(process: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return `process`, which lm-eval calls anew for every look at a split, so that it works on each split once.

    `datasets` would find the result in its cache on disk, and only there a second look is sure to see the same order
    where `process` shuffles.
    """
    from datasets import Dataset

    known: dict[int, tuple[Any, Any]] = {}

    @functools.wraps(process)
    def processed(split: Any) -> Any:
        if id(split) not in known:
            made = process(split)
            if not isinstance(made, Dataset):  # a list of documents, which somebody may change
                return made
            known[id(split)] = (split, made)
        return known[id(split)][1]

    return processed
