"""Answers on which a task's filters or scorer fail: each is recorded as its document's failure and does not end a run.

A document whose answer raises an exception in a filter, in `process_results` or in an aggregation is scored as if the
answer were empty, but without credit. Values of metrics that are better when higher are then at most 0, and a ratio's
numerator is 0. The other parts of a metric's value (a denominator, the expected records) stay as the document requires.
A metric that the task does not return for an empty answer is left out for the document.

If the same document cannot be scored for an empty answer or for its own reference either, the task is at fault, not the
answer. The same holds if answers are likelihoods. `TaskError` then stops the evaluation.

HarnessError and MemoryError from a filter, the scorer or an aggregation of all values are not recorded but propagate.
If aggregating one value alone raises them, they are recorded like any other exception. A HarnessError about an empty
answer or about the reference becomes a `TaskError`.

With `keep_going`, a document is left out instead, with all its samples, if it cannot be rendered, answered or scored
whatever the answer; and a metric that cannot be aggregated is left out.

Not here: counting and reporting (`harness.runs.task_results`).
"""

from __future__ import annotations

import copy
import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from harness.common.failures import FailedAnswer, Failure, describe, ends_a_run, reason
from harness.errors import HarnessError
from harness.tasks.patched import patched


class TaskError(HarnessError):
    """A task that cannot score a document, whatever the answer."""

    def __init__(self, task: str, doc_id: int, answer: str, error: Exception) -> None:
        """State that document `doc_id` cannot be scored because of `error`; `answer` says with which answer."""
        self.cause = f"{answer}: {describe(error)}"
        """For which answer the document cannot be scored, and why."""
        self.reason = f"document {doc_id}, {self.cause}"
        super().__init__(f"task {task} cannot be scored ({self.reason}): correct its data or its definition")


class _Unfiltered(str):
    """A placeholder for the filtered answer of a document on which a filter failed."""

    __slots__ = ("error",)
    error: Exception


class _Unrendered(NamedTuple):
    """A placeholder for a prompt that could not be rendered."""

    error: Exception


class _Scored(NamedTuple):
    """One call of a task's scorer."""

    filter: str
    doc_id: int
    document: dict[str, Any]


