"""Checkpoints × tasks → reports.

One lm-eval `evaluate()` a task, with task objects passed in: lm-eval builds the prompts, applies filters and scores
each document; the engine answers; averages, intervals and files are ours.

Not here: parsing a command line, or showing anything.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import harness
from harness import file_tasks, libraries, progress, retrieval_files
from harness.checkpoints import loading, trainings
from harness.checkpoints.checkpoint import Checkpoint, Located
from harness.checkpoints.reference import CheckpointReference
from harness.engine import sampling
from harness.engine.journal import Journal
from harness.engine.letters import Letters
from harness.engine.lm import HarnessLM, Work, chat_template_digest
from harness.errors import HarnessError
from harness.metrics.aggregate import Estimate, averages
from harness.protocols import BitsPerCharacter
from harness.runs import bounds, checks, environment, samples
from harness.runs.bounds import Bounds
from harness.runs.options import Options, prompt_settings, template_arguments
from harness.runs.report import CheckpointInfo, Engine, Manifest, Protocol, Report, ReportWriter, Score, TaskInfo
from harness.tasks import Catalogue, Metric, TaskSet, metrics, reseed, split

JOURNAL = "journal.sqlite"


def run(references: Sequence[CheckpointReference], options: Options) -> Iterator[Report]:
    """Evaluate every checkpoint on every task; yield each checkpoint's report as it is complete.

    Checkpoints of one base follow one another, so that it is read once; otherwise the order is as given.

    Everything that can be checked without reading weights is checked first, for all checkpoints. Interrupted at any
    point, the reports yielded stay, and the journal in `options.output` keeps the answers of the one in progress.
    Raises HarnessError on whatever the user can mend.
    """
    catalogue = Catalogue(options.include, options.comparisons)
    # Looking at a checkpoint is what imports its architecture.
    with progress.status("looking at checkpoints and tasks"), libraries.importing():
        located = prepare(references, options, catalogue)
        for one in located:
            checks.before_loading(one, options)
    libraries.keep()
    with progress.status("reading the tasks' data"):
        tasks = load_tasks(catalogue, options)
    journal = Journal(options.output / JOURNAL)
    loader = loading.Loader()
    try:
        for one in loading.by_base(located):
            environment.reset_peak_memory(one.device)
            with progress.status(f"loading {one.name}"):
                checkpoint = loader.load(one, allow_inactive_adapter=options.allow_inactive_adapter)
            checks.require_room(checkpoint, tasks)
            yield _evaluate(checkpoint, tasks, journal, options)
            del checkpoint
    finally:
        journal.close()


def prepare(references: Sequence[CheckpointReference], options: Options, catalogue: Catalogue) -> list[Located]:
    """Check names, files and data of all checkpoints and tasks without reading weights or documents."""
    if not references:
        raise HarnessError("no checkpoint to evaluate: name one with --model PATH_OR_HUB_ID")
    if not options.tasks:
        raise HarnessError("no task to evaluate on: name one with --tasks (see 'harness tasks')")
    names = catalogue.expand(options.tasks)
    catalogue.sources(names, options.data)
    files = [name for name in names if file_tasks.names_files(name)]
    in_words = [name for name in files if file_tasks.has_answers_in_words(name, options.comparisons)]
    if options.comparisons and not in_words:
        raise HarnessError(
            "--metric is for a test set of your own with answers in words, and none is here: leave it out"
        )
    return [
        loading.locate(replace(one, device=one.device or options.device, dtype=one.dtype or options.dtype))
        for one in trainings.expand(references)
    ]


def load_tasks(catalogue: Catalogue, options: Options) -> TaskSet:
    """Build the tasks of `options`."""
    found = catalogue.load(options.tasks, options.data, num_fewshot=options.num_fewshot, seed=options.seed)
    bounds.check(found.tasks.values())
    if options.articles is not None:
        retrieval_files.give(found.tasks.values(), options.articles)
    if options.max_gen_toks is not None:
        for task in found.tasks.values():
            if task.OUTPUT_TYPE == "generate_until":
                own = {k: v for k, v in (task.config.generation_kwargs or {}).items() if k not in sampling.MAX_TOKENS}
                task.config.generation_kwargs = {**own, "max_gen_toks": options.max_gen_toks}
    return found


def _evaluate(checkpoint: Checkpoint, tasks: TaskSet, journal: Journal, options: Options) -> Report:
    from lm_eval.evaluator import evaluate

    started, created = time.perf_counter(), datetime.now(UTC)
    arguments = template_arguments(checkpoint.located, options)
    lm = HarnessLM(checkpoint, journal, seed=options.seed, template_arguments=arguments)
    checks.require_letters(lm, tasks, options)
    found = _Found(tasks)
    requests = sum(_expected_requests(task, options.limit) for task in tasks.tasks.values())
    folder = _new_folder(options.output, checkpoint.name, created)
    with ReportWriter(folder) as writer, progress.bar(checkpoint.name, requests) as bar:
        lm.advance = bar.advance
        for name, task in tasks.tasks.items():
            bar.title(f"{checkpoint.name} · {name}")
            if isinstance(task, BitsPerCharacter):
                task.config.metadata["stride"] = lm.stride(options.stride)
            before, clock = replace(lm.work), time.perf_counter()
            reseed(task, options.seed)
            outcome = evaluate(
                lm,
                {"tasks": {name: task}, "groups": {}},
                limit=options.limit,
                bootstrap_iters=0,
                **prompt_settings(options),
            )
            seconds = time.perf_counter() - clock
            rows = found.add(name, outcome, _since(before, lm.work), seconds)
            writer.write_samples(name, rows, list(dict.fromkeys(m.name for m in metrics(task))))
            if (answers := checks.asked_letters(task, lm.encoder)) is not None and not answers.single:
                found.split_letters[name] = answers
            if isinstance(task, BitsPerCharacter):
                found.add_windows(name, checkpoint.max_length, lm.stride(options.stride))
            task._instances = None  # prompts of 57 subjects need not all stay in memory
        manifest = Manifest(
            harness=harness.__version__,
            created=created.isoformat(timespec="seconds"),
            seconds=time.perf_counter() - started,
            checkpoint=_checkpoint_info(checkpoint),
            protocol=_protocol(checkpoint, options),
            tasks=found.infos,
            scores=found.scores(),
            engine=_engine(lm, environment.peak_memory(checkpoint.device)),
            environment=environment.describe(checkpoint.device),
            notes=[*_notes(checkpoint, lm), *found.all_notes()],
        )
        return writer.finish(manifest, found.results(manifest.scores))


class _Found:
    """What one checkpoint's tasks gave so far."""

    def __init__(self, tasks: TaskSet) -> None:
        self.tasks = tasks
        self.infos: dict[str, TaskInfo] = {}
        self._estimates: dict[Metric, dict[str, Estimate]] = {}
        self._bounds: dict[Metric, dict[str, Bounds]] = {}
        self.notes: list[str] = []
        self.split_letters: dict[str, Letters] = {}
        """Tasks whose answer letters are no single tokens."""
        self.unscored: list[str] = []
        self._results: dict[str, Any] = {}

    def add(self, name: str, outcome: dict[str, Any], work: Work, seconds: float) -> list[samples.Row]:
        """Take over one task's outcome from lm-eval; return its report rows."""
        task, source = self.tasks.tasks[name], self.tasks.sources.get(name)
        rows = [samples.row(sample) for sample in outcome.pop("samples")[name]]
        rows.sort(key=lambda row: row["doc_id"])
        for metric in metrics(task):
            value = outcome["results"][name].get(f"{metric.name},{metric.filter}")
            if value is None:
                continue
            how = getattr(task.aggregation()[metric.name], "__name__", "")
            estimate = samples.estimate(metric, rows, how=how, value=value)
            key, result = f"{metric.name},{metric.filter}", outcome["results"][name]
            if estimate is None:
                result[key] = "N/A"
                self.notes.append(f"{name}: {metric.name} is NaN or infinite, and left out")
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
            version=str(task.VERSION),
            dataset=str(source or task.config.dataset_path or ""),
            split=split(task),
            num_fewshot=int(task.config.num_fewshot or 0),
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


