"""A checkpoint asked block by block, in random order, by a caller who may stop any task as soon as he knows enough.

What is asked for by name is a unit: a task, or an average over several. Units that share tasks are drawn from together:
one order runs over all their documents, clusters whole, so that whatever has been asked of a unit is a random sample of
it, without replacement. Prompts are those of a run that asks everything in order: the requests of a task are built
once, examples drawn as always, and each block is a choice of them.

What was asked leaves a report behind, whose means lean towards whatever made the caller stop: it says so.

Not here: when to stop (`harness.verdicts`), or why.
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
from harness.runs.manifest import manifest
from harness.runs.options import Options
from harness.runs.run import answerer, conclude, since
from harness.runs.sweep import JOURNAL, load_one
from harness.runs.task_results import TaskResults
from harness.tasks.task_set import TaskSet

COUNTED = 2000
"""Documents of all tasks whose tokens are counted; of more, those of a part are, and the rest is reckoned."""


class Document(NamedTuple):
    """One document of one task."""

    task: str
    place: int
    """In the task's split, from 0."""


class Block(NamedTuple):
    """What was asked at once."""

    rows: dict[str, list[samples.Row]]
    """By task, in document order; empty where nothing was left to ask."""
    work: Work
    """What it took."""

    @property
    def documents(self) -> int:
        """Documents asked, whatever the number of filters."""
        return sum(len({row["doc_id"] for row in rows}) for rows in self.rows.values())


class TokenCounts(NamedTuple):
    """What was read, and what asking everything would have read; of prompts, but for the last two."""

    fed: int
    """That went through the model in this process."""
    asked: int
    """Of all documents asked, each token once, whether the model or the journal answered."""
    whole: int
    """Of all documents there are; this and the number before are reckoned where there are more than `COUNTED`."""
    generated: int
    generated_at_most: int
    """Of all documents, if no answer stopped early."""


@contextmanager
def open_blocks(
    reference: CheckpointReference, options: Options, *, seed: int | None = None
) -> Iterator[BlockEvaluation]:
    """Yield one checkpoint on the tasks of `options`, checked and loaded as a run would, with the run's journal.

    Interrupted, the same order is drawn again by the same seed, and what was answered comes from the journal. Raises
    HarnessError on whatever the user can mend.
    """
    checkpoint, tasks = load_one(reference, options)
    journal = Journal(options.output / JOURNAL)
    try:
        with progress.status("putting prompts together"):
            asked = BlockEvaluation(answerer(checkpoint, tasks, journal, options), tasks, options, seed=seed)
        yield asked
    finally:
        journal.close()