class Guard:
    """Scores the documents of one lm-eval task; failures are recorded, not raised."""

    def __init__(self, task: Any, *, keep_going: bool = False) -> None:
        """Guard the lm-eval task object `task`; with `keep_going`, leave out what fails whatever the answer."""
        self._task = task
        self._keep_going = keep_going
        self._left_out: dict[int, Failure] = {}
        self.failed_metrics: dict[str, str] = {}
        """The metrics that cannot be aggregated, and why."""
        self._render, self._construct = task.fewshot_context, task.construct_requests
        self._name = str(task.config.task)
        self._score = task.process_results
        self._documents = task.doc_iterator
        self._aggregations = task.aggregation
        self._ensembles: list[Any] = list(getattr(task, "_filters", ()))
        """lm-eval's filters, each with its name and steps."""
        self._failures: dict[int, Failure] = {}
        self._filters: list[str] = []
        """The names of the filters for which the documents have not been scored yet."""
        self._current: _Scored | None = None
        self._scored: dict[str, list[list[_Scored]]] = {}
        """The scored documents that have a value, by metric and filter."""
        self._aggregated: Counter[str] = Counter()
        """For each metric: for how many filters it has been aggregated."""
        self._replaced: dict[tuple[str, int, str], Any] = {}
        """The values that replace values that cannot be aggregated, by filter, document and metric."""

    @property
    def failures(self) -> list[Failure]:
        """The first failure of each document that could not be scored and is not left out, in order."""
        return [self._failures[doc_id] for doc_id in sorted(self._failures.keys() - self._left_out.keys())]

    @property
    def left_out(self) -> list[Failure]:
        """The failure of each document that was left out, in the order of documents."""
        return [self._left_out[doc_id] for doc_id in sorted(self._left_out)]

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Guard the task until the `with` block ends."""
        replaced: dict[str, Callable[..., Any]] = {
            "apply_filters": self._apply_filters,
            "doc_iterator": self._iterate,
            "process_results": self._process_results,
            "aggregation": self._guarded_aggregations,
        }
        if self._keep_going:
            replaced |= {"fewshot_context": self._fewshot_context, "construct_requests": self._construct_requests}
        with patched(self._task, replaced):
            yield

    def correct(self, samples: list[dict[str, Any]]) -> None:
        """Replace or remove, in lm-eval's logged samples, the values that could not be aggregated.

        The samples of documents that were left out are removed.
        """
        samples[:] = [sample for sample in samples if sample["doc_id"] not in self._left_out]
        for (filter, doc_id, metric), value in self._replaced.items():
            for sample in samples:
                if (sample["filter"], sample["doc_id"]) == (filter, doc_id):
                    sample[metric] = value
                    if value is None:
                        sample["metrics"].remove(metric)

    def aggregate(self, metric: str, filter: str, samples: Sequence[dict[str, Any]]) -> float:
        """Return the aggregate of a metric over lm-eval's logged samples of one filter.

        If the task has no aggregation for the metric, this is the mean of the samples' values.
        """
        self._scored.setdefault(metric, []).append(
            [_Scored(filter, sample["doc_id"], sample["doc"]) for sample in samples]
        )
        function = self._aggregations().get(metric, _mean)
        return float(self._guarded(metric, function)([sample[metric] for sample in samples]))

    # --- documents that are left out ----------------------------------------------------------------------------------

    def _leave_out(self, doc_id: int, message: str) -> None:
        self._left_out.setdefault(doc_id, Failure(doc_id, message))

    def _fewshot_context(self, *arguments: Any, **settings: Any) -> Any:
        try:
            return self._render(*arguments, **settings)
        except Exception as error:
            if ends_a_run(error):
                raise
            return _Unrendered(error)

    def _construct_requests(self, doc: Any, ctx: Any, **settings: Any) -> Any:
        doc_id = settings["metadata"][1]
        try:
            if isinstance(ctx, _Unrendered):
                raise ctx.error
            return self._construct(doc=doc, ctx=ctx, **settings)
        except Exception as error:
            if ends_a_run(error):
                raise
            self._leave_out(doc_id, f"its prompt cannot be rendered ({reason(error)})")
            return []

    def _leave_out_unanswered(self) -> None:
        """Leave out the documents of which an answer failed, with their requests."""
        for request in self._task.instances:
            for response in request.resps:
                if isinstance(response, FailedAnswer):
                    self._leave_out(request.doc_id, response.message)
        self._task._instances = [item for item in self._task.instances if item.doc_id not in self._left_out]
        self.require_documents(self._task._instances)

    def require_documents(self, remaining: Sequence[Any]) -> None:
        """Raise HarnessError if nothing is remaining because all documents were left out."""
        if not remaining and self._left_out:
            raise HarnessError(f"all {len(self._left_out):,} documents fail ({self.left_out[0].message})")

    # --- filters ------------------------------------------------------------------------------------------------------

    def _apply_filters(self) -> None:
        if self._keep_going:
            self._leave_out_unanswered()
        for ensemble in self._ensembles:
            try:
                ensemble.apply(self._task.instances)
            except Exception as error:
                if self._ends_evaluation(error):
                    raise
                self._apply_by_document(ensemble)
        self._filters = [ensemble.name for ensemble in self._ensembles]

    def _apply_by_document(self, ensemble: Any) -> None:
        """Apply a filter to each document alone, after the filter failed on all documents together."""
        requests_by_document: dict[int, list[Any]] = {}
        for request in self._task.instances:
            requests_by_document.setdefault(request.doc_id, []).append(request)
        for requests in requests_by_document.values():
            try:
                ensemble.apply(requests)
            except Exception as error:
                if self._ends_evaluation(error):
                    raise
                for request in requests:
                    unfiltered = _Unfiltered("")
                    unfiltered.error = error
                    request.filtered_resps[ensemble.name] = unfiltered

    def _ends_evaluation(self, error: Exception) -> bool:
        """Return whether `error` is raised, and not recorded as a document's failure."""
        return ends_a_run(error) or (isinstance(error, HarnessError) and not self._keep_going)

    # --- documents ----------------------------------------------------------------------------------------------------

    def _iterate(self, **settings: Any) -> Iterator[tuple[int, Any]]:
        documents = self._documents(**settings)
        if not self._filters:  # requests are being built
            yield from documents
            return
        filter = self._filters.pop(0)
        for doc_id, document in documents:
            if doc_id in self._left_out or (self._keep_going and not self._has_target(doc_id, document)):
                continue
            self._current = _Scored(filter, doc_id, document)
            yield doc_id, document

    def _has_target(self, doc_id: int, document: Any) -> bool:
        """Return whether the reference of a document can be read; if not, leave the document out."""
        try:
            self._task.doc_to_target(document)
        except Exception as error:
            if ends_a_run(error):
                raise
            self._leave_out(doc_id, f"its reference cannot be read ({reason(error)})")
            return False
        return True

    def _process_results(self, document: Any, results: Sequence[Any]) -> Mapping[str, Any]:
        try:
            return self._scored_or_without_credit(document, results)
        except HarnessError as error:
            if self._ends_evaluation(error) or self._current is None:
                raise
            why = f"it cannot be scored {error.cause}" if isinstance(error, TaskError) else str(error)
            self._leave_out(self._current.doc_id, why)
            return {}

    def _scored_or_without_credit(self, document: Any, results: Sequence[Any]) -> Mapping[str, Any]:
        current = self._current
        assert current is not None, "lm-eval iterates over documents before it scores them"
        error = next((result.error for result in results if isinstance(result, _Unfiltered)), None)
        values: Mapping[str, Any] | None = None
        if error is None:
            try:
                values = self._score(document, results)
            except (HarnessError, MemoryError):
                raise
            except Exception as raised:
                error = raised
        if values is None:
            assert error is not None
            values = self._without_credit(current, error)
        for metric in values:
            by_filter = self._scored.setdefault(metric, [])
            if not by_filter or by_filter[-1][0].filter != current.filter:
                by_filter.append([])
            by_filter[-1].append(current)
        return values

    def _without_credit(self, scored: _Scored, error: Exception) -> dict[str, Any]:
        """Record the failure of a document and return its values for an empty answer, without credit."""
        self._failures.setdefault(scored.doc_id, Failure(scored.doc_id, describe(error)))
        requests = [request for request in self._task.instances if request.doc_id == scored.doc_id]
        if not all(isinstance(response, str) for request in requests for response in request.resps):
            raise TaskError(self._name, scored.doc_id, "by likelihoods", error) from error
        write_empty = getattr(self._task, "empty_answer", lambda document: "")
        values = self._values_of(scored, requests, write_empty(scored.document), "with an empty answer")
        target = self._task.doc_to_target(scored.document)
        if isinstance(target, str) and not hasattr(self._task, "empty_answer"):
            self._values_of(scored, requests, target, "with its reference as the answer")
        better = self._task.higher_is_better()
        functions = self._aggregations()
        return {
            metric: _without_hits(value, getattr(functions.get(metric), "__name__", ""))
            if better.get(metric, True)
            else value
            for metric, value in values.items()
        }

    def _values_of(self, scored: _Scored, requests: Sequence[Any], answer: str, words: str) -> dict[str, Any]:
        """Return the values of a document with `answer` in place of every response; raise TaskError if that fails."""
        answered = []
        for request in requests:
            other = copy.copy(request)
            other.resps, other.filtered_resps = [answer] * max(1, len(request.resps)), {}
            answered.append(other)
        try:
            for ensemble in self._ensembles:
                if ensemble.name == scored.filter:
                    ensemble.apply(answered)
            results = [request.filtered_resps[scored.filter] for request in answered]
            return dict(self._score(scored.document, results))
        except MemoryError:
            raise
        except Exception as error:
            raise TaskError(self._name, scored.doc_id, words, error) from error

    # --- aggregation --------------------------------------------------------------------------------------------------

    def _guarded_aggregations(self) -> dict[str, Callable[[Sequence[Any]], Any]]:
        return {metric: self._guarded(metric, function) for metric, function in self._aggregations().items()}

    def _guarded(self, metric: str, function: Callable[[Sequence[Any]], Any]) -> Callable[[Sequence[Any]], Any]:
        @functools.wraps(function)
        def aggregate(values: Sequence[Any]) -> Any:
            place = self._aggregated[metric]
            self._aggregated[metric] += 1
            if not self._keep_going:
                return checked(values, place)
            remaining = [
                (value, scored)
                for value, scored in zip(values, self._scored[metric][place], strict=True)
                if scored.doc_id not in self._left_out
            ]
            self._scored[metric][place] = [scored for _, scored in remaining]
            failures, replaced = dict(self._failures), dict(self._replaced)
            try:
                return checked([value for value, _ in remaining], place) if remaining else math.nan
            except HarnessError as error:
                if ends_a_run(error):
                    raise
                self._failures, self._replaced = failures, replaced
                self.failed_metrics[metric] = str(error)
                return math.nan

        def checked(values: Sequence[Any], place: int) -> Any:
            try:
                return function(values)
            except (HarnessError, MemoryError):
                raise
            except Exception as error:
                scored = self._scored[metric][place]
                try:
                    return function(self._aggregatable(metric, function, values, scored))
                except (HarnessError, MemoryError):
                    raise
                except Exception:
                    raise self._fault(metric, error) from error

        return aggregate

    def _aggregatable(
        self, metric: str, function: Callable[[Sequence[Any]], Any], values: Sequence[Any], scored: Sequence[_Scored]
    ) -> list[Any]:
        """Return `values`; a value that cannot be aggregated even alone is replaced or left out."""
        result = []
        for value, document in zip(values, scored, strict=True):
            try:
                function([value])
                result.append(value)
            except Exception as error:
                replacement = self._without_credit(document, error).get(metric)
                self._replaced[document.filter, document.doc_id, metric] = replacement
                if replacement is not None:
                    function([replacement])
                    result.append(replacement)
        return result

    def _fault(self, metric: str, error: Exception) -> HarnessError:
        return HarnessError(
            f"task {self._name}: {metric} cannot be aggregated ({describe(error)}): correct the task's definition"
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _without_hits(value: Any, aggregation: str) -> Any:
    """Return `value`, of a metric that is better when higher, without credit: at most 0, or with a numerator of 0."""
    if isinstance(value, int | float):
        return min(value, 0.0)
    if aggregation == "ratio" and isinstance(value, list | tuple) and len(value) == 2:
        return (0.0, value[1])
    return value
