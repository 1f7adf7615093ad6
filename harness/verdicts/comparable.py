"""The conditions under which checkpoints got a score, and whether two scores may be compared.

Two scores may be compared if both checkpoints were evaluated under the same conditions: the same tasks of the same
version, on the same documents of the same data, with the same prompts. Otherwise each difference is stated in words.

Not here: the scores themselves (`harness.verdicts.compare`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from harness.reports.report import Manifest, Protocol, Report, Score, TaskInfo

DOCUMENTS = "different documents"
PROMPTS = "different prompts"
CUT = "prompts cut"


class Key(NamedTuple):
    """What identifies a score across checkpoints. In a table, each key has one column or one row."""

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
        """A key for sorting scores by task, then by metric."""
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
        """Whether a limit on documents left out some documents of the split."""
        return self.protocol.limit is not None and any(
            task.documents < task.documents_in_split for task in self.tasks.values()
        )


_HARDWARE = {"platform", "cpu", "gpu"}
"""Entries of a report's environment that name hardware instead of a version."""
Signature = frozenset[tuple[str, str, str, str, str, int, int]]


def conditions(report: Report, name: str) -> Conditions:
    """Return the conditions under which `report` got its scores of `name`, a task or an average."""
    return Conditions({task: report.manifest.tasks[task] for task in members(report, name)}, report.manifest.protocol)


def members(report: Report, name: str) -> list[str]:
    """Return the tasks of `report` that `name` covers: the tasks of an average, or a task itself."""
    score = next((score for score in report.manifest.scores if score.task == name), None)
    return list(score.members) if score else []


def differences(candidate: Conditions, reference: Conditions) -> tuple[Difference, ...]:
    """Return the ways in which `candidate` differs from `reference`; empty if the scores may be compared."""
    if signature(candidate) == signature(reference):
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
        for difference in compare(candidate, reference)
    )


def version_note(baseline: Manifest, candidate: Manifest) -> str:
    """Return a sentence on versions that differ: of this package, or of a library in both reports. "" if none do.

    Reports of different versions may be compared, because scores rarely (though possibly) depend on versions.
    """
    first, second = ({**item.environment, "harness": item.harness} for item in (baseline, candidate))
    names = [name for name in sorted(first.keys() & second.keys() - _HARDWARE) if first[name] != second[name]]
    changes = ", ".join(f"{name} {second[name]} instead of {first[name]}" for name in names)
    return f"the candidate was evaluated with other versions than the baseline: {changes}" if changes else ""


def signature(conditions: Conditions) -> Signature:
    """Return the part of `conditions` that decides comparability: scores may be compared if these parts are equal."""
    return frozenset(
        (name, task.prompt_hash, task.version, task.dataset, task.split, task.documents, task.truncated)
        for name, task in conditions.tasks.items()
    )


def _different_tasks(candidate: Conditions, reference: Conditions) -> Iterator[Difference]:
    missing = [name for name in reference.tasks if name not in candidate.tasks]
    extra = [name for name in candidate.tasks if name not in reference.tasks]
    if missing:
        yield Difference(
            "different tasks", f"lacks {_count(missing)} of {len(reference.tasks)}: {_list_names(missing)}"
        )
    if extra:
        yield Difference("different tasks", f"has {_count(extra)} more: {_list_names(extra)}")


def _different_data(candidate: Conditions, reference: Conditions) -> Iterator[Difference]:
    yield from _by_field(candidate, reference, "different data", lambda task: f"{task.dataset}, split {task.split}")


def _different_version(candidate: Conditions, reference: Conditions) -> Iterator[Difference]:
    yield from _by_field(candidate, reference, "different version", lambda task: f"task version {task.version}")


def _different_documents(candidate: Conditions, reference: Conditions) -> Iterator[Difference]:
    shared = _shared_tasks(candidate, reference)
    changed = [name for name in shared if _documents(candidate.tasks[name]) != _documents(reference.tasks[name])]
    if changed:
        candidate_count = sum(candidate.tasks[name].documents for name in shared)
        reference_count = sum(reference.tasks[name].documents for name in shared)
        cause = f", because of limit {candidate.protocol.limit}" if candidate.cut_short else ""
        failed = [sum(len(side.tasks[name].failed_documents) for name in shared) for side in (candidate, reference)]
        if any(failed):
            cause = f", because {failed[0]:,} failed instead of {failed[1]:,}"
        if candidate.protocol.shuffled is not None or reference.protocol.shuffled is not None:
            cause = ", because a gate stopped when its verdict was clear"
        yield Difference(
            DOCUMENTS,
            f"{candidate_count:,} documents instead of {reference_count:,}{_task_share(changed, shared)}{cause}",
        )


