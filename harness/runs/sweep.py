"""Several runs: checkpoints × tasks → one report per checkpoint.

Everything that can be checked without reading weights is checked first, for all checkpoints. After that, each base
model is read once, no matter how many adapters on it are evaluated.

Not here: evaluating one checkpoint (`harness.runs.run`), parsing a command line, or printing anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from harness.backends import journal as journals
from harness.backends.journal import Journal
from harness.checkpoints import discovery, foreign_code, loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.loading import Loader
from harness.checkpoints.located import Located
from harness.checkpoints.reference import CheckpointReference
from harness.common import progress, slow_imports
from harness.common.failures import ends_a_run, reason
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


OnFailure = Callable[[str, str], None]
"""Called with the name of a checkpoint that is left out, and the reason."""


def run(
    references: Sequence[CheckpointReference], options: Options, on_failure: OnFailure = lambda name, reason: None
) -> Iterator[Report]:
    """Evaluate every checkpoint on every task; yield each checkpoint's report as soon as it is complete.

    Checkpoints with the same base follow one another; apart from that, the order is that of `references`. If the run is
    interrupted, the reports yielded so far stay, and the journal in `options.output` keeps the answers of the
    checkpoint in progress. Raises HarnessError for every mistake that the user can correct.

    If `options` say to keep going, checkpoints that fail are passed to `on_failure`; if all do, the first one's
    exception is raised.
    """
    failures = _Failures(options, on_failure)
    located_checkpoints, tasks = _prepare(references, options, failures)
    journal = Journal(options.output / JOURNAL)
    loader = Loader()
    any_report = False
    try:
        for located in loading.by_base(located_checkpoints):
            report = None
            with failures.of(located.name), foreign_code.explaining(located.reference):
                checkpoint = _load(loader, located, tasks, options)
                report = run_checkpoint(checkpoint, tasks, journal, options)
                del checkpoint  # its memory is needed for the next one
            if report is None:
                loader = Loader()  # the base of the other may have been changed
            else:
                any_report = True
                yield report
    finally:
        journal.close()
    if not any_report:
        failures.raise_first()


class _Failures:
    """The checkpoints that were left out."""

    def __init__(self, options: Options, on_failure: OnFailure) -> None:
        self._keep_going, self._report = options.keep_going, on_failure
        self._first: Exception | None = None

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Leave the checkpoint `name` out if the block fails, unless a run ends at the first failure."""
        try:
            yield
        except Exception as error:
            if not self._keep_going or ends_a_run(error):
                raise
            self._first = self._first or error
            self._report(name, reason(error))

    def raise_first(self) -> None:
        """Raise the first exception."""
        if self._first is not None:
            raise self._first


def load_one(reference: CheckpointReference, options: Options) -> tuple[Checkpoint, TaskSet]:
    """Return one checkpoint and the tasks of `options`, checked and loaded as by `run`.

    Raises HarnessError as `run` does, and if `reference` names several checkpoints.
    """
    discovery.require_one(reference)
    (located,), tasks = _prepare([reference], options, _Failures(options, lambda name, reason: None))
    return _load(Loader(), located, tasks, options), tasks


def locate(references: Sequence[CheckpointReference], options: Options, catalogue: Catalogue) -> list[Located]:
    """Return the files of all checkpoints, after checking the names of checkpoints and tasks.

    No weights and no documents are read. Raises HarnessError if a checkpoint, a task or a data set is not found.
    """
    _check_names(references, options, catalogue)
    return [_located(reference, options) for reference in discovery.expand(references)]


def _located(reference: CheckpointReference, options: Options) -> Located:
    device, dtype = reference.device or options.device, reference.dtype or options.dtype
    return loading.locate(replace(reference, device=device, dtype=dtype))


def _check_names(references: Sequence[CheckpointReference], options: Options, catalogue: Catalogue) -> None:
    """Raise HarnessError if nothing is named, or if a task is unknown or has no data."""
    if not references:
        raise HarnessError("no checkpoint to evaluate: name one with --model PATH_OR_HUB_ID")
    if not options.tasks:
        raise HarnessError("no task to evaluate on: name one with --tasks (see 'harness tasks')")
    names = catalogue.expand(options.tasks)
    catalogue.sources(names, options.data)
    file_tasks.require_answers_in_words(names, options.comparisons, keep_going=options.keep_going)


def load_tasks(catalogue: Catalogue, options: Options) -> TaskSet:
    """Return the tasks of `options` with their documents.

    Raises HarnessError if a data set cannot be read, or if a task's definition contradicts itself.
    """
    tasks = catalogue.load(options.tasks, options.data, num_fewshot=options.num_fewshot, seed=options.seed)
    for name, task in [*tasks.tasks.items()]:
        with tasks.leaving_out(name, keep_going=options.keep_going):
            bounds.check([task])
            if options.articles is not None:
                articles.add_to_tasks([task], options.articles)
    if options.max_gen_toks is not None:
        _limit_generations(tasks, options.max_gen_toks)
    return tasks


def _prepare(
    references: Sequence[CheckpointReference], options: Options, failures: _Failures
) -> tuple[list[Located], TaskSet]:
    """Return checkpoints and tasks after every check that needs no weights; those that fail go to `failures`."""
    catalogue = Catalogue(options.include, options.comparisons, keep_going=options.keep_going)
    sound: list[tuple[Located, checks.Probed | None]] = []
    # Reading a checkpoint's configuration imports the code of its architecture.
    with progress.status("looking at checkpoints and tasks"), slow_imports.importing():
        _check_names(references, options, catalogue)
        for reference in discovery.expand(references):
            with failures.of(reference.label):
                located = _located(reference, options)
                with foreign_code.explaining(reference):
                    sound.append((located, checks.before_loading(located, options)))
    if not sound:
        failures.raise_first()
    slow_imports.freeze()
    with progress.status("reading the tasks' data"):
        tasks = load_tasks(catalogue, options)
    if not tasks.tasks:
        raise HarnessError(f"no task can be evaluated. {'; '.join(tasks.failed.values())}")
    able = []
    for located, template in sound:
        with failures.of(located.name):
            if template is not None:
                checks.require_history(template, tasks)
            able.append(located)
    return able, tasks


def _load(loader: Loader, located: Located, tasks: TaskSet, options: Options) -> Checkpoint:
    environment.reset_peak_memory(located.device)
    with progress.bar(f"loading {located.name}", None, "weights") as bar:
        checkpoint = loader.load(located, allow_inactive_adapter=options.allow_inactive_adapter, bar=bar)
    if not options.keep_going:  # `run_checkpoint` checks each task
        checks.require_room(checkpoint, tasks.tasks)
    return checkpoint


def _limit_generations(tasks: TaskSet, max_gen_toks: int) -> None:
    for task in tasks.tasks.values():
        if task.output_type == "generate_until":
            settings = task.generation_settings
            others = {key: value for key, value in settings.items() if key not in MAX_TOKENS}
            task.generation_settings = {**others, "max_gen_toks": max_gen_toks}
