"""One run: a checkpoint on a set of tasks → a report.

Each task is one call of lm-eval's `evaluate()`, which gets the task object. lm-eval builds the prompts, applies filters
and scores each document; the engine answers; averages, intervals and files come from this project.

Not here: several checkpoints (`harness.runs.sweep`), parsing a command line, or printing anything.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from harness.backends.journal import Journal
from harness.backends.local import HarnessLM
from harness.backends.work import Work
from harness.checkpoints.checkpoint import Checkpoint
from harness.common import progress
from harness.reports.report import Report
from harness.reports.writer import ReportWriter, new_folder
from harness.runs import checks
from harness.runs.manifest import manifest, paths
from harness.runs.options import Options, prompt_settings, template_arguments
from harness.runs.task_results import TaskResults, expected_requests
from harness.tasks.protocols.bits_per_character import BitsPerCharacter
from harness.tasks.task import Task
from harness.tasks.task_set import TaskSet


def run_checkpoint(checkpoint: Checkpoint, tasks: TaskSet, journal: Journal, options: Options) -> Report:
    """Evaluate `checkpoint` on `tasks`, and write and return its report.

    Raises HarnessError if the checkpoint cannot answer one of the tasks, or if the report cannot be written.
    """
    started, created = time.perf_counter(), datetime.now(UTC)
    lm = answerer(checkpoint, tasks, journal, options)
    results = TaskResults(tasks)
    requests = sum(expected_requests(task, options.limit) for task in tasks.tasks.values())
    folder = new_folder(options.output, checkpoint.name, created)
    with ReportWriter(folder, keep_paths=options.keep_paths) as writer, progress.bar(checkpoint.name, requests) as bar:
        lm.advance = bar.advance
        for name, task in tasks.tasks.items():
            bar.title(f"{checkpoint.name} · {name}")
            begin(task, lm, options)
            before, task_started = replace(lm.work), time.perf_counter()
            outcome = task.evaluate(lm, limit=options.limit, **prompt_settings(options))
            seconds = time.perf_counter() - task_started
            conclude(results, name, outcome, since(before, lm.work), seconds, writer, lm, options)
            task.release_requests()  # prompts of 57 subjects need not all stay in memory
        content = manifest(lm, results, options, created, time.perf_counter() - started)
        return writer.finish(content, results.results(content.scores), paths(checkpoint.located, options))


def answerer(
    checkpoint: Checkpoint, tasks: TaskSet, journal: Journal | None, options: Options, seed: int | None = None
) -> HarnessLM:
    """Return the lm-eval model by which `checkpoint` answers `tasks`.

    `seed` is that of sampled text, by default the seed of `options`. Raises HarnessError if the checkpoint cannot
    answer one of the tasks.
    """
    arguments = template_arguments(checkpoint.located, options)
    lm = HarnessLM(checkpoint, journal, seed=options.seed if seed is None else seed, template_arguments=arguments)
    checks.require_letters(lm, tasks, options)
    return lm


def begin(task: Task, lm: HarnessLM, options: Options) -> None:
    """Prepare `task` for its requests: its few-shot examples are then the same in every run."""
    lm.conversations.scores_continuations = task.scores_continuations
    if isinstance(task.lm_eval, BitsPerCharacter):
        task.set_stride(lm.stride(options.stride))
    task.reseed(options.seed)


def conclude(
    results: TaskResults,
    name: str,
    outcome: dict[str, Any],
    work: Work,
    seconds: float,
    writer: ReportWriter,
    lm: HarnessLM,
    options: Options,
) -> None:
    """Add lm-eval's outcome of the task `name` to `results`, and write its samples.

    The task object must still hold its requests: its answer letters are read from them.
    """
    task = results.tasks.tasks[name]
    rows = results.add(name, outcome, work, seconds)
    writer.write_samples(name, rows, task.metric_names)
    letters = checks.answer_letters(task, lm.encoder)
    if letters is not None and not letters.are_single_tokens:
        results.split_letters[name] = letters
    if isinstance(task.lm_eval, BitsPerCharacter):
        results.add_windows(name, lm.checkpoint.max_length, lm.stride(options.stride))


def since(before: Work, now: Work) -> Work:
    """Return the work done between two moments, given the work done until each."""
    return Work(**{key: getattr(now, key) - value for key, value in asdict(before).items()})
