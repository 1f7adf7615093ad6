"""Training the stages of a recipe, each into its own folder.

A finished stage is reused: its record has a digest of everything that the stage was made from. If that is no longer
what the recipe says, nothing is overwritten unless the caller allows it. An interrupted stage continues from the last
state that it saved, if it is still the same stage.

All randomness comes from the recipe's seed; the caller's random state is restored.

Of several processes that train together, the first one encodes corpora and writes folders.

Not here: the loop (`harness.training.loop`), and evaluating the checkpoints.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.checkpoints.adapters import merging
from harness.checkpoints.reference import parse
from harness.common import atomic_write, places, progress
from harness.errors import HarnessError, StorageError
from harness.reports import public_paths
from harness.training import (
    checks,
    corpora,
    determinism,
    lineage,
    locks,
    loop,
    processes,
    saving,
    states,
)
from harness.training.corpora import CorpusReport, DataReport, Prepared
from harness.training.existing import Existing
from harness.training.family import ENCODED, Family, naming, settings_of
from harness.training.fitting import Data, DivergedError, Fitted
from harness.training.lineage import Lineage
from harness.training.recipe import Recipe, Stage
from harness.training.settings import ADAPTERS
from harness.training.sources import Source, fingerprint

if TYPE_CHECKING:
    from harness.training.task_scores import TaskScores

DONE = lineage.RECORD
"""The file that marks a finished stage."""


class Trained(NamedTuple):
    """A finished stage."""

    name: str
    folder: Path
    stage: Stage
    lineage: Lineage
    reused: bool
    """Whether the stage was finished before and not trained again."""
    stale: tuple[str, ...] = ()
    """Finished stages in the same folder that started from an older training of this one."""


class Planned(NamedTuple):
    """A stage that would be trained, or has been."""

    name: str
    stage: Stage
    is_finished: bool
    report: DataReport | None
    """What it learns from; None for a merge."""
    conflict: str = ""
    """Why a training would be refused without `replace`; empty if it would not be."""
    resumes_at: int = 0
    """The step after which an interrupted training would be continued; 0 if it was not interrupted."""


@dataclass(frozen=True)
class Events:
    """What is called while stages are trained."""

    data: Callable[[str, DataReport], None] = lambda name, report: None
    """With each stage's data report, before its training."""
    line: Callable[[str], None] = lambda text: None
    """With a line on each logged loss."""


def train(
    recipe: Recipe,
    output: Path,
    names: Sequence[str] = (),
    *,
    until: str | None = None,
    replace: bool = False,
    data: Path | None = None,
    events: Events = Events(),
) -> Iterator[Trained]:
    """Train into `output` the stages `names` (default: all), after the stages they start from; yield each when done.

    With `until`, later stages are left out. With `replace`, stages that were trained from something else are trained
    anew. `data` is a mirror of the data sets of tasks that stages are evaluated on. Raises HarnessError on errors that
    the user can correct: unknown stages, unreadable corpora or checkpoints, stages that would be overwritten.
    """
    order = recipe.order(names, until)
    family = Family(recipe, output)
    with processes.connected():
        processes.first(lambda: _begin(family, order, data))
        for place, name in enumerate(order):
            run = _Run(family, name, events, data, replace=replace)
            with ExitStack() as stack:
                processes.first(partial(stack.enter_context, locks.locked(*run.lock)))
                if place == 0:
                    processes.first(partial(_encode, family, order))
                yield run.trained()
        processes.first(family.remove_unused)


def _begin(family: Family, order: Sequence[str], data: Path | None) -> None:
    """Make the folder of the stages, after checking the settings of all stages in `order`."""
    checks.require_settings(family, order, data)
    output = family.output
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        advice = places.advice(error, "name another folder")
        raise HarnessError(f"cannot write checkpoints to {output} ({error.strerror}): {advice}") from error


def _encode(family: Family, names: Sequence[str]) -> None:
    """Encode the corpora of all unfinished stages, so that faults of the last show before the first is trained."""
    for name in names:
        if family.recipe.stages[name].method != "merge" and family.finished(name) is None:
            _Run(family, name, Events(), None, replace=True).encode()


def plan(
    recipe: Recipe, output: Path, names: Sequence[str] = (), *, until: str | None = None, data: Path | None = None
) -> Iterator[Planned]:
    """Yield what each stage would learn from, in the order of training; nothing is trained.

    Corpora are encoded, and kept for the training. Raises HarnessError as `train` does.
    """
    family = Family(recipe, output)
    order = recipe.order(names, until)
    checks.require_settings(family, order, data)
    for name in order:
        stage = recipe.stages[name]
        run = _Run(family, name, Events(), None, replace=True)
        finished = run.finished() is not None
        report = None if stage.method == "merge" else run.prepared().report
        existing = Existing(family, name)
        yield Planned(name, stage, finished, report, existing.conflict(), 0 if finished else existing.resumes_at())