class BlockEvaluation:
    """One checkpoint on `tasks`, asked as much as its caller wants."""

    def __init__(self, lm: HarnessLM, tasks: TaskSet, options: Options, *, seed: int | None = None) -> None:
        """Ask in the order that `seed` draws, by default that of `options`; nothing is asked yet."""
        self.lm, self.tasks, self.options = lm, tasks, options
        self.seed = options.seed if seed is None else seed
        self._created, self._started = datetime.now(UTC), time.perf_counter()
        sources = tasks.sources
        self._asked = {
            name: PartialTask(name, task, sources.get(name), lm, options) for name, task in tasks.tasks.items()
        }
        self._pools = [_Pool(pool, f"{self.seed} {home}") for home, pool in self._drawn_together().items()]

    @cached_property
    def units(self) -> dict[str, tuple[str, ...]]:
        """What was asked for by name, and the tasks that each is over."""
        named = {one.average.name: tuple(one.average.tasks) for one in self.tasks.averages}
        return {name: named.get(name, (name,)) for name in self.tasks.headlines}

    def _drawn_together(self) -> dict[str, list[list[Document]]]:
        """Clusters of documents, in pools whose units have no task in common, by the first of their tasks."""
        homes = _together(self.units.values())
        pools: dict[str, dict[tuple[str | None, Document | None], list[Document]]] = {}
        for name, one in self._asked.items():
            pool = pools.setdefault(homes.get(name, name), {})
            for place in one.requests:
                document, key = Document(name, place), one.cluster(place)
                pool.setdefault((key, document if key is None else None), []).append(document)
        return {home: list(pool.values()) for home, pool in pools.items()}

    def clusters(self, task: str) -> list[str | None]:
        """Return what each document of `task` shares with others, in their order."""
        return [self._asked[task].cluster(place) for place in self._asked[task].requests]

    def left(self, unit: str) -> int:
        """Return how many documents of `unit` have not been asked."""
        return sum(pool.left[task] for pool in self._pools for task in self.units[unit])

    def ask(self, units: Collection[str], size: int) -> Block:
        """Ask the next documents of `units`, about `size` of each lot that is drawn from together.

        Documents of tasks that are in none of `units` are passed over for good.
        """
        wanted = {task for unit in units for task in self.units[unit]}
        chosen: dict[str, list[int]] = {}
        for pool in self._pools:
            for document in pool.draw(wanted, size):
                chosen.setdefault(document.task, []).append(document.place)
        before, rows, found = replace(self.lm.work), {}, TaskResults(self.tasks)
        for name in (name for name in self.tasks.tasks if name in chosen):  # in the order of a run
            made = found.rows(name, self._asked[name].ask(sorted(chosen[name])))
            rows[name] = sorted(made, key=lambda row: row["doc_id"])
        return Block(rows, since(before, self.lm.work))

    def tokens(self) -> TokenCounts:
        """Return what was saved. No more prompts than `COUNTED` are looked at, and none is asked."""
        every = list(self._asked.values())
        whole = _costs(every, [list(one.requests) for one in every])
        asked = _costs(every, [one.places for one in every])
        return TokenCounts(
            fed=sum(one.work.tokens_fed for one in every),
            asked=sum(cost.tokens for cost in asked),
            whole=sum(cost.tokens for cost in whole),
            generated=sum(one.work.tokens_generated for one in every),
            generated_at_most=sum(cost.generated_at_most for cost in whole),
        )

    def report(self) -> Report:
        """Write and return the report of what has been asked, which lacks tasks of which nothing was."""
        checkpoint, found = self.lm.checkpoint, TaskResults(self.tasks)
        asked = {name: one for name, one in self._asked.items() if one.logged}
        stopped = [name for name, one in asked.items() if len(one.places) < len(one.requests)]
        documents = sum(len(one.places) for one in asked.values())
        whole = sum(len(one.requests) for one in self._asked.values())
        if documents < whole:
            found.notes.append(
                f"asked in random order (seed {self.seed}) until verdicts were clear: {documents:,} of {whole:,} "
                f"documents; scores of {len(stopped):,} tasks that stopped early lean towards their verdicts"
            )
        with ReportWriter(new_folder(self.options.output, checkpoint.name, self._created)) as writer:
            for name, one in asked.items():
                with one.task.holding(one.requests[one.places[0]]):  # of which letters are read
                    conclude(found, name, one.outcome(), one.work, one.seconds, writer, self.lm, self.options)
            seconds = time.perf_counter() - self._started
            made = manifest(self.lm, found, self.options, self._created, seconds, shuffled=self.seed)
            return writer.finish(made, found.results(made.scores))


class _Pool:
    """Clusters in random order, taken from the front."""

    def __init__(self, clusters: Sequence[list[Document]], seed: str) -> None:
        self.order = list(clusters)
        random.Random(seed).shuffle(self.order)
        self.left = Counter(document.task for cluster in clusters for document in cluster)
        """Documents of each task that have been neither drawn nor passed over."""
        self._next = 0

    def draw(self, wanted: Collection[str], size: int) -> list[Document]:
        """Take the next clusters until they have `size` documents of the tasks `wanted`, and return those."""
        found: list[Document] = []
        while len(found) < size and any(self.left[task] for task in wanted):
            cluster = self.order[self._next]
            self._next += 1
            self.left.subtract(document.task for document in cluster)
            found += [document for document in cluster if document.task in wanted]
        return found


def _costs(tasks: Sequence[PartialTask], places: Sequence[Sequence[int]]) -> list[Cost]:
    share = min(1.0, COUNTED / max(1, sum(map(len, places))))
    return [one.cost(some, share) for one, some in zip(tasks, places, strict=True)]


def _together(sets: Iterable[Collection[str]]) -> dict[str, str]:
    """Return for each name one that stands for all that are connected with it by some of `sets`."""
    home: dict[str, str] = {}

    def find(name: str) -> str:
        while home.setdefault(name, name) != name:
            name = home[name]
        return name

    for names in sets:
        first, *others = sorted(names)
        for other in others:
            one, two = sorted((find(first), find(other)))
            home[two] = one
    return {name: find(name) for name in [*home]}
