"""The catalogue of tasks: names → lm-eval definitions, data sources and loaded tasks.

A name is looked up in this project's `tasks/`, then in the lm-eval folder with whose name it begins (`mmlu_anatomy` in
`mmlu/`). Only then is lm-eval's whole tree read, whose 14,000 files take 15 seconds. Documents come from a local mirror
of data sets (`DIR/<org>/<name>`) if it has them, else from the hub.

Not here: building one task (`harness.tasks.factory`), evaluating tasks (`harness.runs.run`), or computing averages
(`harness.metrics.stats.estimates`).
"""

from __future__ import annotations

import fnmatch
import functools
import random
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from harness.common import places, resources
from harness.data import sources as task_data
from harness.data.sources import DataSource
from harness.errors import HarnessError, did_you_mean
from harness.tasks import index as task_index
from harness.tasks import prompt_cache
from harness.tasks.factory import Builder
from harness.tasks.metadata import TaskMetadata
from harness.tasks.own_files import file_tasks
from harness.tasks.task import FEWSHOT_SEED, Task
from harness.tasks.task_set import TaskSet

FEATURED = ("mmlu", "gsm8k", "gsm8k_cot", "cmmlu")
"""Tasks of lm-eval that `harness tasks` lists beside this project's tasks."""


class Catalogue:
    """All tasks that can be named: this project's, lm-eval's, those of `include` folders, and files."""

    def __init__(
        self, include: Sequence[Path] = (), comparisons: Sequence[str] = (), *, keep_going: bool = False
    ) -> None:
        """Add the definitions in the folders `include`.

        `comparisons` (`--metric`) are the metrics that compare answers in words in test sets that are files. With
        `keep_going`, known tasks that cannot be loaded are left out, and `TaskSet.failed` names them. Raises
        HarnessError if a folder does not exist or contains a YAML file that cannot be read.
        """
        self._comparisons = comparisons
        self._keep_going = keep_going
        for path in include:
            if not path.is_dir():
                raise HarnessError(f"--include-path {path} is not a folder")
            task_index.require_readable(path)
        self._folders = [resources.folder("tasks"), Path(__file__).parents[1] / "demo" / "tasks", *include]
        self._indexes: dict[tuple[str, ...], task_index.Index] = {}

    @functools.cached_property
    def own(self) -> task_index.Index:
        """The index of this project's tasks and of the `include` folders."""
        return task_index.read(self._folders)

    def names(self) -> list[str]:
        """Return the groups (not their members) and the single tasks to list: this project's, then `FEATURED`."""
        # The parts of a group (ceval_law of ceval) are left out; tasks that a group only gathers are not.
        pairs = ((name, member) for name, entry in self.own.items() for member in task_index.members(entry))
        parts = {member for name, member in pairs if member.startswith(f"{name}_")}
        listed = [name for name, entry in self.own.items() if entry.kind.name != "TAG" and name not in parts]
        return [*sorted(listed), *(name for name in FEATURED if name not in listed)]

    def config(self, name: str, *, own: bool = False) -> dict[str, Any]:
        """Return the YAML of the task `name`, or of a group's first task, merged with the files it includes.

        With `own`, the YAML of a group that states a protocol is returned instead of its first task's.
        """
        if file_tasks.names_files(name):
            return file_tasks.build(name, self._comparisons).config
        index = self.index_for([name])
        config = dict(index[name].cfg or {})
        if own and TaskMetadata.of(config.get("metadata"), f"task {name}").protocol:
            return config
        leaf = next(iter(task_index.leaves(name, index)), name)
        return dict(index[leaf].cfg or {})

    def index_for(self, names: Sequence[str]) -> task_index.Index:
        """Return an index that has all of `names` and their members; the index for the same names is read only once.

        Raises HarnessError naming the first name that neither this project nor lm-eval knows.
        """
        key = tuple(names)
        if key not in self._indexes:
            self._indexes[key] = self._index_for(key)
        return self._indexes[key]

    def _index_for(self, names: tuple[str, ...]) -> task_index.Index:
        if task_index.is_complete(names, self.own):
            return self.own
        folders: list[Path] = []
        for name in task_index.missing(names, self.own):
            for folder in task_index.folders_near(name):
                if folder not in folders:
                    folders.insert(0, folder)
        index = {**task_index.read(folders), **self.own}  # this project's definitions come last and override
        if not task_index.is_complete(names, index):
            index = {**task_index.read([task_index.lm_eval_folder()]), **self.own}
        for name in names:
            if name not in index:
                hint = file_tasks.hint(name) or f"{did_you_mean(name, index)} (see 'harness tasks')"
                raise HarnessError(f"there is no task '{name}'{hint}")
        for member in task_index.missing(names, index):
            raise HarnessError(f"a group names '{member}', which is not a task: correct the group's list")
        return index

    def expand(self, names: Sequence[str]) -> list[str]:
        """Return `names` with each glob (`ceval_high_*`, `exams/*.jsonl`) replaced by the names that it matches.

        Raises HarnessError if a glob matches nothing.
        """
        expanded: list[str] = []
        for name in (file for listed in names for file in file_tasks.matching(listed)):
            if file_tasks.names_files(name) or not any(letter in name for letter in "*?["):
                expanded.append(name)
                continue
            index = self.own if fnmatch.filter(self.own, name) else task_index.read_for_glob(name)
            matches = [match for match in fnmatch.filter(index, name) if index[match].kind.name in ("TASK", "PY_TASK")]
            if not matches:
                raise HarnessError(f"no task matches '{name}' (see 'harness tasks')")
            expanded += sorted(matches)
        # A file that is named in two spellings of its path is one task.
        return list({file_tasks.identity(name): name for name in reversed(expanded)}.values())[::-1]

    def sources(self, names: Sequence[str], data: Path | None) -> dict[str, DataSource]:
        """Return for each single task under `names` where its documents would come from, without loading any documents.

        Raises HarnessError if a task is unknown, if the mirror `data` does not exist, or if its copy of a data set is
        empty.
        """
        if data is not None and not data.is_dir():
            raise HarnessError(f"the data folder {data} {places.lack(data)}: name a mirror with --data or HARNESS_DATA")
        files = [name for name in names if file_tasks.names_files(name)]
        names = [name for name in names if name not in files]
        index = self.index_for(names)
        sources = {}
        for leaf in dict.fromkeys(leaf for name in names for leaf in task_index.leaves(name, index)):
            with self._missing_data():
                sources[leaf] = task_data.locate(index[leaf].cfg or {}, data)
        for name in files:
            with self._missing_data():
                sources[name] = file_tasks.source(name)
        return sources

    def _missing_data(self) -> AbstractContextManager[None]:
        """Return what ignores missing data if the catalogue keeps going: building the task fails, too."""
        return suppress(HarnessError) if self._keep_going else nullcontext()

    def load(
        self,
        names: Sequence[str],
        data: Path | None = None,
        *,
        num_fewshot: int | None = None,
        seed: int = FEWSHOT_SEED,
        documents: Mapping[str, Sequence[dict[str, Any]]] | None = None,
    ) -> TaskSet:
        """Build the tasks of `names` (tasks, groups, tags, globs, files) on data from the mirror `data` or the hub.

        Tasks named in `documents` get the documents there instead, and no few-shot examples. `num_fewshot` overrides
        the number that a task states, except 0, as in lm-eval. Raises HarnessError if a task is unknown or cannot be
        built.
        """
        names = self.expand(names)
        self._refuse_shared_names(names, self.sources(names, data))
        index = dict(self.index_for([name for name in names if not file_tasks.names_files(name)]))
        builder = Builder(data, documents, keep_going=self._keep_going)
        prompt_cache.compile_once()
        # Some of lm-eval's tasks shuffle while they load; lm-eval seeds this generator before.
        random.seed(0)
        tasks = TaskSet()
        for name in names:
            if file_tasks.names_files(name):
                label = file_tasks.task_name(name)
                with tasks.leaving_out(label, keep_going=self._keep_going):
                    self._add_file(name, tasks, builder)
            else:
                _add(name, tasks, builder, index)
        for name in builder.failed:
            tasks.tasks.pop(name, None)
        tasks.failed |= builder.failed
        for name, task in [*tasks.tasks.items()]:
            with tasks.leaving_out(name, keep_going=self._keep_going):
                _prepare(name, task, builder, num_fewshot, seed)
        tasks.sources = {name: builder.sources[name] for name in tasks.tasks if name in builder.sources}
        return tasks

    def _refuse_shared_names(self, names: Sequence[str], sources: Collection[str]) -> None:
        """Raise HarnessError if a task made of a file in `names` would have the name of another task in `sources`."""
        advice = {name: "the file" for name in sources if not file_tasks.names_files(name)}
        for name in filter(file_tasks.names_files, names):
            if (task := file_tasks.task_name(name)) in advice:
                raise HarnessError(f"{name} would be called {task}, as another task is: rename {advice[task]}")
            advice[task] = "one of the files"

    def _add_file(self, name: str, tasks: TaskSet, builder: Builder) -> None:
        """Add the task made of the file `name` to `tasks`."""
        task = file_tasks.build(name, self._comparisons)
        tasks.add_task(task)
        builder.sources[task.name] = file_tasks.source(name)


def _prepare(name: str, task: Task, builder: Builder, num_fewshot: int | None, seed: int) -> None:
    """Set the few-shot examples of a task. Raises HarnessError if it cannot have them, or is not supported."""
    if task.runs_generated_code:
        raise HarnessError(f"task {name} runs code that the checkpoint writes: it is not supported")
    if num_fewshot:
        builder.require_shots(name)
    task.set_num_fewshot(num_fewshot)
    prompt_cache.render_shots_once(task.lm_eval)
    if task.num_fewshot:
        task.watch_shots()
    task.reseed(seed)


def _add(name: str, tasks: TaskSet, builder: Builder, index: task_index.Index) -> None:
    """Add to `tasks` what `name` refers to: a task, a group, or the tasks of a tag."""
    try:
        built = builder.build(index[name], registry=index)
    except RecursionError as error:
        raise HarnessError(f"group '{name}' contains itself: correct its list of tasks") from error
    for item in built if isinstance(built, list) else [built]:
        if hasattr(item, "get_all_tasks"):
            tasks.add_group(item, index)
        else:
            tasks.add_task(Task(item))
    tasks.add_averages_of_tag(name, index)
