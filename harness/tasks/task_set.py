"""The tasks that a user named, loaded: each task once, with the groups, averages and headlines that the names imply.

Not here: finding or building tasks (`harness.tasks.catalogue`), or computing averages
(`harness.metrics.stats.estimates`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from harness.common.failures import ends_a_run, reason
from harness.data.sources import DataSource
from harness.errors import HarnessError
from harness.metrics.stats.estimates import Average
from harness.tasks.index import Index
from harness.tasks.metadata import AverageRule, TaskMetadata
from harness.tasks.task import Task


class GroupAverage(NamedTuple):
    """An average that a group declares."""

    group: str
    average: Average
    metrics: tuple[str, ...]
    """The metrics for which the group declares the average; empty if it does for all metrics."""


@dataclass
class TaskSet:
    """Loaded tasks, and the groups and averages over them."""

    tasks: dict[str, Task] = field(default_factory=dict)
    """The tasks by name, in the order of the names that the user gave."""
    sources: dict[str, DataSource] = field(default_factory=dict)
    """Where each task's documents come from, by the task's name."""
    headlines: list[str] = field(default_factory=list)
    """Everything with a score of its own that the user named: tasks, and groups that have an average."""
    averages: list[GroupAverage] = field(default_factory=list)
    subtasks: dict[str, list[str]] = field(default_factory=dict)
    """The direct members of every group."""
    failed: dict[str, str] = field(default_factory=dict)
    """The tasks that the user named and that cannot be loaded, and why; groups and averages still list them."""

    @contextmanager
    def leaving_out(self, name: str, *, keep_going: bool) -> Iterator[None]:
        """Leave the task `name` out if the block fails and `keep_going`; otherwise its exception propagates."""
        try:
            yield
        except Exception as error:
            if not keep_going or ends_a_run(error):
                raise
            self.tasks.pop(name, None)
            self.failed[name] = reason(error)

    def add_task(self, task: Task) -> None:
        """Add a task that the user named."""
        self.tasks[task.name] = task
        self.headlines.append(task.name)

    def add_group(self, group: Any, index: Index) -> None:
        """Add lm-eval's `group` object, which the user named, and its members.

        Raises HarnessError if the group declares an average over a tag that no task of `index` has.
        """
        inside = {subgroup.name: subgroup for subgroup in group.get_all_groups()}
        for subgroup in [group, *inside.values()]:
            self.subtasks[subgroup.name] = list(subgroup.child_names)
            self.averages += [average for average in _averages(subgroup, index) if average not in self.averages]
        members = {task.name: task for task in map(Task, group.get_all_tasks())}
        self.tasks |= {name: task for name, task in members.items() if name not in self.tasks}
        self.headlines += _headlines(group, inside)

    def add_averages_of_tag(self, tag: str, index: Index) -> None:
        """Add each average that a group declares over `tag`, which the user named: `ceval/Hard` for `ceval_hard`."""
        for name, entry in index.items():
            if entry.kind.name != "GROUP":
                continue
            for average_name, rule in _rules(name, (entry.cfg or {}).get("metadata")).items():
                if rule.tag != tag or average_name in [known.average.name for known in self.averages]:
                    continue
                members = tuple(task for task in self.tasks if task in index[tag].tags)
                listed = entry.cfg.get("aggregate_metric_list") or []
                declared = tuple(dict.fromkeys(str(item["metric"]) for item in listed))
                self.averages.append(GroupAverage(average_name, Average(average_name, members, rule.weight), declared))
                self.headlines = [*(name for name in self.headlines if name not in members), average_name]


def _rules(group: str, metadata: object) -> Mapping[str, AverageRule]:
    """Return the averages that a group's metadata defines, by name."""
    stated = metadata.get("averages") if isinstance(metadata, dict) else None
    return TaskMetadata.of({"averages": stated}, f"group {group}").averages if stated else {}


def _headlines(group: Any, inside: dict[str, Any]) -> list[str]:
    """Return the group's name if it has a score, else the names of its averages and of its members with a score."""
    if group.has_aggregation:
        return [group.name]
    headlines = list(_rules(group.name, group.metadata))
    for child in group.child_names:
        headlines += _headlines(inside[child], inside) if child in inside else [child]
    return headlines


def _averages(group: Any, index: Index) -> Iterator[GroupAverage]:
    """Yield the average that a group declares under its own name, then the averages in its `metadata.averages`."""
    members = tuple(dict.fromkeys(task.config.task for task in group.get_all_tasks()))
    listed = group.aggregate_metric_list or []
    declared = tuple(dict.fromkeys(item.metric for item in listed))
    if group.has_aggregation:
        by_size = all(item.weight_by_size for item in listed)
        yield GroupAverage(group.name, Average(group.name, members, "sample" if by_size else "task"), declared)
    for name, rule in _rules(group.name, group.metadata).items():
        tasks = rule.tasks
        if not tasks:
            entry = index.get(rule.tag)
            if entry is None:
                raise HarnessError(
                    f"group {group.name}: average '{name}' is over the tag '{rule.tag}', which no task has"
                )
            tasks = tuple(member for member in members if member in entry.tags)
        yield GroupAverage(group.name, Average(name, tasks, rule.weight), declared)
