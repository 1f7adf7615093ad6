"""What checkpoints were asked to get a score, and whether that was the same.

A score may be compared with another when both checkpoints were asked the same: the same tasks, of the same version,
on the same documents of the same data, by the same prompts. If not, they differ in ways that can be said in words.

Not here: numbers (`harness.verdicts.compare`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from harness.reports.report import Protocol, Report, Score, TaskInfo

DOCUMENTS = "other documents"
CUT = "prompts cut"


class Key(NamedTuple):
    """What makes scores of different checkpoints one number: a column, or a line of a table."""

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
        """Sorts keys by task, then metric."""
        return (self.task, self.metric, self.filter, self.average or "")


class Difference(NamedTuple):
    """One way in which a checkpoint was asked something else than another."""

    label: str
    """Two words, for a cell: `other prompts`."""
    reason: str
    """What a reader needs to understand it: `0-shot instead of 5-shot in 52 of 52 tasks`."""


class Asked(NamedTuple):
    """What a checkpoint was asked to get one score: the tasks behind it, and the protocol of the run."""

    tasks: Mapping[str, TaskInfo]
    protocol: Protocol

    @property
    def documents(self) -> int:
        """Documents in all tasks together."""
        return sum(task.documents for task in self.tasks.values())

    @property
    def cut_short(self) -> bool:
        """Whether a limit left documents of the split out."""
        return self.protocol.limit is not None and any(
            task.documents < task.documents_in_split for task in self.tasks.values()
        )


Signature = frozenset[tuple[str, str, str, str, str, int, int]]


def asked(report: Report, name: str) -> Asked:
    """Return what `report` asked to get its scores of `name`, a task or an average."""
    return Asked({task: report.manifest.tasks[task] for task in members(report, name)}, report.manifest.protocol)


def members(report: Report, name: str) -> list[str]:
    """Return the tasks of `report` that `name`, a task or an average, is made of."""
    score = next((score for score in report.manifest.scores if score.task == name), None)
    return list(score.members) if score else []


def differences(mine: Asked, other: Asked) -> tuple[Difference, ...]:
    """Return in which ways `mine` differs from `other`; empty where scores may be compared."""
    if signature(mine) == signature(other):
        return ()
    return tuple(
        difference
        for compare in (_other_tasks, _other_data, _other_version, _other_documents, _other_prompts, _other_cuts)
        for difference in compare(mine, other)
    )


def signature(one: Asked) -> Signature:
    """Return what decides which numbers may be compared: equal for checkpoints that were asked the same."""
    return frozenset(
        (name, task.prompt_hash, task.version, task.dataset, task.split, task.documents, task.truncated)
        for name, task in one.tasks.items()
    )


def _other_tasks(mine: Asked, other: Asked) -> Iterator[Difference]:
    lacking = [name for name in other.tasks if name not in mine.tasks]
    extra = [name for name in mine.tasks if name not in other.tasks]
    if lacking:
        yield Difference("other tasks", f"lacks {_count(lacking)} of {len(other.tasks)}: {_some(lacking)}")
    if extra:
        yield Difference("other tasks", f"has {_count(extra)} more: {_some(extra)}")


def _other_data(mine: Asked, other: Asked) -> Iterator[Difference]:
    yield from _by_field(mine, other, "other data", lambda task: f"{task.dataset}, split {task.split}")


def _other_version(mine: Asked, other: Asked) -> Iterator[Difference]:
    yield from _by_field(mine, other, "other version", lambda task: f"task version {task.version}")


def _other_documents(mine: Asked, other: Asked) -> Iterator[Difference]:
    shared = _shared(mine, other)
    changed = [name for name in shared if mine.tasks[name].documents != other.tasks[name].documents]
    if changed:
        here = sum(mine.tasks[name].documents for name in shared)
        there = sum(other.tasks[name].documents for name in shared)
        limit = f", by limit {mine.protocol.limit}" if mine.cut_short else ""
        if mine.protocol.shuffled is not None or other.protocol.shuffled is not None:
            limit = ", by a gate that stopped when its verdict was clear"
        yield Difference(
            DOCUMENTS,
            f"{here:,} documents instead of {there:,}{_share(changed, shared)}{limit}",
        )


def _other_prompts(mine: Asked, other: Asked) -> Iterator[Difference]:
    shared = _shared(mine, other)
    changed = [name for name in shared if mine.tasks[name].prompt_hash != other.tasks[name].prompt_hash]
    causes = [*_other_fewshot(mine, other), *_other_protocol(mine.protocol, other.protocol)] if changed else []
    # The hash covers all prompts of a task: over other documents it differs even where every prompt would be the same.
    unexplained = [name for name in changed if _same_documents(mine.tasks[name], other.tasks[name])]
    if causes:
        yield Difference("other prompts", "; ".join(causes))
    elif unexplained:
        yield Difference("other prompts", f"the text of the prompts differs{_share(unexplained, shared)}")


def _other_cuts(mine: Asked, other: Asked) -> Iterator[Difference]:
    here, there = (sum(one.tasks[name].truncated for name in _shared(mine, other)) for one in (mine, other))
    if here != there and (mine.protocol.recorded or other.protocol.recorded):
        yield Difference(
            CUT,
            f"{max(here, there):,} prompts cut to fit the context, of recorded predictions it is not known",
        )
    elif here != there:
        yield Difference(CUT, f"{here:,} prompts cut to fit the context instead of {there:,}")


def _other_fewshot(mine: Asked, other: Asked) -> Iterator[str]:
    if mine.protocol.recorded or other.protocol.recorded:
        return
    for difference in _by_field(mine, other, "", lambda task: f"{task.num_fewshot}-shot"):
        yield difference.reason


def _other_protocol(mine: Protocol, other: Protocol) -> Iterator[str]:
    if mine.recorded != other.recorded:
        one = mine if mine.recorded else other
        yield f"{'' if mine.recorded else 'compared with '}predictions recorded elsewhere ({one.recorded})"
        return
    if mine.chat_template != other.chat_template:
        yield (
            "no chat template"
            if mine.chat_template is None
            else "a chat template"
            if other.chat_template is None
            else "another chat template"
        )
    elif mine.chat_template_arguments != other.chat_template_arguments:
        yield "other arguments of the chat template"
    if mine.system_instruction != other.system_instruction:
        yield "no system instruction" if mine.system_instruction is None else "another system instruction"
    if mine.fewshot_as_multiturn != other.fewshot_as_multiturn:
        yield "examples as turns of a dialogue" if mine.fewshot_as_multiturn else "examples in a single turn"
    if mine.articles != other.articles:
        yield "the data's own articles" if mine.articles is None else "retrieved articles"
    if mine.max_gen_toks != other.max_gen_toks:
        yield f"{_longest(mine)} instead of {_longest(other)}"
    if mine.stride != other.stride:
        yield "texts read in other windows"
    if mine.seed != other.seed:
        yield f"seed {mine.seed} instead of {other.seed}"


def _longest(one: Protocol) -> str:
    return (
        "the task's own limit of new tokens" if one.max_gen_toks is None else f"up to {one.max_gen_toks:,} new tokens"
    )


def _by_field(mine: Asked, other: Asked, label: str, read: Callable[[TaskInfo], str]) -> Iterator[Difference]:
    shared = _shared(mine, other)
    changed = [name for name in shared if read(mine.tasks[name]) != read(other.tasks[name])]
    if changed:
        here, there = read(mine.tasks[changed[0]]), read(other.tasks[changed[0]])
        yield Difference(label, f"{here} instead of {there}{_share(changed, shared)}")


def _same_documents(mine: TaskInfo, other: TaskInfo) -> bool:
    return (mine.documents, mine.dataset, mine.split) == (other.documents, other.dataset, other.split)


def _shared(mine: Asked, other: Asked) -> list[str]:
    return [name for name in mine.tasks if name in other.tasks]


def _share(changed: Sequence[str], shared: Sequence[str]) -> str:
    return f" in {len(changed)} of {len(shared)} tasks" if len(shared) > 1 else ""


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} task{'s' if len(names) > 1 else ''}"


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
