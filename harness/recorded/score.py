"""Recorded predictions → reports, without a model; the same tasks as in `harness run` read and score the answers.

Two answers to one document, an answer without a document, and a document without an answer stop the scoring. With
`keep_going`, the first answer to a document counts, and answers without a document are left out. A document without an
answer counts as answered by an empty text. The report says how many of each there were.

Not here: reading files (`harness.recorded.recordings`), which documents were answered (`harness.recorded.loading`),
joining them with answers (`harness.recorded.join`), or people's ratings (`harness.recorded.ratings`).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import harness
from harness.common import progress
from harness.common.limits import Limit
from harness.errors import HarnessError
from harness.recorded import join, recordings
from harness.recorded.join import Joined
from harness.recorded.loading import AnsweredTasks, TaskLoader
from harness.recorded.recordings import Recording
from harness.recorded.replay import Replay
from harness.reports.checkpoint_info import CheckpointInfo
from harness.reports.report import Manifest, Protocol, Report, TaskInfo
from harness.reports.writer import ReportWriter, new_folder
from harness.retrieval import articles as article_files
from harness.runs import environment
from harness.runs.manifest import public_reference
from harness.runs.samples import Row
from harness.runs.task_results import TaskResults
from harness.tasks.protocols.base import FromFile
from harness.tasks.task import FEWSHOT_SEED, Task
from harness.tasks.unscorable import TaskError

_OF_ANSWERS = (
    *("answers", "empty_answers", "cut_answers", "thoughts", "unfinished_thoughts"),
    *("not_understood", "doubtful_documents"),
)
"""The fields of `TaskInfo` that count answers; if a report is scored again, the new counts replace the report's."""


@dataclass(frozen=True)
class Scoring:
    """The predictions to score, and the settings for it."""

    predictions: Path
    """A file, a folder or a tar archive of recorded predictions."""
    output: Path
    """The folder that gets a report folder for each model."""
    task: str | None = None
    """The task that was answered, if the files do not say which, or the group (family) of the files' tasks."""
    comparisons: tuple[str, ...] = ()
    """The metrics that compare answers in words in test sets that are files
    (`own_files.question_files.COMPARISONS`)."""
    format: str | None = None
    """The format of the files, a key of `FORMATS`; if None, each file's format is recognised."""
    data: Path | None = None
    """A mirror of data sets: `DIR/<org>/<name>`."""
    limit: Limit | None = None
    """How many documents of each task were answered, from the first, or, below 1, which share; None is all."""
    name: str | None = None
    """The model's name in the report, if the predictions are those of one model."""
    articles: Path | None = None
    """The file of retrieved articles that prompts contained."""
    include: tuple[Path, ...] = ()
    """Additional folders with task definitions."""
    think: str | None = None
    """The marks around a thought, `START,END`, or `none` if answers have no thoughts; None tries all known families."""
    keep_paths: bool = False
    """Whether reports keep the absolute paths of this machine."""
    keep_going: bool = False
    """Whether to leave out malformed, repeated and surplus answers, and to count missing answers as empty."""


def score(scoring: Scoring) -> Iterator[Report]:
    """Score every recording at `scoring.predictions`; yield each report as soon as it is complete.

    Raises HarnessError for every mistake that the user can correct.
    """
    loader = TaskLoader(
        task=scoring.task,
        data=scoring.data,
        articles=scoring.articles,
        include=scoring.include,
        comparisons=scoring.comparisons,
    )
    to_score: Iterable[Recording] = recordings.find(
        scoring.predictions, task=scoring.task, format=scoring.format, keep_going=scoring.keep_going
    )
    if scoring.name:
        to_score = list(itertools.islice(to_score, 2))
        if len(to_score) > 1:
            raise HarnessError(f"{scoring.predictions} holds answers of several models: leave --name out")
    for recording in to_score:
        yield _report(recording, loader, scoring)


