"""One run: a checkpoint on a set of tasks → a report.

Each task is one call of lm-eval's `evaluate()`, which gets the task object. lm-eval builds the prompts, applies filters
and scores each document; the engine answers; averages, intervals and files come from this project.

Not here: several checkpoints (`harness.runs.sweep`), parsing a command line, or printing anything.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from harness.backends.journal import Journal
from harness.backends.local import HarnessLM
from harness.backends.work import Work
from harness.checkpoints.checkpoint import Checkpoint
from harness.common import progress
from harness.common.failures import ends_a_run
from harness.errors import HarnessError
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

    Raises HarnessError if the checkpoint cannot answer one of the tasks, or if the report cannot be written. If
    `options` say to keep going, tasks that fail are left out; HarnessError is raised if none is left.
    """
    started, created = time.perf_counter(), datetime.now(UTC)
    results = TaskResults(tasks)
    tasks = _able(checkpoint, tasks, results, options) if options.keep_going else tasks
    lm = answerer(checkpoint, tasks, journal, options)
    requests = sum(expected_requests(task, options.limit) for task in tasks.tasks.values())
    folder = new_folder(options.output, checkpoint.name, created)
    with ReportWriter(folder, keep_paths=options.keep_paths) as writer, progress.bar(checkpoint.name, requests) as bar:
        lm.advance = bar.advance
        for name, task in tasks.tasks.items():
            bar.title(f"{checkpoint.name} · {name}")
            try:
                _evaluate(name, task, results, writer, lm, options)
            except Exception as error:
                if not options.keep_going or ends_a_run(error):
                    raise
                results.fail(name, error)
                writer.remove_samples(name)
            task.release_requests()  # prompts of 57 subjects need not all stay in memory
        if not results.infos:
            raise HarnessError(f"no task could be evaluated on {checkpoint.name}. {_first(results.failed)}")
        content = manifest(lm, results, options, created, time.perf_counter() - started)
        return writer.finish(content, results.results(content.scores), paths(checkpoint.located, options))


def _first(failed: Mapping[str, str]) -> str:
    name, why = next(iter(failed.items()))
    return f"{name}: {why}"


def _able(checkpoint: Checkpoint, tasks: TaskSet, results: TaskResults, options: Options) -> TaskSet:
    """Return the tasks that `checkpoint` can answer, and record in `results` why it cannot answer the others."""
    lm = HarnessLM(checkpoint, template_arguments=template_arguments(checkpoint.located, options))
    able = {}
    for name, task in tasks.tasks.items():
        try:
            expected_requests(task, options.limit)
            checks.require_room(checkpoint, {name: task})
            checks.require_letters(lm, {name: task}, options)
        except Exception as error:
            if ends_a_run(error):
                raise
            results.fail(name, error)
        else:
            able[name] = task
    return replace(tasks, tasks=able)


def _evaluate(
    name: str, task: Task, results: TaskResults, writer: ReportWriter, lm: HarnessLM, options: Options
) -> None:
    begin(task, lm, options)
    before, started = replace(lm.work), time.perf_counter()
    outcome = task.evaluate(lm, limit=options.limit, keep_going=options.keep_going, **prompt_settings(options))
    seconds = time.perf_counter() - started
    conclude(results, name, outcome, since(before, lm.work), seconds, writer, lm, options)


def answerer(
    checkpoint: Checkpoint, tasks: TaskSet, journal: Journal | None, options: Options, seed: int | None = None
) -> HarnessLM:
    """Return the lm-eval model by which `checkpoint` answers `tasks`.

    `seed` is that of sampled text, by default the seed of `options`. Raises HarnessError if the checkpoint cannot
    answer one of the tasks.
    """
    arguments = template_arguments(checkpoint.located, options)
    lm = HarnessLM(checkpoint, journal, seed=options.seed if seed is None else seed, template_arguments=arguments)
    lm.keep_going = options.keep_going
    if not options.keep_going:  # `run_checkpoint` has checked each task
        checks.require_letters(lm, tasks.tasks, options)
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