def _different_prompts(candidate: Conditions, reference: Conditions) -> Iterator[Difference]:
    shared = _shared_tasks(candidate, reference)
    changed = [name for name in shared if candidate.tasks[name].prompt_hash != reference.tasks[name].prompt_hash]
    causes = (
        [*_fewshot_causes(candidate, reference), *_protocol_causes(candidate.protocol, reference.protocol)]
        if changed
        else []
    )
    # The hash covers all prompts of a task, so with different documents it differs even if each prompt is the same.
    unexplained = [name for name in changed if _has_same_documents(candidate.tasks[name], reference.tasks[name])]
    if causes:
        yield Difference(PROMPTS, "; ".join(causes))
    elif unexplained:
        yield Difference(PROMPTS, f"the text of the prompts differs{_task_share(unexplained, shared)}")


def _different_cuts(candidate: Conditions, reference: Conditions) -> Iterator[Difference]:
    shared = _shared_tasks(candidate, reference)
    candidate_count, reference_count = (
        sum(side.tasks[name].truncated for name in shared) for side in (candidate, reference)
    )
    if candidate_count != reference_count and (candidate.protocol.recorded or reference.protocol.recorded):
        yield Difference(
            CUT,
            f"{max(candidate_count, reference_count):,} prompts cut to fit the context; unknown for the recorded "
            "predictions",
        )
    elif candidate_count != reference_count:
        yield Difference(CUT, f"{candidate_count:,} prompts cut to fit the context instead of {reference_count:,}")


def _fewshot_causes(candidate: Conditions, reference: Conditions) -> Iterator[str]:
    if candidate.protocol.recorded or reference.protocol.recorded:
        return
    for difference in _by_field(candidate, reference, "", lambda task: f"{task.num_fewshot}-shot"):
        yield difference.reason


def _protocol_causes(candidate: Protocol, reference: Protocol) -> Iterator[str]:
    if candidate.recorded != reference.recorded:
        recorded = candidate.recorded or reference.recorded
        yield f"{'' if candidate.recorded else 'compared with '}predictions recorded elsewhere ({recorded})"
        return
    if candidate.chat_template != reference.chat_template:
        yield (
            "no chat template"
            if candidate.chat_template is None
            else "a chat template"
            if reference.chat_template is None
            else "a different chat template"
        )
    elif candidate.chat_template_arguments != reference.chat_template_arguments:
        yield "different arguments of the chat template"
    if candidate.system_instruction != reference.system_instruction:
        yield "no system instruction" if candidate.system_instruction is None else "a different system instruction"
    if candidate.fewshot_as_multiturn != reference.fewshot_as_multiturn:
        yield (
            "few-shot examples as chat turns"
            if candidate.fewshot_as_multiturn
            else "few-shot examples in a single turn"
        )
    if candidate.articles != reference.articles:
        yield "the articles of the data set" if candidate.articles is None else "retrieved articles"
    if candidate.max_gen_toks != reference.max_gen_toks:
        yield f"{_token_limit(candidate)} instead of {_token_limit(reference)}"
    if candidate.stride != reference.stride:
        yield "different windows of the texts"
    if candidate.seed != reference.seed:
        yield f"seed {candidate.seed} instead of {reference.seed}"


def _token_limit(protocol: Protocol) -> str:
    if protocol.max_gen_toks is None:
        return "the task's own limit of new tokens"
    return f"up to {protocol.max_gen_toks:,} new tokens"


def _by_field(
    candidate: Conditions, reference: Conditions, label: str, read: Callable[[TaskInfo], str]
) -> Iterator[Difference]:
    shared = _shared_tasks(candidate, reference)
    changed = [name for name in shared if read(candidate.tasks[name]) != read(reference.tasks[name])]
    if changed:
        candidate_value, reference_value = read(candidate.tasks[changed[0]]), read(reference.tasks[changed[0]])
        yield Difference(label, f"{candidate_value} instead of {reference_value}{_task_share(changed, shared)}")


def _has_same_documents(candidate: TaskInfo, reference: TaskInfo) -> bool:
    sides = [(_documents(side), side.dataset, side.split) for side in (candidate, reference)]
    return sides[0] == sides[1]


def _documents(task: TaskInfo) -> tuple[int, list[int]]:
    """Return how many documents of a task were evaluated, and which ones failed."""
    return task.documents, task.failed_documents


def _shared_tasks(candidate: Conditions, reference: Conditions) -> list[str]:
    return [name for name in candidate.tasks if name in reference.tasks]


def _task_share(changed: Sequence[str], shared: Sequence[str]) -> str:
    return f" in {len(changed)} of {len(shared)} tasks" if len(shared) > 1 else ""


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} task{'s' if len(names) > 1 else ''}"


def _list_names(names: Sequence[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
