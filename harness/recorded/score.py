"""Recorded predictions → reports, with no model: the tasks of `harness run` read and score what was said elsewhere.

The documents are those of the task's data where these are at hand and hold the questions and references that the file
has; otherwise a file that has references of its own is scored by them. Which document an answer belongs to is said by
its place, or by its id. Two answers to one document, an answer to none, and a document without answer stop the scoring;
told to keep going, the first answer counts, surplus ones are left out, a document without answer counts as answered
by nothing, and the report says how many.

Not here: reading files (`harness.recorded.predictions`), which answer is to which document (`harness.recorded.join`),
or people's ratings (`harness.recorded.ratings`).
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import harness
from harness.backends.work import Work
from harness.common import progress
from harness.data.sources import DataSource
from harness.errors import HarnessError
from harness.recorded import join, match, predictions
from harness.recorded.join import Joined
from harness.recorded.match import Matched
from harness.recorded.predictions import Recording
from harness.recorded.recordings import Response
from harness.reports.report import CheckpointInfo, Manifest, Protocol, Report, TaskInfo
from harness.reports.writer import ReportWriter, new_folder
from harness.retrieval import files
from harness.runs import environment
from harness.runs.task_results import TaskResults
from harness.tasks import index as task_index
from harness.tasks.catalogue import Catalogue
from harness.tasks.own_files import file_tasks
from harness.tasks.task import FEWSHOT_SEED
from harness.tasks.task_set import TaskSet


@dataclass(frozen=True)
class Scoring:
    """What is to be scored, and how."""

    predictions: Path
    output: Path
    task: str | None = None
    """What was asked, where the files do not say; of a family's files, the family."""
    format: str | None = None
    data: Path | None = None
    limit: int | None = None
    """Only the first so many documents of each task were asked."""
    name: str | None = None
    """What to call the one who answered, where that is one."""
    articles: Path | None = None
    """The file of retrieved articles that prompts had."""
    include: tuple[Path, ...] = ()
    keep_going: bool = False


def score(scoring: Scoring) -> Iterator[Report]:
    """Score every recording at `scoring.predictions`; yield each one's report as it is complete.

    Raises HarnessError on whatever the user can mend.
    """
    loader = _Loader(scoring)
    found: Iterable[Recording] = predictions.find(
        scoring.predictions, task=scoring.task, format=scoring.format, keep_going=scoring.keep_going
    )
    if scoring.name:
        found = list(itertools.islice(found, 2))
        if len(found) > 1:
            raise HarnessError(f"{scoring.predictions} holds answers of several: leave --name out")
    for recording in found:
        yield _report(recording, loader, scoring)


def _report(recording: Recording, loader: _Loader, scoring: Scoring) -> Report:
    started, created = time.perf_counter(), datetime.now(UTC)
    name = scoring.name or recording.name
    with progress.status(f"reading the tasks that {name} answered"):
        tasks, recorded, matched, notes = loader.load(recording)
    answers = {file_tasks.called(one.task): one for one in recording.tasks}
    limit = scoring.limit or (recording.report.manifest.protocol.limit if recording.report else None)
    outcome = TaskResults(tasks)
    with (
        ReportWriter(new_folder(scoring.output, name, created)) as writer,
        progress.bar(name, len(tasks.tasks), "tasks") as bar,
    ):
        for task_name, task in tasks.tasks.items():
            bar.title(f"{name} · {task_name}")
            clock = time.perf_counter()
            joined = join.join(
                task,
                answers[task_name],
                matched[task_name],
                own_documents=task_name in recorded,
                limit=limit,
                keep_going=scoring.keep_going,
            )
            notes += joined.notes
            task.repeats = joined.repeats
            try:
                with task.scored_by(joined.scored_as_asked(task)):
                    result = task.evaluate(_Replay(joined), limit=limit)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                if task_name not in recorded:
                    raise
                raise HarnessError(
                    f"{answers[task_name].origin}: {task_name} cannot be scored by the references in it "
                    f"({error or type(error).__name__}): correct them, or name the task's data with --data"
                ) from error
            rows = outcome.add(task_name, result, Work(), time.perf_counter() - clock, recorded_prompt=joined.asked)
            if task_name in recorded and recording.report is None:
                for row in rows:  # a question of the file may be a whole prompt, of which no template knows the parts
                    row["cluster"] = None
            writer.write_samples(task_name, rows, task.metric_names)
            task.release_requests()
            bar.advance(1)
        manifest = Manifest(
            harness=harness.__version__,
            created=created.isoformat(timespec="seconds"),
            seconds=time.perf_counter() - started,
            checkpoint=_answerer(recording, name),
            protocol=_protocol(recording, scoring),
            tasks={name: _as_asked(name, info, recording) for name, info in outcome.infos.items()},
            scores=outcome.scores(),
            engine=None if recording.report is None else recording.report.manifest.engine,
            environment=environment.describe_scoring(),
            notes=[*notes, *([recording.note] if recording.note else []), *outcome.all_notes()],
        )
        return writer.finish(manifest, outcome.results(manifest.scores))


