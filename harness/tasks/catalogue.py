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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from harness.common import resources
from harness.data import sources as task_data
from harness.data.sources import DataSource
from harness.errors import HarnessError, did_you_mean
from harness.metrics.stats.estimates import Average
from harness.tasks import index as task_index
from harness.tasks import prompt_cache
from harness.tasks.factory import Builder
from harness.tasks.own_files import file_tasks

FEATURED = ("mmlu", "gsm8k", "gsm8k_cot", "cmmlu")
"""lm-eval's own tasks that `harness tasks` lists beside ours."""
FEWSHOT_SEED = 1234  # lm-eval's, so that the shots drawn are the ones it draws
# lm-eval's metrics that lie in [0, 1] by definition. A unit is never guessed from values: 0.4 of 100 is not 40 %.
_FRACTIONS = (
    *("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "acc_all", "exact_match", "em", "f1"),
    *("prompt_level_strict_acc", "prompt_level_loose_acc", "inst_level_strict_acc", "inst_level_loose_acc"),
)


class Metric(NamedTuple):
    """A metric as a task reports it, under one of the task's filters."""

    name: str
    filter: str
    higher_is_better: bool
    fraction: bool
    """A sample's value lies in [0, 1] by definition, so that the score reads as a percentage."""
    aggregation: str = ""
    """The name of the function that makes a task's number of its samples' values: `mean`, `ratio`, …"""


class GroupAverage(NamedTuple):
    """An average that a group declares, and the metrics it is declared for (none named: all)."""

    group: str
    average: Average
    metrics: tuple[str, ...]


@dataclass
class TaskSet:
    """Loaded tasks, each once, and what is made of them."""

    tasks: dict[str, Any]
    """lm-eval task objects by name, in the order asked for."""
    sources: dict[str, DataSource]
    headlines: list[str]
    """What the user asked for by name and gets a number of its own: tasks, and groups that have an average."""
    averages: list[GroupAverage] = field(default_factory=list)
    subtasks: dict[str, list[str]] = field(default_factory=dict)
    """Direct members of every group."""

    def adopt(self, tag: str, index: dict[str, Any]) -> None:
        """Give a tag that was asked for the average that a group has over it: `ceval_hard` is `ceval/Hard`."""
        for entry in index.values():
            metadata = (entry.cfg or {}).get("metadata") if entry.kind.name == "GROUP" else None
            named = metadata.get("averages") if isinstance(metadata, dict) else None
            for name, how in (named or {}).items():
                if how.get("tag") == tag and name not in [known.average.name for known in self.averages]:
                    members = tuple(task for task in self.tasks if task in index[tag].tags)
                    listed = entry.cfg.get("aggregate_metric_list") or []
                    declared = tuple(dict.fromkeys(str(one["metric"]) for one in listed))
                    self.averages.append(GroupAverage(name, Average(name, members, how["weight"]), declared))
                    self.headlines = [*(one for one in self.headlines if one not in members), name]


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
            return dict(file_tasks.build(name, self._comparisons).config.to_dict())
        index = self.index_for([name])
        stated = (index[name].cfg or {}).get("metadata")
        if own and isinstance(stated, dict) and stated.get("protocol"):
            return dict(index[name].cfg)
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
        found = TaskSet({}, {}, [])
        for name in names:
            if file_tasks.names_files(name):
                _adopt_files(name, file_tasks.build(name, self._comparisons), found, builder)
                continue
            try:
                built = builder.build(index[name], registry=index)
            except RecursionError as error:
                raise HarnessError(f"group '{name}' contains itself: correct its list of tasks") from error
            for item in built if isinstance(built, list) else [built]:
                _collect(item, found, index)
            found.adopt(name, index)
        for task in found.tasks.values():
            if getattr(task, "UNSAFE_CODE", False):
                raise HarnessError(f"task {task.config.task} runs code that the checkpoint writes: it is not supported")
            name = str(task.config.task)
            if num_fewshot and name in builder.shotless:
                split, origin = builder.shotless[name], builder.taken[name]
                raise HarnessError(
                    f"task {name}: shots are drawn from the split '{split}', which {origin.folder} lacks: fetch it "
                    f"with '{origin.fetch}', or leave --num-fewshot out"
                )
            _set_fewshot(task, num_fewshot)
            prompt_cache.render_shots_once(task)
            reseed(task, seed)
        found.sources = {name: builder.taken[name] for name in found.tasks if name in builder.taken}
        return found


def reseed(task: Any, seed: int = FEWSHOT_SEED) -> None:
    """Start the task's random stream of few-shot examples anew; needed before its prompts are built again."""
    task.set_fewshot_seed(seed=seed)


def metrics(task: Any) -> list[Metric]:
    """Return what a task reports, the first standing for it where there is room for one.

    `metadata.primary` in a task's YAML (`exact_match,flexible-extract`) moves another to the front;
    `metadata.fractions` lists metrics of its own whose values lie in [0, 1].
    """
    better = task.higher_is_better()
    filters = [ensemble.name for ensemble in getattr(task, "_filters", [])] or ["none"]
    metadata = task.config.metadata if isinstance(task.config.metadata, dict) else {}
    fractions = {*_FRACTIONS, *(metadata.get("fractions") or ())}
    found = [
        Metric(name, kind, bool(better.get(name, True)), name in fractions, getattr(made, "__name__", ""))
        for name, made in task.aggregation().items()
        for kind in filters
    ]
    first = str(metadata.get("primary", ""))
    return sorted(found, key=lambda metric: f"{metric.name},{metric.filter}" != first)


def split(task: Any) -> str:
    """Return the name of the split that the task's documents come from."""
    return str(task.config.test_split or task.config.validation_split or task.config.training_split or "")


def _adopt_files(name: str, task: Any, found: TaskSet, builder: Builder) -> None:
    own = str(task.config.task)
    if own in found.tasks:
        raise HarnessError(f"{name} would be called {own}, as another task is: rename one of the files")
    found.tasks[own] = task
    found.headlines.append(own)
    builder.taken[own] = file_tasks.source(name)


def _collect(item: Any, found: TaskSet, index: dict[str, Any]) -> None:
    """Add a task or group that was asked for, and its members, to `found`."""
    if not hasattr(item, "get_all_tasks"):
        found.tasks[item.config.task] = item
        found.headlines.append(item.config.task)
        return
    for group in [item, *item.get_all_groups()]:
        found.subtasks[group.name] = list(group.child_names)
        found.averages += [a for a in _averages(group, index) if a not in found.averages]
    tasks = {task.config.task: task for task in item.get_all_tasks()}
    found.tasks.update((name, task) for name, task in tasks.items() if name not in found.tasks)
    found.headlines += _headlines(item, {group.name: group for group in item.get_all_groups()})


def _headlines(group: Any, inside: dict[str, Any]) -> list[str]:
    """Return the group's name if it has a number, else those of its averages and of its members that have one."""
    if group.has_aggregation:
        return [group.name]
    found = list((group.metadata or {}).get("averages") or {})
    for child in group.child_names:
        found += _headlines(inside[child], inside) if child in inside else [child]
    return found


def _averages(group: Any, index: dict[str, Any]) -> Iterator[GroupAverage]:
    """Yield the average a group declares for itself, then those its `metadata.averages` names."""
    members = tuple(dict.fromkeys(task.config.task for task in group.get_all_tasks()))
    declared = tuple(dict.fromkeys(one.metric for one in group.aggregate_metric_list or []))
    if group.has_aggregation:
        by_size = all(one.weight_by_size for one in group.aggregate_metric_list)
        yield GroupAverage(group.name, Average(group.name, members, "sample" if by_size else "task"), declared)
    for name, how in ((group.metadata or {}).get("averages") or {}).items():
        if listed := how.get("tasks"):
            yield GroupAverage(group.name, Average(name, tuple(listed), how["weight"]), declared)
            continue
        entry = index.get(how["tag"])
        if entry is None:
            raise HarnessError(
                f"group {group.name}: average '{name}' is over the tag '{how['tag']}', which no task has"
            )
        tagged = tuple(member for member in members if member in entry.tags)
        yield GroupAverage(group.name, Average(name, tagged, how["weight"]), declared)


def _set_fewshot(task: Any, num_fewshot: int | None) -> None:
    own = task.get_config("num_fewshot")
    if num_fewshot is not None and own != 0:
        task.set_config(key="num_fewshot", value=num_fewshot)
        _require_shots(task, num_fewshot)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)


def _require_shots(task: Any, wanted: int) -> None:
    pool = len(task.fewshot_docs() or [])
    # From the split that is asked about, a document's own copy cannot be a shot for it.
    pool -= task.fewshot_cfg.split is not None and task.fewshot_cfg.split == task.config.test_split
    if wanted > pool:
        raise HarnessError(f"task {task.config.task} has {pool} examples to show, not {wanted}: lower --num-fewshot")
