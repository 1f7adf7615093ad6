"""What a run's tasks gave: lm-eval's outcome of each → rows, scores, averages, and what a reader should know.

Not here: who answered (`harness.runs.run` asks a checkpoint, `harness.recorded.score` a file), or writing any of it
down.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.backends.letters import Letters
from harness.backends.work import Work
from harness.data.sources import DataSource
from harness.metrics.stats.estimates import Estimate, averages
from harness.reports.report import Score, TaskInfo
from harness.runs import samples
from harness.tasks import bounds, clusters
from harness.tasks.bounds import Bounds
from harness.tasks.catalogue import Metric, TaskSet, metrics, split

Asked = Callable[[samples.Row], samples.Row]
"""The columns of a row that say what was asked."""


def evaluate(lm: Any, name: str, task: Any, limit: int | None, **prompts: Any) -> dict[str, Any]:
    """Ask `lm` the first `limit` documents of `task`, prompts rendered as `prompts` says; return lm-eval's outcome."""
    from lm_eval.evaluator import evaluate

    asked = {"tasks": {name: task}, "groups": {}}
    outcome: dict[str, Any] = evaluate(lm, asked, limit=limit, bootstrap_iters=0, **prompts)
    return outcome


def expected_requests(task: Any, limit: int | None) -> int:
    """Return how many requests `task` makes of its first `limit` documents."""
    documents = len(task.eval_docs) if limit is None else min(limit, len(task.eval_docs))
    each = len(task.doc_to_choice(task.eval_docs[0])) if task.OUTPUT_TYPE == "multiple_choice" else 1
    return documents * each * int(task.config.repeats or 1)


def identity(task: Any, source: DataSource | None) -> dict[str, Any]:
    """Return what says which questions `task` asks: its version, its data set and the split they come from."""
    dataset = str(source or task.config.dataset_path or "")
    return {"version": str(task.VERSION), "dataset": dataset, "split": split(task)}


