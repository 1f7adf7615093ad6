"""lm-eval's task factory on a mirror: tasks built from local files, and errors that say which data are missing.

The files of a definition are parsed once, and a mirror's documents are read by `harness.data.mirror` if it can read
them. The resulting task equals the one that lm-eval would build with `datasets.load_dataset`.

Not here: which definitions exist (`harness.tasks.index`), or what is done with the tasks (`harness.tasks.catalogue`).
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.common.failures import ends_a_run, reason
from harness.data import mirror, sources
from harness.data.sources import DataSource
from harness.errors import HarnessError
from harness.tasks import data_errors
from harness.tasks.yaml_files import Reader


class Builder:
    """Builds lm-eval's task objects, and remembers where their documents came from."""

    def __init__(
        self,
        data: Path | None,
        documents: Mapping[str, Sequence[dict[str, Any]]] | None = None,
        *,
        keep_going: bool = False,
    ) -> None:
        """Take the documents of a task from `documents` by its name, else from the mirror `data`, else from the hub.

        With `keep_going`, a stub takes the place of a task that cannot be built, and `failed` says why.
        """
        from lm_eval.api.task import Task
        from lm_eval.tasks._factory import TaskFactory

        builder = self

        class Factory(TaskFactory):  # type: ignore[misc]
            def _load_full_config(self, entry: Any, overrides: dict[str, Any] | None = None) -> Any:
                if not entry.yaml_path:
                    return super()._load_full_config(entry, overrides)
                content = builder._definitions.read(entry.yaml_path)
                config = super()._load_full_config(dataclasses.replace(entry, yaml_path=None, cfg=content), overrides)
                config["metadata"]["config_source"] = str(entry.yaml_path)
                return config

            def _build_task(self, entry: Any, overrides: dict[str, Any] | None) -> Any:
                if not keep_going:
                    return self._task(entry, overrides)
                try:
                    return self._task(entry, overrides)
                except Exception as error:
                    if ends_a_run(error):
                        raise
                    name = str((overrides or {}).get("task", entry.name))
                    builder.failed[name] = reason(error)
                    return Unbuilt(name)

            def _task(self, entry: Any, overrides: dict[str, Any] | None) -> Any:
                try:
                    config = self._load_full_config(entry, overrides)
                except Exception as error:  # any error of a task's own utils.py
                    raise data_errors.data_error(entry.name, DataSource("", None, None, ""), error) from error
                if entry.name in builder._documents:
                    return builder._build_on_documents(super()._build_task, entry, overrides, config)
                source = sources.locate(config, data)
                return builder._build_on_source(super()._build_task, entry, overrides, config, source)

        class Unbuilt(Task):  # type: ignore[misc]
            """A stub that has a name and nothing else."""

            def __init__(self, name: str) -> None:
                self._config = SimpleNamespace(task=name)

            has_training_docs = has_validation_docs = has_test_docs = lambda self: False
            doc_to_text = doc_to_target = construct_requests = process_results = aggregation = higher_is_better = None

        logging.getLogger("lm_eval.api.task").addFilter(_is_worth_logging)
        self._factory = Factory()
        self._documents = documents or {}
        self._definitions = Reader(functions=True)
        self._caches: dict[tuple[Path | None, tuple[Path, ...]], Path | None] = {}
        self._splits: dict[tuple[Path, str | None], Any] = {}
        self.failed: dict[str, str] = {}
        """The tasks that cannot be built, and why."""
        self.sources: dict[str, DataSource] = {}
        """For each task that was built: where its documents came from."""
        self._without_shots: dict[str, str] = {}
        """Tasks whose data lack the split that few-shot examples are drawn from, and the name of that split."""

    def build(self, entry: Any, registry: dict[str, Any]) -> Any:
        """Return the task, the group, or the tag's list of tasks that `entry` of the index `registry` stands for.

        Raises HarnessError, which says what to do about it, if a task cannot be built.
        """
        return self._factory.build(entry, registry=registry)

    def require_shots(self, name: str) -> None:
        """Raise HarnessError if the mirror lacks the split from which the task `name` draws few-shot examples."""
        if name in self._without_shots:
            source = self.sources[name]
            raise HarnessError(
                f"task {name}: few-shot examples are drawn from the split '{self._without_shots[name]}', which "
                f"{source.folder} lacks: fetch it with '{source.fetch}', or leave --num-fewshot out"
            )

    def _build_on_documents(self, build: Any, entry: Any, overrides: Any, config: dict[str, Any]) -> Any:
        """Return the task on the documents that were passed, without few-shot examples.

        The task's `process_docs` is not applied, because these documents have been processed by it.
        """
        from datasets import Dataset
        from pyarrow import ArrowException

        split = config.get("test_split") or config.get("validation_split") or config.get("training_split") or "test"
        try:
            splits = {split: Dataset.from_list(list(self._documents[entry.name]))}
        except (ArrowException, OverflowError, TypeError, ValueError) as error:
            raise HarnessError(f"the recorded documents of task {entry.name} make no table ({error})") from error
        keys = ("training_split", "validation_split", "test_split")
        changes = {
            **(overrides or {}),
            **{key: split if config.get(key) == split else None for key in keys},
            "custom_dataset": lambda **_: splits,
            "dataset_kwargs": None,
            "process_docs": None,
            "fewshot_split": None,
            "fewshot_config": None,
            "num_fewshot": 0,
        }
        dataset = config.get("dataset_path") or entry.name
        source = DataSource(f"{dataset} as recorded", config.get("dataset_name"), None, "")
        try:
            task = data_errors.require_columns(build(entry, changes))
        except (HarnessError, ImportError) as error:
            raise data_errors.data_error(entry.name, source, error) from error
        except Exception as error:
            raise HarnessError(
                f"task {entry.name} cannot be built on the recorded documents ({error}): name the task that was "
                "answered, or its data with --data"
            ) from error
        return self._built(task, source, custom_dataset=True)

    def _build_on_source(
        self, build: Any, entry: Any, overrides: Any, config: dict[str, Any], source: DataSource
    ) -> Any:
        """Return the task on the mirror's copy of its data set, or on the hub's if the mirror's is incomplete."""
        missing = ""
        if source.folder is not None:
            build_here = functools.partial(self._build_on_mirror, build, entry, overrides, config, source)
            try:
                return build_here()
            except Exception as error:
                task = self._build_without_training_split(build_here, entry.name, config, error, source)
                if task is not None:
                    return task
                # A mirror may hold a part of a data set; the hub may have the rest.
                if not (lacking := data_errors.missing_part(source, error)):
                    raise data_errors.data_error(entry.name, source, error) from error
                missing, source = f"{source.folder} lacks {lacking}, and ", source._replace(folder=None)
        try:
            task = self._build_uncached(build, entry, overrides, config, source)
        except Exception as error:
            raise data_errors.data_error(entry.name, source, error, missing) from error
        return self._built(task, source)

    def _build_without_training_split(
        self, build_here: Any, name: str, config: dict[str, Any], error: Exception, source: DataSource
    ) -> Any:
        """Return the task if `error` means that the mirror's data lack only the few-shot split, else None."""
        split = config.get("training_split")
        if not (isinstance(error, KeyError) and error.args == (split,)) or config.get("num_fewshot"):
            return None
        changes = {"training_split": None, **({"fewshot_split": None} if config.get("fewshot_split") == split else {})}
        try:
            task = build_here(**changes)
        except Exception as other:
            raise data_errors.data_error(name, source, other) from other
        self._without_shots[str(task.config.task)] = str(split)
        return task

    def _build_on_mirror(
        self, build: Any, entry: Any, overrides: Any, config: dict[str, Any], source: DataSource, **changes: Any
    ) -> Any:
        """Return the task on the mirror's copy of its data set, with `changes` to the keys of the task's YAML."""
        changes = {**(overrides or {}), **changes, "dataset_path": str(source.folder)}
        splits = self._splits_of(config, source)
        if splits is None:
            return self._built(self._build_uncached(build, entry, changes, config, source), source)
        changes |= {"custom_dataset": lambda **_: splits, "dataset_kwargs": None}
        if config.get("process_docs"):
            changes["process_docs"] = _once_a_split(config["process_docs"])
        return self._built(data_errors.require_columns(build(entry, changes)), source, custom_dataset=True)

    def _built(self, task: Any, source: DataSource, *, custom_dataset: bool = False) -> Any:
        """Record the source of `task` and return `task`.

        With `custom_dataset`, the keys `custom_dataset` and `dataset_kwargs` of the task's configuration are reset
        first.
        """
        if custom_dataset:  # a report shows the task as its YAML has it
            task.config.custom_dataset, task.config.dataset_kwargs = None, {}
        self.sources[str(task.config.task)] = source
        return task

    def _splits_of(self, config: dict[str, Any], source: DataSource) -> Any | None:
        """Return the documents in the mirror's copy of the data set by split; None if only `datasets` can read them."""
        assert source.folder is not None
        if not _loads_plainly(config):
            return None
        key = (source.folder, source.config)
        if key not in self._splits:
            self._splits[key] = mirror.read(*key)
        splits = self._splits[key]
        return splits if splits is None else type(splits)(splits)  # a copy: a task may add splits of its own

    def _build_uncached(self, build: Any, entry: Any, changes: Any, config: dict[str, Any], source: DataSource) -> Any:
        """Return the task on data as the files have it now, rather than on what `datasets` cached of earlier files."""
        files = (source.folder, source.local)
        if files not in self._caches:
            self._caches[files] = source.cache()
        if self._caches[files] is None:
            return data_errors.require_columns(build(entry, changes))
        arguments = config.get("dataset_kwargs") or {}
        changed = {**arguments, "cache_dir": str(self._caches[files])}
        task = data_errors.require_columns(build(entry, {**(changes or {}), "dataset_kwargs": changed}))
        task.config.dataset_kwargs = arguments  # a report shows the task as its YAML has it
        return task


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Return whether a log record of lm-eval is anything but its advice on how to write a `custom_dataset`."""
    return "Custom kwargs can be passed" not in str(record.msg)


def _loads_plainly(config: dict[str, Any]) -> bool:
    """Return whether lm-eval's own code loads a task's data, with no argument except the data set's configuration."""
    from lm_eval.api.task import ConfigurableTask

    arguments = {*(config.get("dataset_kwargs") or ())} - {"trust_remote_code"}
    fewshot = config.get("fewshot_config")
    processes_shots = isinstance(fewshot, dict) and fewshot.get("process_docs")
    is_lm_evals = getattr(config.get("class", ConfigurableTask), "download", None) is ConfigurableTask.download
    # lm-eval passes the metadata as keyword arguments to a `custom_dataset`.
    has_keywords = all(isinstance(key, str) for key in config["metadata"])
    return is_lm_evals and not arguments and not processes_shots and has_keywords


def _once_a_split(process: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return `process`, a task's `process_docs`, with its result for each split remembered.

    lm-eval calls `process` again at every access to a split. `datasets` would find the result in its cache on disk, but
    if `process` shuffles, only a remembered result has the same order at the next access.
    """
    from datasets import Dataset

    results: dict[int, tuple[Any, Any]] = {}  # each split is kept beside its result, so that its id stays its own

    @functools.wraps(process)
    def processed(split: Any) -> Any:
        if id(split) not in results:
            result = process(split)
            if not isinstance(result, Dataset):  # a list of documents, which a caller may change
                return result
            results[id(split)] = (split, result)
        return results[id(split)][1]

    return processed
