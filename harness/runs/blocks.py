"""A checkpoint asked block by block, in random order, by a caller who may stop any task as soon as he knows enough.

What is asked for by name is a unit: a task, or an average over several. Units that share tasks, or tasks that share
clusters, are drawn from together: the order runs over all their documents, clusters whole, so that whatever has been
asked of a unit is a random sample of it, without replacement. Prompts are those of a run that asks everything in order:
the requests of a task are built once, examples drawn as always, and each block is a choice of them.

What was asked leaves a report behind, whose means lean towards whatever made the caller stop: it says so.

Not here: when to stop (`harness.verdicts`), or why.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

from harness import clusters, libraries, progress
from harness.checkpoints import loading
from harness.checkpoints.reference import CheckpointReference
from harness.engine.journal import Journal
from harness.engine.lm import Cost, HarnessLM, Work
from harness.errors import HarnessError
from harness.runs import checks, environment, samples
from harness.runs.options import Options, prompt_settings
from harness.runs.outcome import Outcome, evaluate
from harness.runs.report import Report
from harness.runs.report_writer import ReportWriter, new_folder
from harness.runs.run import JOURNAL, answerer, begin, conclude, load_tasks, manifest, prepare, since
from harness.task_data import DataSource
from harness.tasks import Catalogue, TaskSet


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


class Tokens(NamedTuple):
    """What was read, and what asking everything would have read; of prompts, but for the last two."""

    fed: int
    """That went through the model in this process."""
    asked: int
    """Of all documents asked, each token once, whether the model or the journal answered."""
    whole: int
    """Of all documents there are."""
    generated: int
    generated_at_most: int
    """Of all documents, if no answer stopped early."""


@contextmanager
def opened(reference: CheckpointReference, options: Options, *, seed: int | None = None) -> Iterator[Blocks]:
    """Yield one checkpoint on the tasks of `options`, checked and loaded as a run would, with the run's journal.

    Interrupted, the same order is drawn again by the same seed, and what was answered comes from the journal. Raises
    HarnessError on whatever the user can mend.
    """
    catalogue = Catalogue(options.include, options.comparisons)
    with progress.status("looking at the checkpoint and tasks"), libraries.importing():
        located, *others = prepare([reference], options, catalogue)
        if others:
            raise HarnessError(f"{reference} is {1 + len(others)} checkpoints, and one is asked in blocks: name it")
        checks.before_loading(located, options)
    libraries.keep()
    with progress.status("reading the tasks' data"):
        tasks = load_tasks(catalogue, options)
    journal = Journal(options.output / JOURNAL)
    try:
        environment.reset_peak_memory(located.device)
        with progress.status(f"loading {located.name}"):
            checkpoint = loading.Loader().load(located, allow_inactive_adapter=options.allow_inactive_adapter)
        checks.require_room(checkpoint, tasks)
        yield Blocks(answerer(checkpoint, tasks, journal, options), tasks, options, seed=seed)
    finally:
        journal.close()


class Blocks:
    """One checkpoint on `tasks`, asked as much as its caller wants."""

    def __init__(self, lm: HarnessLM, tasks: TaskSet, options: Options, *, seed: int | None = None) -> None:
        """Ask in the order that `seed` draws, by default that of `options`; nothing is asked yet."""
        self.lm, self.tasks, self.options = lm, tasks, options
        self.seed = options.seed if seed is None else seed
        self._created, self._started = datetime.now(UTC), time.perf_counter()
        self._found = Outcome(tasks)
        sources = tasks.sources
        self._asked = {name: _Asked(name, task, sources.get(name), lm, options) for name, task in tasks.tasks.items()}
        self._left = [_shuffled(pool, f"{self.seed} {place}") for place, pool in enumerate(self._pools)]

    @cached_property
    def units(self) -> dict[str, tuple[str, ...]]:
        """What was asked for by name, and the tasks that each is over."""
        named = {one.average.name: tuple(one.average.tasks) for one in self.tasks.averages}
        return {name: named.get(name, (name,)) for name in self.tasks.headlines}

    @cached_property
    def _pools(self) -> list[list[list[Document]]]:
        """Clusters of documents, in pools whose units have no task and no cluster in common."""
        whole = [[Document(name, place) for place in one.requests] for name, one in self._asked.items()]
        by_key: dict[str, list[Document]] = {}
        alone: list[list[Document]] = []
        for document in (document for documents in whole for document in documents):
            key = self._asked[document.task].cluster(document.place)
            if key is None:
                alone.append([document])
            else:
                by_key.setdefault(key, []).append(document)
        found = [*by_key.values(), *alone]
        homes = _together([*self.units.values(), *({document.task for document in one} for one in by_key.values())])
        pools: dict[str, list[list[Document]]] = {}
        for cluster in sorted(found):
            home = homes.get(cluster[0].task, cluster[0].task)
            pools.setdefault(home, []).append(cluster)
        return list(pools.values())

    def clusters(self, task: str) -> list[str | None]:
        """Return what each document of `task` shares with others, in their order."""
        return [self._asked[task].cluster(place) for place in self._asked[task].requests]

    def left(self, unit: str) -> int:
        """Return how many documents of `unit` have not been asked."""
        return sum(document.task in self.units[unit] for pool in self._left for one in pool for document in one)

    def ask(self, units: Collection[str], size: int) -> Block:
        """Ask the next documents of `units`, about `size` of each lot that is drawn from together.

        Documents of tasks that are in none of `units` are passed over for good.
        """
        wanted = {task for unit in units for task in self.units[unit]}
        chosen: dict[str, list[int]] = {}
        for pool in self._left:
            for document in _drawn(pool, wanted, size):
                chosen.setdefault(document.task, []).append(document.place)
        before, rows = replace(self.lm.work), {}
        for name in (name for name in self.tasks.tasks if name in chosen):  # in the order of a run
            made = self._found.rows(name, self._asked[name].ask(sorted(chosen[name])))
            rows[name] = sorted(made, key=lambda row: row["doc_id"])
        return Block(rows, since(before, self.lm.work))

    def tokens(self) -> Tokens:
        """Return what was saved; every prompt is counted, and none is asked."""
        every = list(self._asked.values())
        whole = [one.cost(one.requests) for one in every]
        asked = [one.cost(one.places) for one in every]
        return Tokens(
            fed=sum(one.work.tokens_fed for one in every),
            asked=sum(cost.tokens for cost in asked),
            whole=sum(cost.tokens for cost in whole),
            generated=sum(one.work.tokens_generated for one in every),
            generated_at_most=sum(cost.generated_at_most for cost in whole),
        )

    def report(self) -> Report:
        """Write and return the report of what has been asked, which lacks tasks of which nothing was."""
        checkpoint, found = self.lm.checkpoint, self._found
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
                one.task._instances = one.requests[one.places[0]]  # of which letters are read
                conclude(found, name, one.outcome(), one.work, one.seconds, writer, self.lm, self.options)
                one.task._instances = None
            seconds = time.perf_counter() - self._started
            made = manifest(self.lm, found, self.options, self._created, seconds, shuffled=self.seed)
            return writer.finish(made, found.results(made.scores))


@dataclass
class _Asked:
    """A task whose requests are built once, and asked in parts."""

    name: str
    task: Any
    source: DataSource | None
    lm: HarnessLM
    options: Options
    logged: list[dict[str, Any]] = field(default_factory=list)
    """Its samples so far, as lm-eval logs them."""
    work: Work = field(default_factory=Work)
    seconds: float = 0.0
    _last: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def documents(self) -> Sequence[Mapping[str, Any]]:
        """The documents of its split; lm-eval makes them anew whenever it is asked."""
        found: Sequence[Mapping[str, Any]] = self.task.eval_docs
        return found

    @cached_property
    def requests(self) -> dict[int, list[Any]]:
        """The requests that a run would make of each document."""
        begin(self.task, self.lm, self.options)
        chat = self.lm.apply_chat_template if self.options.apply_chat_template else None
        how = prompt_settings(self.options)
        self.task.build_all_requests(limit=self.options.limit, chat_template=chat, **how)
        found: dict[int, list[Any]] = {}
        for request in self.task.instances:
            found.setdefault(request.doc_id, []).append(request)
        self.task._instances = None
        self.lm.expect([requests[0] for requests in found.values()])
        return found

    @property
    def places(self) -> list[int]:
        """The documents asked, in order."""
        return sorted({sample["doc_id"] for sample in self.logged})

    def cluster(self, place: int) -> str | None:
        """Return what the document at `place` shares with others."""
        return self._key(self.documents[place])

    @cached_property
    def _key(self) -> clusters.Key:
        return clusters.key(self.task, self.source)

    def ask(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """Ask the documents at `places`; return their samples as lm-eval logs them."""
        before, clock = replace(self.lm.work), time.perf_counter()
        with self._having(places):
            outcome = evaluate(self.lm, self.name, self.task, None, **prompt_settings(self.options))
        made: list[dict[str, Any]] = outcome.pop("samples")[self.name]
        self.logged += made
        self.work = _sum(self.work, since(before, self.lm.work))
        self.seconds += time.perf_counter() - clock
        results = {**self._last.get("results", {}).get(self.name, {}), **outcome["results"][self.name]}
        self._last = {**outcome, "results": {self.name: results}}
        return made

    def cost(self, places: Iterable[int]) -> Cost:
        """Return what asking the documents at `places` at once takes."""
        return self.lm.cost([request for place in places for request in self.requests[place]])

    def outcome(self) -> dict[str, Any]:
        """Return what lm-eval would have returned, had it been asked all that was asked at once."""
        logged = sorted(self.logged, key=lambda sample: sample["doc_id"])
        made = {**self._last["results"][self.name]}
        aggregations, most = self.task.aggregation(), 0
        for key in [key for key in made if "," in key and "_stderr," not in key]:
            metric, kind = key.split(",", 1)
            values = [one[metric] for one in logged if one["filter"] == kind and metric in one["metrics"]]
            made[key] = aggregations.get(metric, _mean)(values)
            most = max(most, len(values))
        made["sample_len"] = most
        counted = {"original": len(self.documents), "effective": most}
        return {
            **self._last,
            "results": {self.name: made},
            "n-samples": {self.name: counted},
            "samples": {self.name: logged},
        }

    @contextmanager
    def _having(self, places: Sequence[int]) -> Iterator[None]:
        """Let `task` have the documents at `places` only, and build no requests but theirs.

        lm-eval's own `samples=` would number them anew, mislabels them where they are in no order, and takes an empty
        list for all of them. Numbers of a block are not made either: what is no mean may have none for so few.
        """
        assert places, "lm-eval takes no documents for all of them"
        task, requests = self.task, [request for place in places for request in self.requests[place]]
        chosen = [(place, self.documents[place]) for place in places]
        no_numbers = dict.fromkeys(task.aggregation(), _no_number)
        own: dict[str, Callable[..., Any]] = {
            "build_all_requests": lambda **_: None,
            "doc_iterator": lambda **_: iter(chosen),
            "test_docs": lambda: self.documents,
            "validation_docs": lambda: self.documents,
            "aggregation": lambda: no_numbers,
        }
        for request in requests:
            request.resps, request.filtered_resps = [], {}
        task.__dict__.update(own)
        task._instances = requests
        try:
            yield
        finally:
            for name in own:
                del task.__dict__[name]
            task._instances = None


def _no_number(values: Sequence[Any]) -> float:
    return 0.0


def _mean(values: Sequence[float]) -> float:
    """Return what lm-eval makes of a metric that names no aggregation."""
    return sum(values) / len(values)


def _sum(one: Work, other: Work) -> Work:
    return Work(**{key: getattr(one, key) + getattr(other, key) for key in one.__dict__})


def _together(sets: Sequence[Collection[str]]) -> dict[str, str]:
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


def _shuffled(pool: list[list[Document]], seed: str) -> list[list[Document]]:
    found = list(pool)
    random.Random(seed).shuffle(found)
    found.reverse()  # taken from the end
    return found


def _drawn(pool: list[list[Document]], wanted: Collection[str], size: int) -> list[Document]:
    """Take from `pool` the next clusters until they have `size` documents of the tasks `wanted`, and return those."""
    if not any(document.task in wanted for one in pool for document in one):
        return []
    found: list[Document] = []
    while pool and len(found) < size:
        found += [document for document in pool.pop() if document.task in wanted]
    return found
