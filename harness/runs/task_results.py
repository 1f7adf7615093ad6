"""The results of a run's tasks: lm-eval's outcome of each task → report rows, scores and notes.

Not here: who answers (`harness.runs.run` asks a checkpoint, `harness.recorded.score` reads a file), or writing
reports.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from harness.backends.letters import Letters
from harness.backends.work import Work
from harness.common.failures import Failure, listed, reason
from harness.common.limits import Limit, documents_within
from harness.common.visible import has_visible
from harness.data.sources import DataSource
from harness.engine.decoding.settings import max_tokens
from harness.reports import public_paths
from harness.reports.numbers_in_words import counted, first_and_count
from harness.reports.report import Score, TaskInfo
from harness.runs import samples
from harness.runs.lm_eval_results import LmEvalResults, result_key
from harness.runs.scores import Scores
from harness.tasks import clusters
from harness.tasks.task import Task
from harness.tasks.task_set import TaskSet

RecordedPrompt = Callable[[samples.Row], samples.Row]
"""Returns, for a report row of a document answered elsewhere, the columns that state the prompt used there."""


def expected_requests(task: Task, limit: Limit | None) -> int:
    """Return how many requests `task` makes for its first `limit` documents, or for that share of them."""
    documents = task.documents
    count = documents_within(limit, len(documents))
    requests_per_document = len(task.choices(documents[0])) if task.output_type == "multiple_choice" else 1
    return count * requests_per_document * task.repeats


def identity(task: Task, source: DataSource | None) -> dict[str, Any]:
    """Return what identifies the questions of `task`: its version, its data set and the split they come from."""
    dataset = public_paths.data_set(str(source or task.dataset))
    return {"version": task.version, "dataset": dataset, "split": task.split}


class TaskResults:
    """The results of the tasks that were evaluated so far, collected for one report."""

    def __init__(self, tasks: TaskSet) -> None:
        self.tasks = tasks
        self.infos: dict[str, TaskInfo] = {}
        """What the report's manifest says about each task."""
        self.notes: list[str] = []
        """What a reader of the report should know about single tasks."""
        self.split_letters: dict[str, Letters] = {}
        """For tasks whose answer letters are not single tokens: the tokens of these letters."""
        self.unscorable: dict[str, list[Failure]] = {}
        """The failures of documents whose answers could not be scored, by task."""
        self.left_out: dict[str, list[Failure]] = {}
        """The documents that were left out, by task."""
        self._failed: dict[str, str] = dict(tasks.failed)
        """The tasks and metrics that failed, and why."""
        self._scores = Scores(tasks)
        self._lm_eval = LmEvalResults()
        self._undefined: dict[str, list[str]] = {}
        """The tasks for which a metric is NaN or infinite, by the metric's name."""
        self._unscored: list[str] = []
        """The tasks whose data hold no answers."""

    def rows(self, name: str, logged: Iterable[Mapping[str, Any]]) -> list[samples.Row]:
        """Return the report rows of the task's samples as lm-eval logged them."""
        task = self.tasks.tasks[name]
        cluster = clusters.key(task, self.tasks.sources.get(name))
        rows = []
        for sample in logged:
            row = samples.row(sample, cluster(sample["doc"]))
            if "responses" in row:
                values = {metric: sample[metric] for metric in sample["metrics"]}
                row["understood"] = task.understood(sample["doc"], row["prediction"], row["filter"], values)
            rows.append(row)
        return rows

    def add(
        self,
        name: str,
        outcome: dict[str, Any],
        work: Work,
        seconds: float,
        *,
        recorded_prompt: RecordedPrompt | None = None,
    ) -> list[samples.Row]:
        """Add lm-eval's outcome of the task `name`, and return its report rows in document order.

        If the documents were answered elsewhere, `recorded_prompt` replaces the prompt that lm-eval rendered.
        """
        task, source = self.tasks.tasks[name], self.tasks.sources.get(name)
        rows = self.rows(name, outcome.pop("samples")[name])
        if failures := outcome.pop("unscorable", []):
            self.unscorable[name] = failures
        if left_out := outcome.pop("left_out", []):
            self.left_out[name] = left_out
        for metric, why in outcome.pop("failed_metrics", {}).items():
            self._failed[f"{name} {metric}"] = why
        if recorded_prompt is not None:
            for row in rows:
                row |= recorded_prompt(row)
        rows.sort(key=lambda row: row["doc_id"])
        estimates = self._scores.add(name, rows, outcome["results"][name])
        for metric, estimate in estimates.items():
            if estimate is None:
                self._undefined.setdefault(metric.name, []).append(name)
        if not any(result_key(metric) in outcome["results"][name] for metric in task.metrics):
            self._unscored.append(name)
        self._lm_eval.add(name, outcome, estimates, source)
        info = _info(task, source, rows, work, seconds, is_recorded=recorded_prompt is not None)
        self.infos[name] = info.model_copy(update={"failed_documents": [failure.doc_id for failure in left_out]})
        self.notes += [f"{name}: {note}" for note in task.metadata.file_notes]
        if recorded_prompt is None and task.leaked_questions:
            questions = counted(task.leaked_questions, "question")
            self.notes.append(f"{name}: the few-shot examples of {questions} have the question itself, with its answer")
        return rows

    def fail(self, name: str, error: Exception) -> None:
        """Record that the task `name` failed; nothing of it is reported."""
        for results in (self.infos, self.unscorable, self.left_out, self.split_letters):
            results.pop(name, None)
        for metrics in self._undefined.values():
            if name in metrics:
                metrics.remove(name)
        self._undefined = {metric: names for metric, names in self._undefined.items() if names}
        self._unscored = [unscored for unscored in self._unscored if unscored != name]
        self.notes = [note for note in self.notes if not note.startswith(f"{name}: ")]
        self._failed = {key: why for key, why in self._failed.items() if not key.startswith(f"{name} ")}
        self._failed[name] = reason(error)
        self._scores.remove(name)
        self._lm_eval.remove(name)

    @property
    def failed(self) -> dict[str, str]:
        """The tasks, averages and metrics without a score because something failed, and why."""
        averages = {}
        for declared in self.tasks.averages:
            members = [name for name in declared.average.tasks if name in self._failed]
            if members:
                averages[declared.average.name] = f"{first_and_count(members, 'task')} failed, so there is no average"
        return averages | self._failed

    def add_windows(self, name: str, size: int, stride: int) -> None:
        """Record the windows (in tokens) in which a task's texts were read; other windows make other questions."""
        self.notes.append(f"{name}: windows of {size:,} tokens, moving by {stride:,}")
        info = self.infos[name]
        prompt_hash = hashlib.sha256(f"{info.prompt_hash} {size} {stride}".encode()).hexdigest()
        self.infos[name] = info.model_copy(update={"prompt_hash": prompt_hash})

    def all_notes(self) -> list[str]:
        """Return everything that a reader of the report should know about the tasks."""
        notes = list(self.notes)
        for metric, names in self._undefined.items():
            notes.append(f"{first_and_count(names, 'task')}: {metric} is NaN or infinite and left out")
        if self._unscored:
            tasks = first_and_count(self._unscored, "task")
            notes.append(f"{tasks}: the data hold no answers, so predictions are kept and nothing is scored")
        notes += [_unscorable_note(name, failures) for name, failures in self.unscorable.items()]
        notes += [_left_out_note(name, failures) for name, failures in self.left_out.items()]
        notes += [f"left out: {name}: {why}" for name, why in self.failed.items()]
        for declared in self.tasks.averages:
            members = [name for name in declared.average.tasks if name in self.left_out]
            if members and declared.average.name not in self.failed:
                count = counted(sum(len(self.left_out[name]) for name in members), "document")
                notes.append(f"{declared.average.name} is incomplete: {count} of its tasks failed")
        if self.split_letters:
            letters = next(iter(self.split_letters.values()))
            tasks = first_and_count(self.split_letters, "task")
            notes.append(f"{tasks}: letters are {letters}, so each is scored over all its tokens")
        return notes

    def scores(self) -> list[Score]:
        """Return every score, in the order in which reports show them (`Scores.ordered`)."""
        return self._scores.ordered()

    def results(self, scores: Sequence[Score]) -> dict[str, Any]:
        """Return the content of results.json: lm-eval's result schema, with the averages among `scores` as groups."""
        return self._lm_eval.merged(scores, self.tasks.subtasks)