def _report(recording: Recording, loader: TaskLoader, scoring: Scoring) -> Report:
    started, created = time.perf_counter(), datetime.now(UTC)
    name = scoring.name or recording.name
    with progress.status(f"reading the tasks that {name} answered"):
        answered = loader.load(recording)
    tasks, results = answered.tasks, TaskResults(answered.tasks)
    notes = answered.notes
    with (
        ReportWriter(new_folder(scoring.output, name, created), keep_paths=scoring.keep_paths) as writer,
        progress.bar(name, len(tasks.tasks), "tasks") as bar,
    ):
        for task_name, task in tasks.tasks.items():
            bar.title(f"{name} · {task_name}")
            joined, rows = _score_task(task_name, answered, recording, results, scoring)
            notes += joined.notes
            writer.write_samples(task_name, rows, task.metric_names)
            task.release_requests()
            bar.advance(1)
        manifest = Manifest(
            harness=harness.__version__,
            created=created.isoformat(timespec="seconds"),
            seconds=time.perf_counter() - started,
            checkpoint=_checkpoint_info(recording, name, keep_paths=scoring.keep_paths),
            protocol=_protocol(recording, scoring),
            tasks={name: _task_info(name, info, recording) for name, info in results.infos.items()},
            scores=results.scores(),
            engine=None if recording.report is None else recording.report.manifest.engine,
            environment=environment.describe_scoring(),
            notes=[*notes, *([recording.note] if recording.note else []), *results.all_notes()],
        )
        content = results.results(manifest.scores)
        if recording.report is not None:  # its answers followed the examples of the run, which are not drawn again
            content["n-shot"] = {name: info.num_fewshot for name, info in manifest.tasks.items()}
        return writer.finish(manifest, content, _paths(recording, scoring))


def _score_task(
    name: str, answered: AnsweredTasks, recording: Recording, results: TaskResults, scoring: Scoring
) -> tuple[Joined, list[Row]]:
    """Score one task and add it to `results`; return the task's joined answers and its report rows."""
    started = time.perf_counter()
    task, answers = answered.tasks.tasks[name], answered.answers[name]
    has_own_documents = name in answered.with_own_documents
    limit = scoring.limit or (recording.report.manifest.protocol.limit if recording.report else None)
    joined = join.join(
        task,
        answers,
        answered.matches[name],
        has_own_documents=has_own_documents,
        limit=limit,
        keep_going=scoring.keep_going,
    )
    replay = Replay(joined, drops_end_marks=isinstance(task.lm_eval, FromFile), think=scoring.think)
    try:
        outcome = _evaluate(task, replay, limit)
    except (TaskError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if not has_own_documents:
            raise
        reason = error.reason if isinstance(error, TaskError) else error or type(error).__name__
        raise HarnessError(
            f"{answers.origin}: {name} cannot be scored by the references in it ({reason}): correct them, or name the "
            "task's data with --data"
        ) from error
    seconds = time.perf_counter() - started
    rows = results.add(name, outcome, replay.work, seconds, recorded_prompt=joined.prompt_columns)
    joined.notes.extend(replay.notes(name) if recording.report is None else [])
    if has_own_documents and recording.report is None:
        for row in rows:  # a question of the file may be a whole prompt, in which no template finds what is shared
            row["cluster"] = None
    return joined, rows


def _evaluate(task: Task, replay: Replay, limit: Limit | None) -> dict[str, Any]:
    """Return lm-eval's outcome of `task` with the recorded responses."""
    task.repeats = replay.joined.repeats
    with task.scored_by(replay.joined.score_function(task)):
        return task.evaluate(replay, limit=limit)


def _paths(recording: Recording, scoring: Scoring) -> list[str]:
    """Return the paths that notes on the scoring may mention."""
    places = (scoring.predictions, scoring.output, scoring.data, scoring.articles, *scoring.include)
    return [recording.origin, *(str(place) for place in places if place is not None)]


def _checkpoint_info(recording: Recording, name: str, *, keep_paths: bool) -> CheckpointInfo:
    if recording.report is not None:
        manifest = recording.report.manifest
        info = manifest.checkpoint.model_copy(update={"name": name})
        if keep_paths or manifest.protocol.recorded:  # predictions: a path, which the writer reduces
            return info
        return info.model_copy(update={"reference": public_reference(info.reference)})
    return CheckpointInfo(
        name=name, reference=recording.origin, kind="recorded", base=name, fingerprint=recording.fingerprint
    )


def _task_info(name: str, info: TaskInfo, recording: Recording) -> TaskInfo:
    """Return `info`, or for a report scored again, the report's own info with version and documents from `info`."""
    if recording.report is None:
        return info
    original = recording.report.manifest.tasks[name]
    update = info.model_dump(include={"version", "dataset", "documents", "documents_in_split", *_OF_ANSWERS})
    if info.documents == original.documents:  # a report does not say which of its answers followed a thought
        del update["thoughts"]
    return original.model_copy(update=update)


def _protocol(recording: Recording, scoring: Scoring) -> Protocol:
    if recording.report is not None:
        return recording.report.manifest.protocol
    articles = None if scoring.articles is None else article_files.digest(scoring.articles)
    return Protocol(limit=scoring.limit, seed=FEWSHOT_SEED, articles=articles, recorded=recording.format.name)
