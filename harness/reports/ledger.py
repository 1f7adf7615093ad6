"""The ledger of answers: how many generated answers of a task were empty, cut, unfinished or not understood.

A score says nothing about a checkpoint whose answers were cut before they came to the point. Wherever a score is shown,
`DOUBT` marks it if more than half of its answers are of one of these kinds, and `sentences` says how many are.

Not here: how answers are counted (`harness.backends.work`, `harness.runs.task_results`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from harness.reports.report import Manifest, Score, TaskInfo

DOUBT = "!"
"""Marks a score most of whose answers were empty, cut, unfinished or not understood."""
LEGEND = f"{DOUBT} most answers were empty, cut or not understood"


class Count(NamedTuple):
    """The number of answers of one kind."""

    number: int
    text: str
    """What the answers did: `reached their limit of 256 tokens`."""
    is_short_of_tokens: bool = False
    """Whether a higher limit of tokens may help."""


@dataclass(frozen=True)
class Ledger:
    """The answers of one task, or of all tasks of an average."""

    answers: int
    """The number of generated answers; 0 if choices were scored by their likelihoods."""
    empty: int
    """The number of answers without a visible character."""
    cut: int | None
    """The number of answers that reached their limit of tokens; None if that is not known, as for recorded answers."""
    unfinished: int
    """The number of answers whose thought never ended."""
    not_understood: int | None
    """The number of answers in which nothing was understood; None if every text is an answer, as for ROUGE."""
    limits: tuple[int, ...]
    """The limits of an answer in tokens, ascending; several if the tasks differ."""

    @property
    def counts(self) -> list[Count]:
        """The kinds of answers that were found, each with its number, which is never 0."""
        limits = f" of {self.limits[0]:,} tokens" if len(self.limits) == 1 else " of tokens"
        counts = [
            Count(self.empty, "are empty"),
            Count(self.cut or 0, f"reached their limit{limits}", is_short_of_tokens=True),
            Count(self.unfinished, "never finished thinking and count as empty", is_short_of_tokens=True),
            Count(self.not_understood or 0, "were not understood"),
        ]
        return [count for count in counts if count.number]

    @property
    def is_doubtful(self) -> bool:
        """Whether more than half of the answers were empty or unfinished, were cut, or were not understood."""
        worst = max(self.empty + self.unfinished, self.cut or 0, self.not_understood or 0)
        return 2 * worst > self.answers

    def sentence(self, name: str) -> str:
        """Return a sentence with every count and its share; empty if all answers ended and were understood.

        `name` is that of the task or average.
        """
        parts = [f"{count.number:,} ({count.number / self.answers:.1%}) {count.text}" for count in self.counts]
        advice = " (--max-gen-toks raises the limit)" if any(count.is_short_of_tokens for count in self.counts) else ""
        return f"{name}: of {self.answers:,} answers, {', '.join(parts)}{advice}" if parts else ""


def of_tasks(infos: Iterable[TaskInfo]) -> Ledger:
    """Return the ledger of all answers of several tasks."""
    tasks = [info for info in infos if info.answers]
    return Ledger(
        answers=sum(info.answers for info in tasks),
        empty=sum(info.empty_answers for info in tasks),
        cut=_sum(info.cut_answers for info in tasks),
        unfinished=sum(info.unfinished_thoughts for info in tasks),
        not_understood=_sum(info.not_understood for info in tasks),
        limits=tuple(sorted({info.answer_limit for info in tasks if info.answer_limit is not None})),
    )


def of_score(manifest: Manifest, score: Score) -> Ledger:
    """Return the ledger of the answers behind `score`."""
    return of_tasks(manifest.tasks[name] for name in score.members if name in manifest.tasks)


def mark(manifest: Manifest, score: Score) -> str:
    """Return the mark behind the number of `score`: ` !` if its answers make it doubtful, else nothing."""
    return f" {DOUBT}" if of_score(manifest, score).is_doubtful else ""


def sentences(manifest: Manifest, *, all_tasks: bool = False) -> list[str]:
    """Return what a reader should know about answers: a sentence per requested task or average, or for `all_tasks`.

    If all answers ended and were understood, one sentence says so; likelihoods have no answers.
    """
    names = {score.task: score for score in manifest.scores if all_tasks or score.headline}
    found = [of_score(manifest, score).sentence(name) for name, score in names.items()]
    if any(found):
        return [sentence for sentence in found if sentence]
    total = of_tasks(manifest.tasks.values())
    if not total.answers:
        return []
    ended = "have text" if total.cut is None else "ended by themselves"
    understood = "" if total.not_understood is None else " and were understood"
    return [f"all {total.answers:,} answers {ended}{understood}"]


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