def _answerer(recording: Recording, name: str) -> CheckpointInfo:
    if recording.report is not None:
        return recording.report.manifest.checkpoint.model_copy(update={"name": name})
    return CheckpointInfo(
        name=name, reference=recording.origin, kind="recorded", base=name, fingerprint=recording.fingerprint
    )


def _as_asked(name: str, info: TaskInfo, recording: Recording) -> TaskInfo:
    """Return what is known of a task, with what a report that is scored again says of how it was asked."""
    if recording.report is None:
        return info
    asked = recording.report.manifest.tasks[name]
    return asked.model_copy(update=info.model_dump(include={"version", "dataset", "documents", "documents_in_split"}))


def _protocol(recording: Recording, scoring: Scoring) -> Protocol:
    if recording.report is not None:
        return recording.report.manifest.protocol
    articles = None if scoring.articles is None else files.digest(scoring.articles)
    return Protocol(limit=scoring.limit, seed=FEWSHOT_SEED, articles=articles, recorded=recording.format.name)


# --- which documents --------------------------------------------------------------------------------------------------


class _Tasks(NamedTuple):
    """The tasks that were answered, on the documents that were answered."""

    tasks: TaskSet
    recorded: frozenset[str]
    """Those whose documents are the recording's own."""
    matched: dict[str, Matched]
    """Which document each answer is to."""
    notes: list[str]


