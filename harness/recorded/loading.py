"""The tasks that a recording answers, loaded with the documents that were answered.

The documents are those of the task's data if that data is on this machine and agrees with the questions and references
in the recording's file. Otherwise, if the file contains everything needed for scoring, its own documents are used.

Not here: scoring (`harness.recorded.score`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.data.sources import DataSource
from harness.errors import HarnessError
from harness.recorded import match
from harness.recorded.answers import TaskAnswers
from harness.recorded.match import Matches
from harness.recorded.recordings import Recording
from harness.reports.numbers_in_words import first_and_count
from harness.reports.report import Report
from harness.retrieval import articles as article_files
from harness.tasks import index as task_index
from harness.tasks.catalogue import Catalogue
from harness.tasks.own_files import file_tasks
from harness.tasks.task_set import TaskSet


class AnsweredTasks(NamedTuple):
    """The tasks that a recording answers, on the documents that were answered."""

    tasks: TaskSet
    answers: dict[str, TaskAnswers]
    """The answers to each task, by the task's name."""
    matches: dict[str, Matches]
    """The places of the documents that the answers belong to, by the task's name."""
    with_own_documents: frozenset[str]
    """The tasks whose documents are those in the recording's file."""
    notes: list[str]
    """What a reader of the report should know about the documents."""


