"""The conditions under which checkpoints got a score, and whether two scores may be compared.

Two scores may be compared if both checkpoints were evaluated under the same conditions: the same tasks of the same
version, on the same documents of the same data, with the same prompts. Otherwise each difference is stated in words.

Not here: the scores themselves (`harness.verdicts.compare`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from harness.reports.report import Protocol, Report, Score, TaskInfo

DOCUMENTS = "different documents"
PROMPTS = "different prompts"
CUT = "prompts cut"


class Key(NamedTuple):
    """What identifies a score across checkpoints: one column, or one row, of a table."""

    task: str
    metric: str
    filter: str
    average: Literal["task", "sample"] | None

    @classmethod
    def of(cls, score: Score) -> Key:
        """Return the key of `score`."""
        return cls(score.task, score.metric, score.filter, score.average)

    @property
    def order(self) -> tuple[str, str, str, str]:
        """A sort key: by task, then by metric."""
        return (self.task, self.metric, self.filter, self.average or "")


class Difference(NamedTuple):
    """One way in which the conditions of two checkpoints differ."""

    label: str
    """Two words, for a table cell: `different prompts`."""
    reason: str
    """The details for a reader: `0-shot instead of 5-shot in 52 of 52 tasks`."""


class Conditions(NamedTuple):
    """The conditions under which a checkpoint got one score: the tasks behind it, and the protocol of the run."""

    tasks: Mapping[str, TaskInfo]
    protocol: Protocol

    @property
    def documents(self) -> int:
        """Number of documents in all tasks together."""
        return sum(task.documents for task in self.tasks.values())

    @property
    def cut_short(self) -> bool:
        """Whether a limit left documents of the split out."""
        return self.protocol.limit is not None and any(
            task.documents < task.documents_in_split for task in self.tasks.values()
        )


Signature = frozenset[tuple[str, str, str, str, str, int, int]]


def conditions(report: Report, name: str) -> Conditions:
    """Return the conditions under which `report` got its scores of `name`, a task or an average."""
    return Conditions({task: report.manifest.tasks[task] for task in members(report, name)}, report.manifest.protocol)


def members(report: Report, name: str) -> list[str]:
    """Return the tasks of `report` that `name`, a task or an average, covers."""
    score = next((score for score in report.manifest.scores if score.task == name), None)
    return list(score.members) if score else []


def differences(mine: Conditions, other: Conditions) -> tuple[Difference, ...]:
    """Return the ways in which `mine` differs from `other`; empty if the scores may be compared."""
    if signature(mine) == signature(other):
        return ()
    return tuple(
        difference
        for compare in (
            _different_tasks,
            _different_data,
            _different_version,
            _different_documents,
            _different_prompts,
            _different_cuts,
        )
        for difference in compare(mine, other)
    )


def signature(conditions: Conditions) -> Signature:
    """Return the part of `conditions` that decides comparability: equal if and only if scores may be compared."""
    return frozenset(
        (name, task.prompt_hash, task.version, task.dataset, task.split, task.documents, task.truncated)
        for name, task in conditions.tasks.items()
    )


def _different_tasks(mine: Conditions, other: Conditions) -> Iterator[Difference]:
    missing = [name for name in other.tasks if name not in mine.tasks]
    extra = [name for name in mine.tasks if name not in other.tasks]
    if missing:
        yield Difference("different tasks", f"lacks {_count(missing)} of {len(other.tasks)}: {_list_names(missing)}")
    if extra:
        yield Difference("different tasks", f"has {_count(extra)} more: {_list_names(extra)}")


def _different_data(mine: Conditions, other: Conditions) -> Iterator[Difference]:
    yield from _by_field(mine, other, "different data", lambda task: f"{task.dataset}, split {task.split}")


def _different_version(mine: Conditions, other: Conditions) -> Iterator[Difference]:
    yield from _by_field(mine, other, "different version", lambda task: f"task version {task.version}")


def _different_documents(mine: Conditions, other: Conditions) -> Iterator[Difference]:
    shared = _shared_tasks(mine, other)
    changed = [name for name in shared if mine.tasks[name].documents != other.tasks[name].documents]
    if changed:
        my_count = sum(mine.tasks[name].documents for name in shared)
        other_count = sum(other.tasks[name].documents for name in shared)
        cause = f", because of limit {mine.protocol.limit}" if mine.cut_short else ""
        if mine.protocol.shuffled is not None or other.protocol.shuffled is not None:
            cause = ", because a gate stopped when its verdict was clear"
        yield Difference(
            DOCUMENTS,
            f"{my_count:,} documents instead of {other_count:,}{_task_share(changed, shared)}{cause}",
        )


def _different_prompts(mine: Conditions, other: Conditions) -> Iterator[Difference]:
    shared = _shared_tasks(mine, other)
    changed = [name for name in shared if mine.tasks[name].prompt_hash != other.tasks[name].prompt_hash]
    causes = [*_fewshot_causes(mine, other), *_protocol_causes(mine.protocol, other.protocol)] if changed else []
    # The hash covers all prompts of a task, so with different documents it differs even if each prompt is the same.
    unexplained = [name for name in changed if _has_same_documents(mine.tasks[name], other.tasks[name])]
    if causes:
        yield Difference(PROMPTS, "; ".join(causes))
    elif unexplained:
        yield Difference(PROMPTS, f"the text of the prompts differs{_task_share(unexplained, shared)}")


def _different_cuts(mine: Conditions, other: Conditions) -> Iterator[Difference]:
    shared = _shared_tasks(mine, other)
    my_count, other_count = (sum(side.tasks[name].truncated for name in shared) for side in (mine, other))
    if my_count != other_count and (mine.protocol.recorded or other.protocol.recorded):
        yield Difference(
            CUT,
            f"{max(my_count, other_count):,} prompts cut to fit the context; unknown for the recorded predictions",
        )
    elif my_count != other_count:
        yield Difference(CUT, f"{my_count:,} prompts cut to fit the context instead of {other_count:,}")


def _fewshot_causes(mine: Conditions, other: Conditions) -> Iterator[str]:
    if mine.protocol.recorded or other.protocol.recorded:
        return
    for difference in _by_field(mine, other, "", lambda task: f"{task.num_fewshot}-shot"):
        yield difference.reason


def _protocol_causes(mine: Protocol, other: Protocol) -> Iterator[str]:
    if mine.recorded != other.recorded:
        recorded = mine.recorded or other.recorded
        yield f"{'' if mine.recorded else 'compared with '}predictions recorded elsewhere ({recorded})"
        return
    if mine.chat_template != other.chat_template:
        yield (
            "no chat template"
            if mine.chat_template is None
            else "a chat template"
            if other.chat_template is None
            else "a different chat template"
        )
    elif mine.chat_template_arguments != other.chat_template_arguments:
        yield "different arguments of the chat template"
    if mine.system_instruction != other.system_instruction:
        yield "no system instruction" if mine.system_instruction is None else "a different system instruction"
    if mine.fewshot_as_multiturn != other.fewshot_as_multiturn:
        yield "few-shot examples as chat turns" if mine.fewshot_as_multiturn else "few-shot examples in a single turn"
    if mine.articles != other.articles:
        yield "the articles of the data set" if mine.articles is None else "retrieved articles"
    if mine.max_gen_toks != other.max_gen_toks:
        yield f"{_token_limit(mine)} instead of {_token_limit(other)}"
    if mine.stride != other.stride:
        yield "different windows of the texts"
    if mine.seed != other.seed:
        yield f"seed {mine.seed} instead of {other.seed}"


def _token_limit(protocol: Protocol) -> str:
    if protocol.max_gen_toks is None:
        return "the task's own limit of new tokens"
    return f"up to {protocol.max_gen_toks:,} new tokens"


def _by_field(mine: Conditions, other: Conditions, label: str, read: Callable[[TaskInfo], str]) -> Iterator[Difference]:
    shared = _shared_tasks(mine, other)
    changed = [name for name in shared if read(mine.tasks[name]) != read(other.tasks[name])]
    if changed:
        my_value, other_value = read(mine.tasks[changed[0]]), read(other.tasks[changed[0]])
        yield Difference(label, f"{my_value} instead of {other_value}{_task_share(changed, shared)}")


def _has_same_documents(mine: TaskInfo, other: TaskInfo) -> bool:
    return (mine.documents, mine.dataset, mine.split) == (other.documents, other.dataset, other.split)


def _shared_tasks(mine: Conditions, other: Conditions) -> list[str]:
    return [name for name in mine.tasks if name in other.tasks]


def _task_share(changed: Sequence[str], shared: Sequence[str]) -> str:
    return f" in {len(changed)} of {len(shared)} tasks" if len(shared) > 1 else ""


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} task{'s' if len(names) > 1 else ''}"


def _list_names(names: Sequence[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
