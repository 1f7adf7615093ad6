"""Several runs: checkpoints × tasks → one report per checkpoint.

Everything that can be checked without reading weights is checked first, for all checkpoints. After that, each base
model is read once, no matter how many adapters on it are evaluated.

Not here: evaluating one checkpoint (`harness.runs.run`), parsing a command line, or printing anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.backends import journal as journals
from harness.backends.journal import Journal
from harness.checkpoints import discovery, loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.loading import Loader
from harness.checkpoints.located import Located
from harness.checkpoints.reference import CheckpointReference
from harness.common import progress, slow_imports
from harness.engine.decoding.settings import MAX_TOKENS
from harness.errors import HarnessError
from harness.reports.report import Report
from harness.retrieval import articles
from harness.runs import checks, environment
from harness.runs.options import Options
from harness.runs.run import run_checkpoint
from harness.tasks import bounds
from harness.tasks.catalogue import Catalogue
from harness.tasks.own_files import file_tasks
from harness.tasks.task_set import TaskSet

JOURNAL = journals.NAME


def run(references: Sequence[CheckpointReference], options: Options) -> Iterator[Report]:
    """Evaluate every checkpoint on every task; yield each checkpoint's report as soon as it is complete.

    Checkpoints with the same base follow one another; apart from that, the order is that of `references`. If the run is
    interrupted, the reports yielded so far stay, and the journal in `options.output` keeps the answers of the
    checkpoint in progress. Raises HarnessError for every mistake that the user can correct.
    """
    located_checkpoints, tasks = _prepare(references, options)
    journal = Journal(options.output / JOURNAL)
    loader = Loader()
    try:
        for located in loading.by_base(located_checkpoints):
            checkpoint = _load(loader, located, tasks, options)
            yield run_checkpoint(checkpoint, tasks, journal, options)
            del checkpoint  # its memory is needed for the next one
    finally:
        journal.close()


def load_one(reference: CheckpointReference, options: Options) -> tuple[Checkpoint, TaskSet]:
    """Return one checkpoint and the tasks of `options`, checked and loaded as by `run`.

    Raises HarnessError as `run` does, and if `reference` names several checkpoints.
    """
    discovery.require_one(reference)
    (located,), tasks = _prepare([reference], options)
    return _load(Loader(), located, tasks, options), tasks


def locate(references: Sequence[CheckpointReference], options: Options, catalogue: Catalogue) -> list[Located]:
    """Return the files of all checkpoints, after checking the names of checkpoints and tasks.

    No weights and no documents are read. Raises HarnessError if a checkpoint, a task or a data set is not found.
    """
    if not references:
        raise HarnessError("no checkpoint to evaluate: name one with --model PATH_OR_HUB_ID")
    if not options.tasks:
        raise HarnessError("no task to evaluate on: name one with --tasks (see 'harness tasks')")
    names = catalogue.expand(options.tasks)
    catalogue.sources(names, options.data)
    file_tasks.require_answers_in_words(names, options.comparisons)
    return [
        loading.locate(
            replace(reference, device=reference.device or options.device, dtype=reference.dtype or options.dtype)
        )
        for reference in discovery.expand(references)
    ]


def load_tasks(catalogue: Catalogue, options: Options) -> TaskSet:
    """Return the tasks of `options` with their documents.

    Raises HarnessError if a data set cannot be read, or if a task's definition contradicts itself.
    """
    tasks = catalogue.load(options.tasks, options.data, num_fewshot=options.num_fewshot, seed=options.seed)
    bounds.check(tasks.tasks.values())
    if options.articles is not None:
        articles.add_to_tasks(tasks.tasks.values(), options.articles)
    if options.max_gen_toks is not None:
        _limit_generations(tasks, options.max_gen_toks)
    return tasks


def _prepare(references: Sequence[CheckpointReference], options: Options) -> tuple[list[Located], TaskSet]:
    """Return the files of all checkpoints, and the tasks, after every check that needs no weights."""
    catalogue = Catalogue(options.include, options.comparisons)
    # Reading a checkpoint's configuration imports the code of its architecture.
    with progress.status("looking at checkpoints and tasks"), slow_imports.importing():
        located_checkpoints = locate(references, options, catalogue)
        templates = [checks.before_loading(located, options) for located in located_checkpoints]
    slow_imports.freeze()
    with progress.status("reading the tasks' data"):
        tasks = load_tasks(catalogue, options)
    for template in templates:
        if template is not None:
            checks.require_history(template, tasks)
    return located_checkpoints, tasks


def _load(loader: Loader, located: Located, tasks: TaskSet, options: Options) -> Checkpoint:
    environment.reset_peak_memory(located.device)
    with progress.status(f"loading {located.name}"):
        checkpoint = loader.load(located, allow_inactive_adapter=options.allow_inactive_adapter)
    checks.require_room(checkpoint, tasks)
    return checkpoint


def _limit_generations(tasks: TaskSet, max_gen_toks: int) -> None:
    for task in tasks.tasks.values():
        if task.output_type == "generate_until":
            settings = task.generation_settings
            others = {key: value for key, value in settings.items() if key not in MAX_TOKENS}
            task.generation_settings = {**others, "max_gen_toks": max_gen_toks}