def _since(before: Work, now: Work) -> Work:
    return Work(**{key: getattr(now, key) - value for key, value in asdict(before).items()})


def _expected_requests(task: Any, limit: int | None) -> int:
    documents = len(task.eval_docs) if limit is None else min(limit, len(task.eval_docs))
    each = len(task.doc_to_choice(task.eval_docs[0])) if task.OUTPUT_TYPE == "multiple_choice" else 1
    return documents * each * int(task.config.repeats or 1)


def _new_folder(output: Path, name: str, created: datetime) -> Path:
    stem = re.sub(r"[^\w.+-]+", "_", name).strip(".")[:100] + created.strftime("_%Y%m%d-%H%M%S")
    folder, again = output / stem, 1
    while folder.exists():
        folder, again = output / f"{stem}-{again}", again + 1
    return folder


def _checkpoint_info(checkpoint: Checkpoint) -> CheckpointInfo:
    located, held = checkpoint.located, checkpoint.adapter_parameters
    return CheckpointInfo(
        name=checkpoint.name,
        reference=str(located.reference),
        kind=located.kind,
        quantization=located.quantization and located.quantization.name,
        base=located.base_name,
        adapter=None if located.adapter is None else str(located.adapter),
        fingerprint=checkpoint.fingerprint,
        architecture=type(checkpoint.plain_model).__name__,
        dtype=str(located.dtype).removeprefix("torch."),
        device=str(located.device),
        parameters=checkpoint.parameters,
        trainable_share=None if held is None else held / (checkpoint.parameters + held),
        memory_bytes=checkpoint.memory_bytes,
        max_length=checkpoint.max_length,
        virtual_tokens=located.virtual_tokens,
        adapter_effect=checkpoint.adapter_effect,
    )


def _protocol(checkpoint: Checkpoint, options: Options) -> Protocol:
    return Protocol(
        limit=options.limit,
        seed=options.seed,
        num_fewshot=options.num_fewshot,
        chat_template=chat_template_digest(checkpoint.tokenizer) if options.apply_chat_template else None,
        chat_template_arguments=template_arguments(checkpoint.located, options),
        fewshot_as_multiturn=options.apply_chat_template,
        system_instruction=options.system_instruction,
        max_gen_toks=options.max_gen_toks,
        stride=options.stride,
    )


def _engine(lm: HarnessLM, peak: int) -> Engine:
    apart = ("truncated", "generations", "thoughts", "unfinished_thoughts")  # these are told task by task
    counted = {key: value for key, value in asdict(lm.work).items() if key not in apart}
    return Engine(walk=lm.engine.choice.walk.value, peak_memory_bytes=peak, **counted)


def _notes(checkpoint: Checkpoint, lm: HarnessLM) -> list[str]:
    notes = list(checkpoint.notes)
    if lm.work.truncated:
        notes.append(
            f"{lm.work.truncated:,} of {lm.work.requests:,} requests had their prompt cut on the left to fit the "
            f"context of {checkpoint.max_length:,} tokens"
        )
    notes += lm.engine.notes()
    if lm.dropped_system:
        notes.append(
            "the chat template takes no system role: task descriptions and system instruction are in no prompt"
        )
    return notes
