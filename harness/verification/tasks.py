"""The tasks of a report as they are now: loaded on the data at hand, with the recorded references where those count.

Tasks are loaded together, as in the run, because some of lm-eval's tasks draw from one random stream while they load;
if that fails, each task is loaded on its own, so that missing data of one task leave the others checked.

Not here: prompts and scores (`harness.verification.rescoring`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from harness.common import paths
from harness.errors import HarnessError
from harness.recorded import join
from harness.recorded.loading import AnsweredTasks, TaskLoader, requested_names
from harness.recorded.recordings import Recording
from harness.reports.report import Report
from harness.retrieval import articles as article_files
from harness.runs.sweep import load_tasks
from harness.tasks import index as task_index
from harness.tasks.catalogue import Catalogue
from harness.tasks.own_files import file_tasks
from harness.tasks.task import Score, Task
from harness.tasks.task_set import TaskSet
from harness.verification.settings import Settings

_OWN_DOCUMENTS = " as recorded"
"""The end of a data set's name if the documents are those in the file of recorded predictions."""
_PROMPTED = "lawbench"
"""The format of recorded predictions whose answers are scored by the questions in the same file."""


class LoadedTask(NamedTuple):
    """One task of a report, as it is now."""

    tasks: TaskSet
    """A set of tasks that contains this task."""
    task: Task
    score: Score | None = None
    """The function that scores documents, if it is not the task's own."""
    without_articles: str = ""
    """Why prompts lack the articles that they contained in the run. Empty if they have them, or never had any."""


class TaskSource:
    """Loads the tasks of one report."""

    def __init__(self, report: Report, settings: Settings, recording: Recording | None) -> None:
        """Prepare to load tasks. Documents that are only in recorded predictions are taken from `recording`."""
        self._report, self._settings, self._recording = report, settings, recording
        self._catalogue = Catalogue(settings.include)
        self._together: TaskSet | None = None
        self._answered: dict[bool, AnsweredTasks] = {}

    def load(self, name: str) -> LoadedTask:
        """Return the task `name`. Raise HarnessError if the task, its data or its references are not at hand."""
        manifest = self._report.manifest
        has_own_documents = _OWN_DOCUMENTS in manifest.tasks[name].dataset
        if has_own_documents or manifest.protocol.recorded == _PROMPTED:
            return self._recorded(name, has_own_documents=has_own_documents)
        file = self._articles()
        spelled = self._spelled(name)
        if file_tasks.names_files(spelled):
            options = self._settings.options(self._report, (spelled,))
            tasks = load_tasks(Catalogue(self._settings.include, options.comparisons), options)
        else:
            tasks = self._loaded(spelled, file)
        if name not in tasks.tasks:
            raise HarnessError(f"there is no task '{name}' now")
        task = tasks.tasks[name]
        expected = manifest.protocol.articles
        lacks = expected is not None and file is None and task.takes_articles
        reason = f"--articles does not name the file whose sha256 is {expected}" if lacks else ""
        return LoadedTask(tasks, task, without_articles=reason)

    def _loaded(self, name: str, articles: Path | None) -> TaskSet:
        """Return all tasks of the report that are not files. If they cannot be loaded together, return only `name`."""
        if self._together is None:
            names = [item for item in self._requested() if not self._is_file(item)]
            try:
                self._together = self._load(tuple(names), articles)
            except HarnessError:
                self._together = TaskSet()
        return self._together if name in self._together.tasks else self._load((name,), articles)

    def _load(self, names: tuple[str, ...], articles: Path | None) -> TaskSet:
        return load_tasks(self._catalogue, self._settings.options(self._report, names, articles=articles))

    def _spelled(self, name: str) -> str:
        """Return the name by which to load a task: its file's, if the user named the file or it is in this folder.

        Raises HarnessError if `name` is a path or a pattern. No task in a manifest has such a name, and a report must
        not decide which files are read.
        """
        spelled = self._settings.task_name(name)
        if spelled == name and any(letter in name for letter in "/\\:*?["):
            raise HarnessError(f"'{name}' is not the name of a task")
        if spelled == name and self._is_file(name) and not paths.exists(name):
            raise HarnessError("it was made of a file: name that with --task")
        return spelled

    def _is_file(self, name: str) -> bool:
        """Return whether a task of the report was made of a user's own file."""
        if file_tasks.names_files(self._settings.task_name(name)):
            return True
        metrics = {score.metric for score in self._report.manifest.scores if score.task == name}
        return name.startswith(file_tasks.task_name(file_tasks.PREFIX)) and "bits_per_character" in metrics

    def _requested(self) -> list[str]:
        """Return the names by which the run was started, or just its tasks if results.json says nothing sensible."""
        tasks = list(self._report.manifest.tasks)
        try:
            names = requested_names(self._report)
            groups = [name for name in names if name not in tasks]
            members = {leaf for name in groups for leaf in task_index.leaves(name, self._catalogue.index_for([name]))}
        except (HarnessError, AttributeError, LookupError, RecursionError, TypeError):
            return tasks
        return names if members <= {*tasks} else tasks

    def _articles(self) -> Path | None:
        """Return the file of articles if it is the one that the run used."""
        file, expected = self._settings.articles, self._report.manifest.protocol.articles
        has_them = file is not None and expected is not None and file.is_file()
        return file if has_them and file is not None and article_files.digest(file) == expected else None

    def _recorded(self, name: str, *, has_own_documents: bool) -> LoadedTask:
        """Return a task that is scored by what the recorded predictions hold besides answers."""
        if self._recording is None:
            raise HarnessError("its references are in the file of the predictions: name that with --model")
        if has_own_documents not in self._answered:
            loader = TaskLoader(
                task=None,
                data=None if has_own_documents else self._settings.data,
                articles=self._settings.articles,
                include=self._settings.include,
                comparisons=(),
            )
            self._answered[has_own_documents] = loader.load(self._recording)
        answered = self._answered[has_own_documents]
        if name not in answered.tasks.tasks:
            raise HarnessError("the predictions do not answer it")
        task = answered.tasks.tasks[name]
        return LoadedTask(answered.tasks, task, self._score_function(name, answered))

    def _score_function(self, name: str, answered: AnsweredTasks) -> Callable[..., dict[str, object]]:
        task = answered.tasks.tasks[name]
        joined = join.join(
            task,
            answered.answers[name],
            answered.matches[name],
            has_own_documents=name in answered.with_own_documents,
            limit=self._report.manifest.protocol.limit,
            keep_going=True,
        )
        return joined.score_function(task)
