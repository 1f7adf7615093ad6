"""Evaluation of a checkpoint in blocks of documents in random order; the caller may stop any task at any time.

A *headline* is a task or average that was requested by name. Headlines that share tasks share one random order over all
their documents, in which clusters are kept whole. So the documents evaluated so far are a random sample of each
headline, without replacement. The requests of a task are built once, with few-shot examples drawn as in a run, and each
block selects some of these requests. So prompts equal those of a run over all documents in order.

The evaluation leaves a report. The means in the report are biased towards whatever made the caller stop, and the report
says so.

Not here: when to stop (`harness.gating.sequential`).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple

from harness.backends.journal import Journal
from harness.backends.local import HarnessLM
from harness.backends.work import Cost, Work
from harness.checkpoints.reference import CheckpointReference
from harness.common import progress
from harness.gating.partial_task import PartialTask
from harness.reports.report import Report
from harness.reports.writer import ReportWriter, new_folder
from harness.runs import samples
from harness.runs.manifest import manifest, paths
from harness.runs.options import Options
from harness.runs.run import answerer, conclude, since
from harness.runs.sweep import JOURNAL, load_one
from harness.runs.task_results import TaskResults
from harness.tasks.task_set import TaskSet

COUNTED = 2000
"""Tokens are counted on at most this many documents, of all tasks together. If there are more documents, the counts are
extrapolated."""


class Document(NamedTuple):
    """One document of one task."""

    task: str
    doc_id: int
    """Index of the document in the task's split, from 0."""


class Block(NamedTuple):
    """The documents that were evaluated in one step."""

    rows: dict[str, list[samples.Row]]
    """Sample rows by task, in document order. There are none if no document was left to evaluate."""
    work: Work
    """The work that the block took, such as tokens fed to the model."""

    @property
    def documents(self) -> int:
        """Number of documents evaluated; a document with several answer filters counts once."""
        return sum(len({row["doc_id"] for row in rows}) for rows in self.rows.values())


class TokenCounts(NamedTuple):
    """Numbers of tokens, for a comparison with a run over all documents. The first three count prompt tokens."""

    fed: int
    """Prompt tokens that went through the model in this process."""
    evaluated: int
    """Prompt tokens of all evaluated documents, whether the model or the journal (stored answers) answered."""
    all_documents: int
    """Prompt tokens of all documents. Beyond `COUNTED` documents, this and `evaluated` are extrapolated."""
    generated: int
    """Tokens generated in this process."""
    generated_at_most: int
    """Tokens that all documents would generate if no answer stopped early."""


@contextmanager
def open_blocks(
    reference: CheckpointReference, options: Options, *, seed: int | None = None
) -> Iterator[BlockEvaluation]:
    """Check and load a checkpoint and the tasks of `options` as a run does, and yield their evaluation.

    After an interruption, the same `seed` draws the same order, and earlier answers come from the run's journal. Raises
    HarnessError for anything that the user can correct.
    """
    checkpoint, tasks = load_one(reference, options)
    journal = Journal(options.output / JOURNAL)
    try:
        with progress.status("putting prompts together"):
            evaluation = BlockEvaluation(answerer(checkpoint, tasks, journal, options), tasks, options, seed=seed)
        yield evaluation
    finally:
        journal.close()


