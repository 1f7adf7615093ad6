"""Finding tasks and their data: the one seam to lm-eval's task machinery.

A name is looked for in this project's `tasks/`, then in the lm-eval folder that it begins with (`mmlu_anatomy` in
`mmlu/`), and only then in lm-eval's whole tree, whose 14,000 files take a quarter of a minute to read. Data come from a
mirror folder `DIR/<org>/<name>` where it has them, else from the hub.

Not here: asking a checkpoint anything (`harness.runs.run`), or computing averages (`harness.metrics.stats.estimates`).
"""

from __future__ import annotations

import fnmatch
import functools
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.common import resources
from harness.data import sources as task_data
from harness.data.sources import DataSource
from harness.errors import HarnessError, did_you_mean
from harness.tasks import index as task_index
from harness.tasks import prompt_cache
from harness.tasks.factory import Builder
from harness.tasks.own_files import file_tasks
from harness.tasks.task import FEWSHOT_SEED, Task, TaskMetadata
from harness.tasks.task_set import TaskSet

FEATURED = ("mmlu", "gsm8k", "gsm8k_cot", "cmmlu")
"""lm-eval's own tasks that `harness tasks` lists beside ours."""


class Catalogue:
    """The tasks that can be named."""

    def __init__(self, include: Sequence[Path] = (), comparisons: Sequence[str] = ()) -> None:
        """Know the tasks of `include` besides; `comparisons` are how answers in words of files are compared."""
        self._comparisons = comparisons
        for path in include:
            if not path.is_dir():
                raise HarnessError(f"--include-path {path} is not a folder")
            task_index.require_readable(path)
        self._own = [resources.folder("tasks"), Path(__file__).parents[1] / "demo" / "tasks", *include]
        self._indexes: dict[tuple[str, ...], task_index.Index] = {}

    @functools.cached_property
    def own(self) -> dict[str, Any]:
        """Index of this project's tasks and those of `include`: name → lm-eval's index entry."""
        return task_index.read(self._own)

    def names(self) -> list[str]:
        """Return the groups and single tasks worth listing: ours first, then `FEATURED`; a group's parts left out."""
        # A group's own parts (ceval_law of ceval) go without saying; tasks that a group only gathers do not.
        listed = ((name, member) for name, entry in self.own.items() for member in task_index.members(entry))
        members = {member for name, member in listed if member.startswith(f"{name}_")}
        ours = [name for name, entry in self.own.items() if entry.kind.name != "TAG" and name not in members]
        return [*sorted(ours), *(name for name in FEATURED if name not in ours)]

    def config(self, name: str, *, own: bool = False) -> dict[str, Any]:
        """Return the YAML of task `name`, or of a group's first task, with what it includes.

        With `own`, a group that states a protocol is described by its own YAML.
        """
        if file_tasks.names_files(name):
            return file_tasks.build(name, self._comparisons).config
        index = self.index_for([name])
        config = dict(index[name].cfg or {})
        if own and TaskMetadata.of(config.get("metadata"), name).protocol:
            return config
        leaf = next(iter(task_index.leaves(name, index)), name)
        return dict(index[leaf].cfg or {})

    def index_for(self, names: Sequence[str]) -> task_index.Index:
        """Return an index in which every one of `names`, and all their members, is found; read once for these names.

        Raises HarnessError naming the first that lm-eval does not know either.
        """
        key = tuple(names)
        if key not in self._indexes:
            self._indexes[key] = self._indexed(key)
        return self._indexes[key]

    def _indexed(self, names: tuple[str, ...]) -> task_index.Index:
        if task_index.complete(names, self.own):
            return self.own
        folders: list[Path] = []
        for name in task_index.missing(names, self.own):
            for folder in task_index.near(name):
                if folder not in folders:
                    folders.insert(0, folder)
        index = {**task_index.read(folders), **self.own}  # ours come last, and override
        if not task_index.complete(names, index):
            index = {**task_index.read([task_index.lm_eval_folder()]), **self.own}
        for name in names:
            if name not in index:
                hint = file_tasks.meant(name) or f"{did_you_mean(name, index)} (see 'harness tasks')"
                raise HarnessError(f"there is no task '{name}'{hint}")
        for member in task_index.missing(names, index):
            raise HarnessError(f"a group names '{member}', which is no task: correct the group's list")
        return index

    def expand(self, names: Sequence[str]) -> list[str]:
        """Return `names` with the globs among them (`ceval_high_*`, `exams/*.jsonl`) replaced by what they match."""
        expanded: list[str] = []
        for name in (found for listed in names for found in file_tasks.matching(listed)):
            if file_tasks.names_files(name) or not any(letter in name for letter in "*?["):
                expanded.append(name)
                continue
            index = self.own if fnmatch.filter(self.own, name) else task_index.beginning(name)
            matched = [found for found in fnmatch.filter(index, name) if index[found].kind.name in ("TASK", "PY_TASK")]
            if not matched:
                raise HarnessError(f"no task matches '{name}' (see 'harness tasks')")
            expanded += sorted(matched)
        return list(dict.fromkeys(expanded))

    def sources(self, names: Sequence[str], data: Path | None) -> dict[str, DataSource]:
        """Return where each leaf task under `names` would take its documents from, loading none.

        Raises HarnessError on an unknown task, a `data` folder that does not exist, or an empty copy in it.
        """
        if data is not None and not data.is_dir():
            raise HarnessError(f"the data folder {data} does not exist: name a mirror with --data or HARNESS_DATA")
        files = {name: file_tasks.source(name) for name in names if file_tasks.names_files(name)}
        names = [name for name in names if name not in files]
        index = self.index_for(names)
        leaves = dict.fromkeys(leaf for name in names for leaf in task_index.leaves(name, index))
        return {leaf: task_data.source(index[leaf].cfg or {}, data) for leaf in leaves} | files

    def load(
        self,
        names: Sequence[str],
        data: Path | None = None,
        *,
        num_fewshot: int | None = None,
        seed: int = FEWSHOT_SEED,
        documents: Mapping[str, Sequence[dict[str, Any]]] | None = None,
    ) -> TaskSet:
        """Build the tasks of `names` (tasks, groups, tags, globs) on data from the mirror `data` or the hub.

        Tasks in `documents` get those documents instead, without shots. `num_fewshot` overrides what a task says,
        except where it says 0, as in lm-eval. Raises HarnessError on an unknown task, or on data that are not to be
        had.
        """
        names = self.expand(names)
        self.sources(names, data)
        index = dict(self.index_for([name for name in names if not file_tasks.names_files(name)]))
        builder = Builder(data, documents)
        prompt_cache.compile_once()
        # Some stock tasks shuffle while they load; lm-eval seeds these before.
        random.seed(0)
        tasks = TaskSet()
        for name in names:
            if file_tasks.names_files(name):
                task = file_tasks.build(name, self._comparisons)
                if task.name in tasks.tasks:
                    raise HarnessError(
                        f"{name} would be called {task.name}, as another task is: rename one of the files"
                    )
                tasks.add_task(task)
                builder.taken[task.name] = file_tasks.source(name)
                continue
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
        for name, task in tasks.tasks.items():
            if task.runs_generated_code:
                raise HarnessError(f"task {name} runs code that the checkpoint writes: it is not supported")
            if num_fewshot and name in builder.shotless:
                split, origin = builder.shotless[name], builder.taken[name]
                raise HarnessError(
                    f"task {name}: shots are drawn from the split '{split}', which {origin.folder} lacks: fetch it "
                    f"with '{origin.fetch}', or leave --num-fewshot out"
                )
            task.set_num_fewshot(num_fewshot)
            prompt_cache.render_shots_once(task.lm_eval)
            task.reseed(seed)
        tasks.sources = {name: builder.taken[name] for name in tasks.tasks if name in builder.taken}
        return tasks