class Outcome:
    """What the tasks asked so far gave."""

    def __init__(self, tasks: TaskSet) -> None:
        self.tasks = tasks
        self.infos: dict[str, TaskInfo] = {}
        self._estimates: dict[Metric, dict[str, Estimate]] = {}
        self._bounds: dict[Metric, dict[str, Bounds]] = {}
        self.notes: list[str] = []
        self.split_letters: dict[str, Letters] = {}
        """Tasks whose answer letters are no single tokens."""
        self.unscored: list[str] = []
        self._undefined: dict[str, list[str]] = {}
        self._results: dict[str, Any] = {}

    def rows(self, name: str, logged: Iterable[Mapping[str, Any]]) -> list[samples.Row]:
        """Return the report rows of a task's samples as lm-eval logged them."""
        cluster = clusters.key(self.tasks.tasks[name], self.tasks.sources.get(name))
        return [samples.row(sample, cluster(sample["doc"])) for sample in logged]

    def add(
        self, name: str, outcome: dict[str, Any], work: Work, seconds: float, *, asked: Asked | None = None
    ) -> list[samples.Row]:
        """Take over one task's outcome from lm-eval; return its report rows.

        `asked` puts in what a document was really asked, where that was not what lm-eval rendered.
        """
        task, source = self.tasks.tasks[name], self.tasks.sources.get(name)
        rows = self.rows(name, outcome.pop("samples")[name])
        if asked is not None:
            for row in rows:
                row |= asked(row)
        rows.sort(key=lambda row: row["doc_id"])
        for metric in metrics(task):
            value = outcome["results"][name].get(f"{metric.name},{metric.filter}")
            if value is None:
                continue
            estimate = samples.estimate(metric, rows, value=value)
            key, result = f"{metric.name},{metric.filter}", outcome["results"][name]
            if estimate is None:
                result[key] = "N/A"
                self._undefined.setdefault(metric.name, []).append(name)
                continue
            self._estimates.setdefault(metric, {})[name] = estimate
            stderr = "N/A" if estimate.stderr is None else estimate.stderr
            result[f"{metric.name}_stderr,{metric.filter}"] = stderr
        for metric, between in bounds.of_task(task, rows).items():
            self._bounds.setdefault(metric, {})[name] = between
        if not any(f"{metric.name},{metric.filter}" in outcome["results"][name] for metric in metrics(task)):
            self.unscored.append(name)
        if source is not None:  # the hub's name, not where this machine keeps its copy
            outcome["configs"][name]["dataset_path"] = source.dataset
            (outcome["configs"][name].get("dataset_kwargs") or {}).pop("cache_dir", None)
        outcome["configs"][name].get("metadata", {}).pop("config_source", None)
        for key, value in outcome.items():
            if isinstance(value, dict):
                self._results.setdefault(key, {}).update(value)
        documents = {row["doc_id"]: row["prompt_hash"] for row in rows}
        self.infos[name] = TaskInfo(
            **identity(task, source),
            num_fewshot=None if asked else int(task.config.num_fewshot or 0),
            documents=len(documents),
            documents_in_split=len(task.eval_docs),
            prompt_hash=hashlib.sha256("".join(documents.values()).encode()).hexdigest(),
            truncated=work.truncated,
            seconds=seconds,
            tokens_fed=work.tokens_fed,
            tokens_generated=work.tokens_generated,
            thoughts=work.thoughts,
            unfinished_thoughts=work.unfinished_thoughts,
        )
        if work.unfinished_thoughts:
            share = work.unfinished_thoughts / work.generations
            self.notes.append(
                f"{name}: {work.unfinished_thoughts:,} answers ({share:.1%}) never finished thinking and count as "
                "empty: raise --max-gen-toks"
            )
        return rows

    def add_windows(self, name: str, size: int, stride: int) -> None:
        """Take over in which windows a task's texts were read: in others, they are another question."""
        self.notes.append(f"{name}: windows of {size:,} tokens, moving by {stride:,}")
        info = self.infos[name]
        asked = hashlib.sha256(f"{info.prompt_hash} {size} {stride}".encode()).hexdigest()
        self.infos[name] = info.model_copy(update={"prompt_hash": asked})

    def all_notes(self) -> list[str]:
        """Return what a reader should know of the tasks."""
        found = list(self.notes)
        for metric, names in self._undefined.items():
            found.append(f"{names[0]}{_others(names)}: {metric} is NaN or infinite, and left out")
        if self.unscored:
            what = f"{self.unscored[0]}{_others(self.unscored)}"
            found.append(f"{what}: the data hold no answers, so predictions are kept and nothing is scored")
        if self.split_letters:
            name, letters = next(iter(self.split_letters.items()))
            what = f"{name}{_others(self.split_letters)}"
            found.append(f"{what}: letters are {letters}, so each is scored over all its tokens")
        return found

    def scores(self) -> list[Score]:
        """Return every number: what was asked for by name first, its named averages under it, then member tasks."""
        found = [*self._averages(), *self._single()]
        groups = {a.average.name: a.group for a in self.tasks.averages}
        order = {name: place for place, name in enumerate(self.tasks.headlines)}
        last = len(order)
        return sorted(found, key=lambda score: order.get(groups.get(score.task, score.task), last))

    def _single(self) -> Iterator[Score]:
        for name, task in self.tasks.tasks.items():
            reported = [metric for metric in metrics(task) if name in self._estimates.get(metric, {})]
            for metric in reported:
                between = self._bounds.get(metric, {}).get(name, Bounds())
                numbers = self._estimates[metric][name]._asdict() | between._asdict()
                primary, headline = metric == reported[0], name in self.tasks.headlines
                yield self._score(name, metric, numbers, None, primary, headline)

    def _averages(self) -> Iterator[Score]:
        for metric, by_task in self._estimates.items():
            wanted = [a.average for a in self.tasks.averages if not a.metrics or metric.name in a.metrics]
            leading = {name for name in by_task if metrics(self.tasks.tasks[name])[0] == metric}
            made = averages(wanted, by_task)
            for average in wanted:
                if average.name in made:
                    between = bounds.of_average(average, by_task, self._bounds.get(metric, {}))
                    numbers = made[average.name]._asdict() | between._asdict()
                    primary, headline = leading >= set(average.tasks), average.name in self.tasks.headlines
                    yield self._score(average.name, metric, numbers, average.weight, primary, headline)

    def _score(
        self, name: str, metric: Metric, numbers: dict[str, Any], weight: Any, primary: bool, headline: bool
    ) -> Score:
        members = next((a.average.tasks for a in self.tasks.averages if weight and a.average.name == name), (name,))
        return Score(
            task=name,
            metric=metric.name,
            filter=metric.filter,
            **numbers,
            higher_is_better=metric.higher_is_better,
            fraction=metric.fraction,
            aggregation=metric.aggregation or None,
            average=weight,
            members=list(members),
            primary=primary,
            headline=headline,
        )

    def results(self, scores: Sequence[Score]) -> dict[str, Any]:
        """Return lm-eval's result schema, averages among its groups."""
        found = {**self._results, "group_subtasks": self.tasks.subtasks}
        groups: dict[str, Any] = {}
        for score in scores:
            if score.average:
                entry = groups.setdefault(score.task, {"name": score.task, "alias": score.task, "sample_len": score.n})
                entry[f"{score.metric},{score.filter}"] = score.value
                entry[f"{score.metric}_stderr,{score.filter}"] = "N/A" if score.stderr is None else score.stderr
        if groups:
            found["groups"] = groups
            found["results"] = {**found.get("results", {}), **groups}
        return found


def _others(tasks: Collection[str]) -> str:
    more = len(tasks) - 1
    return f" and {more} more task{'s' * (more > 1)}" if more else ""