class BlockEvaluation:
    """One checkpoint on `tasks`, evaluated as far as the caller asks for."""

    def __init__(self, lm: HarnessLM, tasks: TaskSet, options: Options, *, seed: int | None = None) -> None:
        """Draw the order of documents by `seed`, by default the seed of `options`. Nothing is evaluated yet."""
        self.lm, self.tasks, self.options = lm, tasks, options
        self.seed = options.seed if seed is None else seed
        self._created, self._started = datetime.now(UTC), time.perf_counter()
        sources = tasks.sources
        self._parts = {
            name: PartialTask(name, task, sources.get(name), lm, options) for name, task in tasks.tasks.items()
        }
        self._pools = [_Pool(clusters, f"{self.seed} {first}") for first, clusters in self._pooled_clusters().items()]

    @cached_property
    def headlines(self) -> dict[str, tuple[str, ...]]:
        """The tasks of each headline (a task or average that was requested by name)."""
        averages = {item.average.name: tuple(item.average.tasks) for item in self.tasks.averages}
        return {name: averages.get(name, (name,)) for name in self.tasks.headlines}

    def _pooled_clusters(self) -> dict[str, list[list[Document]]]:
        """Return the clusters of each pool, by the pool's first task. Headlines that share tasks share a pool."""
        first_tasks = _connected(self.headlines.values())
        pools: dict[str, dict[tuple[str | None, Document | None], list[Document]]] = {}
        for name, part in self._parts.items():
            pool = pools.setdefault(first_tasks.get(name, name), {})
            for doc_id in part.requests:
                document, key = Document(name, doc_id), part.cluster(doc_id)
                pool.setdefault((key, document if key is None else None), []).append(document)
        return {first: list(pool.values()) for first, pool in pools.items()}

    def clusters(self, task: str) -> list[str | None]:
        """Return the cluster of each document of `task`, in document order.

        The cluster of a document that shares its text with no other document is None.
        """
        return [self._parts[task].cluster(doc_id) for doc_id in self._parts[task].requests]

    def remaining(self, headline: str) -> int:
        """Return how many documents of `headline` can still be evaluated."""
        return sum(pool.remaining[task] for pool in self._pools for task in self.headlines[headline])

    def evaluate(self, headlines: Collection[str], size: int) -> Block:
        """Evaluate the next documents of `headlines`. Headlines that share tasks get about `size` documents together.

        Documents of other headlines that come up in the random order are skipped for good.
        """
        tasks = {task for headline in headlines for task in self.headlines[headline]}
        doc_ids: dict[str, list[int]] = {}
        for pool in self._pools:
            for document in pool.draw(tasks, size):
                doc_ids.setdefault(document.task, []).append(document.doc_id)
        before, rows, results = replace(self.lm.work), {}, TaskResults(self.tasks)
        for name in (name for name in self.tasks.tasks if name in doc_ids):  # in the order of a run
            task_rows = results.rows(name, self._parts[name].evaluate(sorted(doc_ids[name])))
            rows[name] = sorted(task_rows, key=lambda row: row["doc_id"])
        return Block(rows, since(before, self.lm.work))

    def token_counts(self) -> TokenCounts:
        """Return how many tokens were read and saved, counted on about `COUNTED` documents at most. No model runs."""
        parts = list(self._parts.values())
        all_costs = _costs(parts, [list(part.requests) for part in parts])
        evaluated_costs = _costs(parts, [part.doc_ids for part in parts])
        return TokenCounts(
            fed=sum(part.work.tokens_fed for part in parts),
            evaluated=sum(cost.tokens for cost in evaluated_costs),
            all_documents=sum(cost.tokens for cost in all_costs),
            generated=sum(part.work.tokens_generated for part in parts),
            generated_at_most=sum(cost.generated_at_most for cost in all_costs),
        )

    def write_report(self) -> Report:
        """Write and return the report of all evaluated documents. Tasks without evaluated documents are left out."""
        checkpoint, results = self.lm.checkpoint, TaskResults(self.tasks)
        evaluated = {name: part for name, part in self._parts.items() if part.samples}
        stopped = [name for name, part in evaluated.items() if len(part.doc_ids) < len(part.requests)]
        documents = sum(len(part.doc_ids) for part in evaluated.values())
        all_documents = sum(len(part.requests) for part in self._parts.values())
        if documents < all_documents:
            results.notes.append(
                f"evaluated in random order (seed {self.seed}) until verdicts were clear: {documents:,} of "
                f"{all_documents:,} documents; the scores of {len(stopped):,} tasks that stopped early are biased "
                "towards their verdicts"
            )
        folder = new_folder(self.options.output, checkpoint.name, self._created)
        with ReportWriter(folder, keep_paths=self.options.keep_paths) as writer:
            for name, part in evaluated.items():
                with part.task.holding(part.requests[part.doc_ids[0]]):  # `conclude` reads answer letters from them
                    conclude(results, name, part.outcome(), part.work, part.seconds, writer, self.lm, self.options)
            seconds = time.perf_counter() - self._started
            content = manifest(self.lm, results, self.options, self._created, seconds, shuffled=self.seed)
            return writer.finish(content, results.results(content.scores), paths(checkpoint.located, self.options))


class _Pool:
    """Clusters of documents in random order, taken from the front."""

    def __init__(self, clusters: Sequence[list[Document]], seed: str) -> None:
        self.order = list(clusters)
        random.Random(seed).shuffle(self.order)
        self.remaining = Counter(document.task for cluster in clusters for document in cluster)
        """Number of documents of each task that have been neither drawn nor skipped."""
        self._next = 0

    def draw(self, tasks: Collection[str], size: int) -> list[Document]:
        """Take clusters until they have `size` documents of `tasks`, or until none are left. Return these documents."""
        documents: list[Document] = []
        while len(documents) < size and any(self.remaining[task] for task in tasks):
            cluster = self.order[self._next]
            self._next += 1
            self.remaining.subtract(document.task for document in cluster)
            documents += [document for document in cluster if document.task in tasks]
        return documents


def _costs(parts: Sequence[PartialTask], doc_ids: Sequence[Sequence[int]]) -> list[Cost]:
    share = min(1.0, COUNTED / max(1, sum(map(len, doc_ids))))
    return [part.cost(some, share) for part, some in zip(parts, doc_ids, strict=True)]


def _connected(groups: Iterable[Collection[str]]) -> dict[str, str]:
    """Connect names that are in a common group; return, for each name, the first of all names connected with it."""
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while parents.setdefault(name, name) != name:
            name = parents[name]
        return name

    for names in groups:
        first, *others = sorted(names)
        for other in others:
            smaller, larger = sorted((root(first), root(other)))
            parents[larger] = smaller
    return {name: root(name) for name in [*parents]}
