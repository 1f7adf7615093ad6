"""The ledger of answers: how many generated answers of a task were empty, cut, unfinished or not understood.

A score says nothing about a checkpoint whose answers were cut before they came to the point. Wherever a score is shown,
`DOUBT` marks it if more than half of its documents have such answers. `sentences` says how many answers of each kind
there are.

Not here: how answers are counted (`harness.backends.work`, `harness.runs.task_results`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from harness.reports.report import Manifest, Score, TaskInfo

DOUBT = "!"
"""Marks a score if most of its answers were empty, cut, unfinished or not understood."""
LEGEND = f"{DOUBT} most answers were empty, cut or not understood"


class Count(NamedTuple):
    """The number of answers, or documents, of one kind: empty, cut, unfinished or not understood."""

    number: int
    total: int
    """The number of answers, or documents, of which it is known whether they are of this kind."""
    text: str
    """What the answers of this kind did: `reached their limit of 256 tokens`."""
    is_short_of_tokens: bool = False
    """Whether a higher limit of tokens may reduce the number."""


@dataclass(frozen=True)
class Ledger:
    """How the answers of one task, or of all tasks of an average, ended, and how many were not understood."""

    answers: int
    """The number of generated answers; 0 if choices were scored by their likelihoods."""
    counts: tuple[Count, ...]
    """The numbers of answers that say little about the task (empty, cut, …), one for each kind that occurs."""
    is_doubtful: bool
    """Whether the answers to more than half of the documents are empty, cut, unfinished or not understood."""
    all_ended: bool
    """Whether it is known how every answer ended."""
    all_understood: bool
    """Whether every task has a metric that can tell whether it understood an answer."""
    is_unknown: bool = False
    """Whether a report is too old to say how the answers of some task ended."""

    def sentence(self, name: str) -> str:
        """Return a sentence with every count and share; empty if all answers ended and were understood.

        `name` is the name of the task or average.
        """
        if self.is_unknown:
            return f"{name}: this report is too old to say how answers ended: evaluate or score them again"
        advice = " (--max-gen-toks raises the limit)" if any(count.is_short_of_tokens for count in self.counts) else ""
        parts = ", ".join(map(self._written, self.counts))
        return f"{name}: of {self.answers:,} answers, {parts}{advice}" if parts else ""

    def _written(self, count: Count) -> str:
        of = "" if count.total == self.answers else f" of {count.total:,}"
        return f"{count.number:,}{of} ({count.number / count.total:.1%}) {count.text}"


def of_tasks(infos: Iterable[TaskInfo]) -> Ledger:
    """Return the ledger (how answers ended) of all answers of several tasks."""
    infos = list(infos)
    tasks = [info for info in infos if info.answers]
    limits = {info.answer_limit for info in tasks if info.answer_limit is not None}
    tokens = f"{limits.pop():,} tokens" if len(limits) == 1 else "tokens"
    ended = [info for info in tasks if info.cut_answers is not None]
    readable = [info for info in tasks if info.not_understood is not None]
    answers = sum(info.answers or 0 for info in tasks)
    counts = (
        Count(sum(info.empty_answers for info in tasks), answers, "are empty"),
        Count(
            sum(info.cut_answers or 0 for info in ended),
            sum(info.answers or 0 for info in ended),
            f"reached their limit of {tokens}",
            is_short_of_tokens=True,
        ),
        Count(
            sum(info.unfinished_thoughts for info in tasks),
            answers,
            "never finished thinking and count as empty",
            is_short_of_tokens=True,
        ),
        Count(
            sum(info.not_understood or 0 for info in readable),
            sum(info.documents for info in readable),
            "were not understood",
        ),
    )
    return Ledger(
        answers=answers,
        counts=tuple(count for count in counts if count.number),
        is_doubtful=2 * sum(info.doubtful_documents for info in tasks) > sum(info.documents for info in tasks),
        all_ended=len(ended) == len(tasks),
        all_understood=len(readable) == len(tasks),
        is_unknown=any(info.answers is None and info.tokens_generated for info in infos),
    )


def of_score(manifest: Manifest, score: Score) -> Ledger:
    """Return the ledger of the answers from which `score` was computed."""
    return of_tasks(manifest.tasks[name] for name in score.members if name in manifest.tasks)


def mark(ledger: Ledger) -> str:
    """Return the mark to put after a number: ` !` if the answers in `ledger` make the number doubtful, else nothing."""
    return f" {DOUBT}" if ledger.is_doubtful else ""


def has_doubts(manifest: Manifest) -> bool:
    """Return whether the answers behind a requested task or average make its number doubtful."""
    return any(of_score(manifest, score).is_doubtful for score in manifest.scores if score.headline)


def sentences(manifest: Manifest, *, all_tasks: bool = False) -> list[str]:
    """Return what a reader should know about answers: by default, a sentence per requested task or average.

    If all answers ended and were understood, a single sentence says so. If no answers were generated, there is no
    sentence.
    """
    names = {score.task: score for score in manifest.scores if all_tasks or score.headline}
    lines = [of_score(manifest, score).sentence(name) for name, score in names.items()]
    if any(lines):
        return [line for line in lines if line]
    total = of_tasks(manifest.tasks.values())
    if not total.answers:
        return []
    ended = "ended by themselves" if total.all_ended else "have text"
    return [f"all {total.answers:,} answers {ended}{' and were understood' if total.all_understood else ''}"]