class _Loader:
    """Builds the tasks that recordings answer; on the data at hand, they are kept for the next recording."""

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring
        self._catalogue = Catalogue(scoring.include)
        self._loaded: dict[tuple[str, ...], TaskSet] = {}

    def load(self, recording: Recording) -> _Tasks:
        """Return the tasks of `recording`; raise HarnessError where the data at hand are others."""
        names = [one.task for one in recording.tasks]
        sources = self._sources(recording)
        told = self._scoring.task
        asked, notes = self._asked(names, (told,) if told else recording.format.families)
        if recording.report is not None:
            paths = {file_tasks.called(name): name for name in names}
            asked = [paths.get(name, name) for name in _headlines(recording.report)]
            when = recording.report.manifest.created
            notes.append(f"answers of {when}, scored again from {recording.report.folder}")
        alone = {
            one.task
            for one in recording.tasks
            if one.answers and all(answer.complete for answer in one.answers) and not file_tasks.names_files(one.task)
        }
        absent = {name for name in alone if sources[name].folder is None and not sources[name].made}
        if absent:
            notes.append(
                f"{_some(sorted(absent))}: scored by the references in the file; documents would be those of a run if "
                "their data were named with --data"
            )
        tasks = self._built(asked, absent, recording)
        matched = {
            file_tasks.called(one.task): match.own(one)
            if one.task in absent
            else match.match(tasks.tasks[file_tasks.called(one.task)], one)
            for one in recording.tasks
        }
        strange = [one for one in recording.tasks if matched[file_tasks.called(one.task)].strange]
        for one in strange:
            why = matched[file_tasks.called(one.task)].strange
            if one.task not in alone:
                raise HarnessError(f"{why}: name the data that were asked with --data")
            notes.append(f"{one.task}: scored by the references in the file, since {why}")
            matched[one.task] = match.own(one)
        recorded = absent | {one.task for one in strange}
        if strange:
            tasks = self._built(asked, recorded, recording)
        return _Tasks(tasks, frozenset(recorded), matched, notes)

    def _sources(self, recording: Recording) -> dict[str, DataSource]:
        found: dict[str, DataSource] = {}
        for one in recording.tasks:
            try:
                source = self._catalogue.sources([one.task], self._scoring.data)
            except HarnessError as error:
                raise HarnessError(f"{one.origin}: {error}") from error
            if list(source) != [one.task]:
                raise HarnessError(f"{one.origin}: '{one.task}' is {len(source)} tasks: name the one that was asked")
            found |= source
        return found

    def _asked(self, names: list[str], groups: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return the group whose tasks are exactly `names`, for its averages, or else `names`; and notes.

        It is one of `groups`, or, where there are none, of our own.
        """
        for group in groups:
            if file_tasks.names_files(group):
                continue
            index = self._catalogue.index_for([group])
            inside = task_index.leaves(group, index)
            if group in names or not {*names} <= {*inside}:
                continue
            lacking = [leaf for leaf in inside if leaf not in names]
            if not lacking:
                return [group], []
            answered = [leaf for leaf in inside if leaf in names]
            return answered, [f"{group} gets no average: not answered are {', '.join(lacking)}"]
        if not groups and len(names) > 1:
            own = self._catalogue.own
            for group in (name for name, entry in own.items() if entry.kind.name == "GROUP"):
                if {*task_index.leaves(group, own)} == {*names}:
                    return [group], []
        return names, []

    def _built(self, asked: Sequence[str], recorded: set[str], recording: Recording) -> TaskSet:
        key = tuple(asked)
        self._require_articles(recording)
        self._require_whole(recording)
        if not recorded and key in self._loaded:
            return self._loaded[key]
        documents = {
            one.task: [answer.document for answer in match.ordered(one)]
            for one in recording.tasks
            if one.task in recorded
        }
        found = self._catalogue.load(asked, self._scoring.data, num_fewshot=0, documents=documents)
        if self._scoring.articles is not None:
            files.give(found.tasks.values(), self._scoring.articles)
        if not recorded:
            self._loaded[key] = found
        return found

    def _require_whole(self, recording: Recording) -> None:
        """Raise HarnessError where a report's documents were drawn at random, and not all of them."""
        if recording.report is None:
            return
        manifest = recording.report.manifest
        for told in filter(None, map(manifest.stopped, manifest.tasks)):
            raise HarnessError(f"{recording.origin}: {told}: only a whole run can be scored again")

    def _require_articles(self, recording: Recording) -> None:
        """Raise HarnessError where a report's prompts had other retrieved articles than are given."""
        if recording.report is None or (wanted := recording.report.manifest.protocol.articles) is None:
            return
        file = self._scoring.articles
        if file is None or not file.is_file() or files.digest(file) != wanted:
            raise HarnessError(
                f"{recording.origin}: its prompts had articles retrieved by 'harness retrieve': name that file with "
                f"--articles (its sha256 is {wanted[:12]}…)"
            )


def _headlines(report: Report) -> list[str]:
    """Return the groups and tasks that the run was asked for, in its order."""
    groups = report.results.get("group_subtasks") or {}
    inside = {member for members in groups.values() for member in members}
    order = list(report.manifest.tasks)

    def place(name: str) -> int:
        if name in groups:
            return min(map(place, groups[name]), default=0)
        return order.index(name) if name in order else len(order)

    return sorted((name for name in (*groups, *order) if name not in inside), key=place)


def _some(names: Sequence[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more tasks" if len(names) > 1 else "")


# --- in place of a model ----------------------------------------------------------------------------------------------


class _Replay:
    """Stands where lm-eval has a model: whatever kind of request is made, the recorded response is given."""

    rank, world_size = 0, 1

    def __init__(self, joined: Joined) -> None:
        self._joined = joined

    def __getattr__(self, kind: str) -> Callable[[Sequence[Any]], list[Response]]:
        if kind.startswith("_") or kind.isupper():
            raise AttributeError(kind)
        return self._answer

    def _answer(self, requests: Sequence[Any]) -> list[Response]:
        asked: Counter[tuple[int, int]] = Counter()
        given = []
        for request in requests:
            responses = self._joined.responses[request.doc_id]
            if request.idx >= len(responses):
                answer = self._joined.answers[request.doc_id]
                where = answer.where if answer else self._joined.task
                raise HarnessError(f"{where}, has {len(responses)} responses, {self._joined.task} asks for more")
            given.append(responses[request.idx][asked[request.doc_id, request.idx]])
            asked[request.doc_id, request.idx] += 1
        for place, count in Counter(place for place, _ in asked).items():
            answer = self._joined.answers[place]
            if answer and count < len(answer.responses):
                raise HarnessError(
                    f"{answer.where}, has {len(answer.responses)} responses, {self._joined.task} asks for {count}"
                )
        return given
