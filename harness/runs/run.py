"""Checkpoints × tasks → reports.

One lm-eval `evaluate()` a task, with task objects passed in: lm-eval builds the prompts, applies filters and scores
each document; the engine answers; averages, intervals and files are ours.

Not here: parsing a command line, or showing anything.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import harness
from harness.backends.journal import Journal
from harness.backends.local import HarnessLM
from harness.backends.work import Work
from harness.checkpoints import discovery, loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.located import Located
from harness.checkpoints.reference import CheckpointReference
from harness.common import progress, slow_imports
from harness.engine.decoding import sampling
from harness.errors import HarnessError
from harness.reports.report import CheckpointInfo, Engine, Manifest, Protocol, Report
from harness.reports.writer import ReportWriter, new_folder
from harness.retrieval import files as retrieval_files
from harness.runs import checks, environment
from harness.runs.options import Options, chat_template_digest, prompt_settings, template_arguments
from harness.runs.task_results import Outcome, evaluate, expected_requests
from harness.tasks import bounds
from harness.tasks.catalogue import Catalogue, TaskSet, metrics, reseed
from harness.tasks.own_files import file_tasks
from harness.tasks.protocols.bits_per_character import BitsPerCharacter

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
    with progress.status("looking at checkpoints and tasks"), slow_imports.importing():
        located = prepare(references, options, catalogue)
        for one in located:
            checks.before_loading(one, options)
    slow_imports.keep()
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


def load_one(reference: CheckpointReference, options: Options) -> tuple[Checkpoint, TaskSet]:
    """Return one checkpoint and the tasks of `options`, checked and loaded as `run` would.

    Raises HarnessError as `run` does, and if `reference` names several.
    """
    catalogue = Catalogue(options.include, options.comparisons)
    with progress.status("looking at the checkpoint and tasks"), slow_imports.importing():
        located, *others = prepare([reference], options, catalogue)
        if others:
            raise HarnessError(f"{reference} is {1 + len(others)} checkpoints, and one is asked: name it")
        checks.before_loading(located, options)
    slow_imports.keep()
    with progress.status("reading the tasks' data"):
        tasks = load_tasks(catalogue, options)
    environment.reset_peak_memory(located.device)
    with progress.status(f"loading {located.name}"):
        checkpoint = loading.Loader().load(located, allow_inactive_adapter=options.allow_inactive_adapter)
    checks.require_room(checkpoint, tasks)
    return checkpoint, tasks


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
        for one in discovery.expand(references)
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
    started, created = time.perf_counter(), datetime.now(UTC)
    lm = answerer(checkpoint, tasks, journal, options)
    found = Outcome(tasks)
    requests = sum(expected_requests(task, options.limit) for task in tasks.tasks.values())
    folder = new_folder(options.output, checkpoint.name, created)
    with ReportWriter(folder) as writer, progress.bar(checkpoint.name, requests) as bar:
        lm.advance = bar.advance
        for name, task in tasks.tasks.items():
            bar.title(f"{checkpoint.name} · {name}")
            begin(task, lm, options)
            before, clock = replace(lm.work), time.perf_counter()
            outcome = evaluate(lm, name, task, options.limit, **prompt_settings(options))
            seconds = time.perf_counter() - clock
            conclude(found, name, outcome, since(before, lm.work), seconds, writer, lm, options)
            task._instances = None  # prompts of 57 subjects need not all stay in memory
        made = manifest(lm, found, options, created, time.perf_counter() - started)
        return writer.finish(made, found.results(made.scores))


def answerer(
    checkpoint: Checkpoint, tasks: TaskSet, journal: Journal | None, options: Options, seed: int | None = None
) -> HarnessLM:
    """Return `checkpoint` as what answers `tasks`; `seed`, by default that of `options`, is of sampled text.

    Raises HarnessError if it cannot answer one of them.
    """
    arguments = template_arguments(checkpoint.located, options)
    lm = HarnessLM(checkpoint, journal, seed=options.seed if seed is None else seed, template_arguments=arguments)
    checks.require_letters(lm, tasks, options)
    return lm


def begin(task: Any, lm: HarnessLM, options: Options) -> None:
    """Make `task` ready to be asked: its prompts are drawn from here on as they always are."""
    if isinstance(task, BitsPerCharacter):
        task.config.metadata["stride"] = lm.stride(options.stride)
    reseed(task, options.seed)


def conclude(
    found: Outcome,
    name: str,
    outcome: dict[str, Any],
    work: Work,
    seconds: float,
    writer: ReportWriter,
    lm: HarnessLM,
    options: Options,
) -> None:
    """Take over what a task gave, whose requests are still there, and write its samples."""
    task = found.tasks.tasks[name]
    rows = found.add(name, outcome, work, seconds)
    writer.write_samples(name, rows, list(dict.fromkeys(m.name for m in metrics(task))))
    if (answers := checks.asked_letters(task, lm.encoder)) is not None and not answers.single:
        found.split_letters[name] = answers
    if isinstance(task, BitsPerCharacter):
        found.add_windows(name, lm.checkpoint.max_length, lm.stride(options.stride))


def manifest(
    lm: HarnessLM,
    found: Outcome,
    options: Options,
    created: datetime,
    seconds: float,
    *,
    shuffled: int | None = None,
) -> Manifest:
    """Return what a report says of all that was asked; `shuffled` as in `Protocol`."""
    checkpoint = lm.checkpoint
    articles = options.articles and [f"prompts that have articles of law have those of {options.articles.name}"]
    return Manifest(
        harness=harness.__version__,
        created=created.isoformat(timespec="seconds"),
        seconds=seconds,
        checkpoint=_checkpoint_info(checkpoint),
        protocol=_protocol(checkpoint, options, shuffled),
        tasks=found.infos,
        scores=found.scores(),
        engine=_engine(lm, environment.peak_memory(checkpoint.device)),
        environment=environment.describe(checkpoint.device),
        notes=[*_notes(checkpoint, lm), *(articles or ()), *found.all_notes()],
    )


def since(before: Work, now: Work) -> Work:
    """Return the work that was done between two moments."""
    return Work(**{key: getattr(now, key) - value for key, value in asdict(before).items()})


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


def _protocol(checkpoint: Checkpoint, options: Options, shuffled: int | None) -> Protocol:
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
        articles=None if options.articles is None else retrieval_files.digest(options.articles),
        shuffled=shuffled,
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