class TaskLoader:
    """Loads the tasks of one recording after another; tasks built on local data are kept for the next recording."""

    def __init__(
        self,
        *,
        task: str | None,
        data: Path | None,
        articles: Path | None,
        include: Sequence[Path],
        comparisons: Sequence[str],
    ) -> None:
        """See `harness.recorded.score.Scoring` for the arguments."""
        self._task, self._data, self._articles = task, data, articles
        self._comparisons = comparisons
        self._catalogue = Catalogue(include, comparisons)
        self._loaded: dict[tuple[str, ...], TaskSet] = {}

    def load(self, recording: Recording) -> AnsweredTasks:
        """Return the tasks of `recording`.

        Raises HarnessError if the local data differ from the data that were answered.
        """
        sources = self._sources(recording)
        file_tasks.require_answers_in_words([answers.task for answers in recording.tasks], self._comparisons)
        names, notes = self._selected(recording)
        self_contained = {answers.task for answers in recording.tasks if _is_self_contained(answers)}
        absent = {name for name in self_contained if sources[name].folder is None and not sources[name].is_generated}
        if absent:
            notes.append(
                f"{first_and_count(sorted(absent), 'task')}: scored by the references in the file; documents would be "
                "those of a run if their data were named with --data"
            )
        by_name = {file_tasks.task_name(answers.task): answers for answers in recording.tasks}
        tasks = self._build(names, absent, recording)
        matches = _match(tasks, by_name, absent)
        mismatches = {name: matched.mismatch for name, matched in matches.items() if matched.mismatch}
        for name, mismatch in mismatches.items():
            if name not in self_contained:
                raise HarnessError(f"{mismatch}: name the data that were answered with --data")
            notes.append(f"{name}: scored by the references in the file, because {mismatch}")
        with_own_documents = absent | {*mismatches}
        if mismatches:
            tasks = self._build(names, with_own_documents, recording)
            matches = _match(tasks, by_name, with_own_documents)
        return AnsweredTasks(tasks, by_name, matches, frozenset(with_own_documents), notes)

    def _sources(self, recording: Recording) -> dict[str, DataSource]:
        """Return the data source of each answered task; raise HarnessError if a name means no task or several."""
        sources: dict[str, DataSource] = {}
        for answers in recording.tasks:
            try:
                by_task = self._catalogue.sources([answers.task], self._data)
            except HarnessError as error:
                raise HarnessError(f"{answers.origin}: {error}") from error
            if list(by_task) != [answers.task]:
                raise HarnessError(
                    f"{answers.origin}: '{answers.task}' is {len(by_task)} tasks: name the one that was answered"
                )
            sources |= by_task
        return sources

    def _selected(self, recording: Recording) -> tuple[list[str], list[str]]:
        """Return the names of the tasks, or of the group, to load, and notes for readers of the report."""
        answered = [answers.task for answers in recording.tasks]
        families = (self._task,) if self._task else recording.format.families
        names, notes = self._group(answered, families)
        if recording.report is not None:
            by_called = {file_tasks.task_name(name): name for name in answered}
            names = [by_called.get(name, name) for name in requested_names(recording.report)]
            created = recording.report.manifest.created
            notes.append(f"answers of {created}, scored again from {recording.report.folder}")
        return names, notes

    def _group(self, answered: list[str], families: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return the group whose tasks are exactly the tasks `answered`, or else these tasks; in both cases with notes.

        With a group, the report has the averages of the group. The group is one of `families` or, if there are no
        families, one of this project's groups.
        """
        for family in families:
            if file_tasks.names_files(family):
                continue
            members = task_index.leaves(family, self._catalogue.index_for([family]))
            if family in answered or not {*answered} <= {*members}:
                continue
            missing = [member for member in members if member not in answered]
            if not missing:
                return [family], []
            ordered = [member for member in members if member in answered]
            return ordered, [f"{family} gets no average: there are no answers to {', '.join(missing)}"]
        if not families and len(answered) > 1:
            own = self._catalogue.own
            for group in (name for name, entry in own.items() if entry.kind.name == "GROUP"):
                if {*task_index.leaves(group, own)} == {*answered}:
                    return [group], []
        return answered, []

    def _build(self, names: Sequence[str], with_own_documents: set[str], recording: Recording) -> TaskSet:
        key = tuple(names)
        self._require_articles(recording)
        _require_complete_run(recording)
        if not with_own_documents and key in self._loaded:
            return self._loaded[key]
        documents = {
            answers.task: [answer.document for answer in match.one_per_document(answers)]
            for answers in recording.tasks
            if answers.task in with_own_documents
        }
        tasks = self._catalogue.load(names, self._data, num_fewshot=0, documents=documents)
        if self._articles is not None:
            article_files.add_to_tasks(tasks.tasks.values(), self._articles)
        if not with_own_documents:
            self._loaded[key] = tasks
        return tasks

    def _require_articles(self, recording: Recording) -> None:
        """Raise HarnessError if a report's prompts contain other retrieved articles than the file of --articles."""
        if recording.report is None or (expected := recording.report.manifest.protocol.articles) is None:
            return
        file = self._articles
        if file is None or not file.is_file() or article_files.digest(file) != expected:
            raise HarnessError(
                f"{recording.origin}: its prompts contain articles retrieved by 'harness retrieve': name that file "
                f"with --articles (its sha256 is {expected[:12]}…)"
            )


def _match(
    tasks: TaskSet, answers: Mapping[str, TaskAnswers], with_own_documents: Collection[str]
) -> dict[str, Matches]:
    """Return, for each task, which document each answer belongs to."""
    return {
        name: match.match_own_documents(task_answers)
        if name in with_own_documents
        else match.match(tasks.tasks[name], task_answers)
        for name, task_answers in answers.items()
    }


def _is_self_contained(answers: TaskAnswers) -> bool:
    """Return whether the answers' file contains everything that is needed to score them."""
    has_references = bool(answers.answers) and all(answer.complete for answer in answers.answers)
    return has_references and not file_tasks.names_files(answers.task)


def _require_complete_run(recording: Recording) -> None:
    """Raise HarnessError if a report has only a random part of the documents because its run stopped early."""
    if recording.report is None:
        return
    manifest = recording.report.manifest
    for stopped in filter(None, map(manifest.early_stop, manifest.tasks)):
        raise HarnessError(f"{recording.origin}: {stopped}: only a complete run can be scored again")


def requested_names(report: Report) -> list[str]:
    """Return the groups and tasks that the run of `report` was started with, in the run's order."""
    groups = report.results.get("group_subtasks") or {}
    members = {member for subtasks in groups.values() for member in subtasks}
    order = list(report.manifest.tasks)

    def place(name: str) -> int:
        if name in groups:
            return min(map(place, groups[name]), default=0)
        return order.index(name) if name in order else len(order)

    return sorted((name for name in (*groups, *order) if name not in members), key=place)
