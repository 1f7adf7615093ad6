"""What a reader of a gate's outcome should know besides the verdict.

Versions that differ, checkpoints that do not, and what was not judged: documents, tasks, prompts that were cut.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.reports import numbers_in_words
from harness.verdicts import comparable
from harness.verdicts.comparable import Conditions
from harness.verdicts.compare import Comparator, Comparison


def of(comparator: Comparator, judged: Sequence[Comparison]) -> list[str]:
    """Return the notes of a gate that judged the scores of the comparisons `judged`, one sentence each."""
    baseline, candidate = comparator.baseline.manifest, comparator.candidate.manifest
    notes = [note] if (note := comparable.version_note(baseline, candidate)) else []
    if baseline.checkpoint.fingerprint == candidate.checkpoint.fingerprint:
        notes.append("the candidate is identical to the baseline (same fingerprint)")
    left_out = {item.score.task: item.left_out for item in judged if item.left_out}
    if left_out:
        count = numbers_in_words.counted(sum(left_out.values()), "document")
        notes.append(f"{', '.join(left_out)}: {count} left out because only one checkpoint answered")
    names = {item.score.task for item in judged}
    not_evaluated = [score.task for score in baseline.scores if score.headline and score.task not in names]
    if not_evaluated:
        tasks = ", ".join(dict.fromkeys(not_evaluated))
        notes.append(f"not judged because the candidate was not evaluated on them: {tasks}")
    known = {score.task for score in baseline.scores}
    extra = [score.task for score in candidate.scores if score.headline and score.task not in known]
    if extra:
        notes.append(f"not judged because the baseline lacks them: {', '.join(dict.fromkeys(extra))}")
    return notes + _cut_prompt_notes(comparator, judged)


def _cut_prompt_notes(comparator: Comparator, judged: Sequence[Comparison]) -> list[str]:
    """Return a note if, on the same documents, one report has more prompts that were cut to fit the context."""
    baseline, candidate = comparator.baseline.manifest, comparator.candidate.manifest
    tasks = {task for item in judged for task in item.score.members} & candidate.tasks.keys()
    complete = [
        task
        for task in baseline.tasks
        if task in tasks and baseline.tasks[task].documents == candidate.tasks[task].documents
    ]
    conditions = [
        Conditions({task: manifest.tasks[task] for task in complete}, manifest.protocol)
        for manifest in (candidate, baseline)
    ]
    return [item.reason for item in comparable.differences(*conditions) if item.label == comparable.CUT]