def _info(
    task: Task, source: DataSource | None, rows: Sequence[samples.Row], work: Work, seconds: float, *, is_recorded: bool
) -> TaskInfo:
    prompt_hashes = {row["doc_id"]: row["prompt_hash"] for row in rows}
    primary = [row for row in rows if row["filter"] == task.metrics[0].filter]
    has_notion = any(row.get("understood") is not None for row in primary)
    return TaskInfo(
        **identity(task, source),
        num_fewshot=None if is_recorded else task.num_fewshot,
        documents=len(prompt_hashes),
        documents_in_split=len(task.documents),
        prompt_hash=hashlib.sha256("".join(prompt_hashes.values()).encode()).hexdigest(),
        truncated=work.truncated,
        seconds=seconds,
        tokens_fed=work.tokens_fed,
        tokens_generated=work.tokens_generated,
        thoughts=work.thoughts,
        unfinished_thoughts=work.unfinished_thoughts,
        answers=work.generations,
        empty_answers=work.empty_answers,
        cut_answers=None if work.answers_of_unknown_ending else work.cut_answers,
        answer_limit=None if is_recorded or not work.generations else _answer_limit(task),
        not_understood=len(_not_understood(primary)) if has_notion else None,
        doubtful_documents=sum(map(_is_doubtful, primary)),
    )


def _not_understood(rows: Sequence[samples.Row]) -> list[samples.Row]:
    """Return the documents whose answer has text in which nothing was understood.

    `rows` are those of the primary filter.
    """
    return [row for row in rows if row.get("understood") is False and any(map(has_visible, row["responses"]))]


def _is_doubtful(row: samples.Row) -> bool:
    """Return whether a document's answer, or most of its answers, are empty, cut, unfinished or not understood."""
    if "responses" not in row:
        return False
    spoiled = sum(ending in ("empty", "limit", "thought") for ending in row["endings"])
    return 2 * spoiled > len(row["responses"]) or bool(_not_understood([row]))


def _answer_limit(task: Task) -> int | None:
    """Return the largest number of tokens of an answer; None if the task's protocol derives it from the prompts."""
    return max_tokens(task.generation_settings) if task.output_type == "generate_until" else None


def _left_out_note(name: str, failures: Sequence[Failure]) -> str:
    return f"left out: {counted(len(failures), 'document')} of {name} failed: {listed(failures)}"


def _unscorable_note(name: str, failures: Sequence[Failure]) -> str:
    first = failures[0]
    documents = counted(len(failures), "document")
    verb = "counts" if len(failures) == 1 else "count"
    return (
        f"task {name}: {documents} could not be scored (document {first.doc_id}: {first.message}) and {verb} as wrong, "
        "like an empty answer"
    )