class _Run:
    """One stage."""

    def __init__(self, family: Family, name: str, events: Events, data: Path | None, *, replace: bool) -> None:
        self._family, self._name, self._events, self._replace = family, name, events, replace
        self._data = data
        self._recipe, self._stage = family.recipe, family.recipe.stages[name]
        self._folder, self._progress = family.folder(name), family.progress(name)
        self._existing = Existing(family, name)

    @property
    def lock(self) -> tuple[Path, str]:
        """The file that is locked while the stage is trained, and what it stands for."""
        return self._family.output / f".{self._name}.lock", f"stage {self._name} in {self._family.output}"

    def finished(self) -> Lineage | None:
        """Return the record of the stage if it is finished and what the recipe says now."""
        return self._family.finished(self._name)

    def prepared(self) -> Prepared:
        """Return the stage's rows, encoded with the tokenizer of the nearest ancestor that exists."""
        return self._prepared(self._available())

    def encode(self) -> None:
        """Encode the stage's corpora, so that what is wrong with them shows before any stage is trained."""
        source = self._available()
        with naming(f"stage {self._name}"):
            stage = self._stage.model_copy(update={"max_length": source.max_length})
            recipe = self._recipe.model_copy(update={"stages": {**self._recipe.stages, self._name: stage}})
            encoded = corpora.encode(self._name, recipe, source.encoding(), self._family.output / ENCODED)
        self._family.used |= {file for file, _ in encoded.values()}

    def _available(self) -> Source:
        """Return the nearest checkpoint that exists of those from which the stage descends."""
        reference = self._family.available(self._stage)
        with naming(f"stage {self._name}"):
            return Source(reference, self._stage, is_start=reference == self._family.reference(self._stage))

    def trained(self) -> Trained:
        """Return the stage, trained now unless it was finished before."""
        if (known := processes.first(self._known)) is not None:
            return known
        record = processes.first(self._merged) if self._stage.method == "merge" else self._fitted()
        return processes.first(lambda: self._done(record, is_reused=False))

    def _known(self) -> Trained | None:
        """Return the stage if it is finished; None after making sure that it can be trained."""
        atomic_write.restore(self._folder, saving.NEW)
        atomic_write.remove_tagged(self._folder, saving.NEW)
        if (record := self.finished()) is not None:
            return self._done(record, is_reused=True)
        self._existing.require_free(replace=self._replace)
        return None

    def _done(self, record: Lineage, *, is_reused: bool) -> Trained:
        if is_reused:
            self._existing.remove_progress(record.key)
        else:
            shutil.rmtree(self._progress, ignore_errors=True)
            self._family.forget_keys()
        return Trained(self._name, self._folder, self._stage, record, is_reused, self._family.stale(self._name))

    def _record(self, **values: Any) -> Lineage:
        """Return a record of the stage, and of the checkpoint that it starts from as that is now."""
        stage, reference = self._stage, self._family.reference(self._stage)
        return Lineage(
            key=self._family.key(self._name),
            name=self._name,
            recipe=self._recipe.sha256,
            settings=settings_of(stage),
            seed=self._recipe.seed,
            threads=self._recipe.threads,
            reading=self._family.reading(stage),
            files=self._family.files(stage),
            parent=stage.parent or _public(stage.start),
            parent_key=self._family.parent_key(stage),
            parent_fingerprint=fingerprint(reference),
            quantize=reference.quantize if stage.method in ADAPTERS else None,
            versions=lineage.versions(),
            **values,
        )

    def _merged(self) -> Lineage:
        """Merge the adapter that the stage starts from."""
        clock = time.perf_counter()
        with (
            places.writing(self._folder, "choose another --output"),
            atomic_write.folder(self._folder, tag=saving.NEW, replace=True) as hidden,
        ):
            record = self._record(base=None, base_fingerprint=None)
            merging.merge(self._family.reference(self._stage), hidden)
            record = replace(record, seconds=time.perf_counter() - clock)
            lineage.write(record, hidden)
        return record

    def _prepared(self, source: Source) -> Prepared:
        with naming(f"stage {self._name}"):
            stage = self._stage.model_copy(update={"max_length": source.max_length})
        recipe = self._recipe.model_copy(update={"stages": {**self._recipe.stages, self._name: stage}})
        batch = loop.batch(stage.arguments)
        batches = int(stage.arguments.get("gradient_accumulation_steps", 1)) * processes.count()
        folder = self._family.output / ENCODED
        with naming(f"stage {self._name}"):
            prepared = corpora.prepare(self._name, recipe, source.encoding(), folder, batch, batches)
        self._family.used |= {*prepared.stores.values()}
        return prepared

    def _fitted(self) -> Lineage:
        """Train the stage, and write its folder."""
        clock = time.perf_counter()
        stage, name = self._stage, self._name
        processes.first(partial(self._existing.require_same_progress, replace=self._replace))
        with naming(f"stage {name}"):
            source = processes.in_turn(lambda: Source(self._family.reference(stage), stage))
            tasks = self._tasks(source)
            adapter = stage.method != "full"
            origin = processes.first(
                lambda: self._record(
                    base=saving.relative(source, self._folder) if adapter else None,
                    base_fingerprint=source.base_fingerprint if adapter else None,
                )
            )
        prepared = processes.in_turn(lambda: self._prepared(source))
        self._events.data(name, prepared.report)
        with determinism.random_state(self._recipe.seed), determinism.threads(self._recipe.threads):
            with progress.bar(f"loading {stage.start}", None, unit="weights") as bar, naming(f"stage {name}"):
                model = source.model(bar)
            fitted = self._fit(model, source, prepared, tasks)
        return processes.first(lambda: self._saved(origin, model, source, prepared.report, fitted, clock))

    def _tasks(self, source: Source) -> TaskScores | None:
        if not self._stage.evaluate:
            return None
        from harness.training.task_scores import TaskScores  # which imports lm-eval

        return TaskScores(source, self._recipe.resolved(self._stage), self._data)

    def _saved(
        self, origin: Lineage, model: Any, source: Source, report: DataReport, fitted: Fitted, clock: float
    ) -> Lineage:
        """Write the folder of the stage, whose training began at `clock`, and return its record.

        `origin` is the record of what the stage started from, as that was when it was loaded.
        """
        record = replace(
            origin,
            corpora=[_described(corpus, self._recipe) for corpus in report.corpora],
            validation=[_described(corpus, self._recipe) for corpus in report.validation],
            steps=len(fitted.losses),
            rows=report.rows,
            tokens=report.tokens,
            parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
            loss=fitted.loss,
            curve=lineage.curve(fitted.losses),
            evaluations=fitted.evaluations,
            best=None if fitted.best is None else fitted.best._asdict(),
            seconds=time.perf_counter() - clock,
            resumed_at=fitted.resumed_at,
            processes=processes.count(),
        )
        try:
            saving.save(model, source, record, self._progress / saving.STATE, self._folder, fitted.state)
        except StorageError as error:
            raise StorageError(f"{error}{self._saved_state()}") from error
        return record

    def _fit(self, model: Any, source: Source, prepared: Prepared, tasks: TaskScores | None) -> Fitted:
        stage, tokenizer = self._stage, source.tokenizer
        if stage.packing:
            loop.require_no_leak(model)
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        report = prepared.report
        data = Data(
            prepared.train,
            prepared.validation,
            pad=int(pad),
            epoch_steps=max(1, math.ceil(report.steps / report.epochs)),
            tasks=tasks,
        )
        try:
            with naming(f"stage {self._name}"), places.writing(self._progress, "choose another --output"):
                return loop.fit(
                    model,
                    data,
                    self._recipe.resolved(stage).arguments,
                    self._progress,
                    seed=self._recipe.seed,
                    title=self._name,
                    report=self._events.line,
                )
        except DivergedError as error:
            raise self._diverged(error, prepared) from error
        except StorageError as error:
            raise StorageError(f"{error}{self._saved_state()}") from error

    def _saved_state(self) -> str:
        """Return, as the end of a message, which state of the training is saved; half-written ones are removed."""
        state = states.newest(self._progress)
        return f"; the state of step {states.step_of(state)} is kept" if state else ""

    def _diverged(self, error: DivergedError, prepared: Prepared) -> HarnessError:
        names = self._stage.names
        examples = [
            f"{names[corpus]}, row {row:,}"
            for number in range(*error.rows)
            for corpus, row in prepared.train.sources(number)
        ]
        more = f" and {len(examples) - 3} more" if len(examples) > 3 else ""
        return HarnessError(
            f"stage {self._name}: {error} ({'; '.join(examples[:3])}{more}){self._saved_state()}: lower its "
            "learning_rate, or raise warmup_steps"
        )


def _public(reference: str) -> str:
    """Return a checkpoint reference without the folders of this machine."""
    return str(parse(reference).with_paths(public_paths.in_reference))


def _described(report: CorpusReport, recipe: Recipe) -> dict[str, Any]:
    """Return what the record keeps of a corpus: no path of this machine."""
    return {**asdict(report), "file": recipe.stated[report.name], "epochs": report.epochs}
