"""One task: lm-eval's task object behind `Task`, the only class that reads or changes the object's internals.

Other packages use `Task`; its `lm_eval` attribute is for `isinstance` checks. lm-eval is imported only when a task is
evaluated, so that importing this module stays cheap.

Not here: finding and building tasks (`harness.tasks.catalogue`), or the requests of protocols that lm-eval does not
know (`harness.tasks.protocols`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from harness.common.failures import Failure
from harness.common.limits import Limit, documents_within
from harness.errors import HarnessError
from harness.tasks.metadata import TaskMetadata
from harness.tasks.patched import patched
from harness.tasks.task_metrics import Metric, metrics_of
from harness.tasks.understanding import Understanding
from harness.tasks.unscorable import Guard

if TYPE_CHECKING:
    from harness.tasks.leaks import Watch

FEWSHOT_SEED = 1234
"""lm-eval's default seed, so that the drawn few-shot examples are the ones that lm-eval draws."""

Document = Mapping[str, Any]
"""A row of a task's data set, after the task's `process_docs`."""
Score = Callable[[Document, list[Any]], dict[str, Any]]
"""A task's `process_results`: a document and its filtered responses → the document's value under each metric."""


class Request(Protocol):
    """The part of lm-eval's `Instance` that the project uses."""

    request_type: str
    doc: dict[str, Any]
    doc_id: int
    idx: int
    """The request's number among those of its document, from 0."""
    repeats: int
    resps: list[Any]
    filtered_resps: dict[str, Any]

    @property
    def args(self) -> tuple[Any, ...]:
        """The arguments of the model method `request_type`, the prompt first."""


class Task:
    """An lm-eval task object, with typed access to everything that the project reads from it or changes in it."""

    def __init__(self, lm_eval: Any) -> None:
        self.lm_eval = lm_eval
        """The lm-eval task object; an instance of a class in `harness.tasks.protocols` if the YAML names that class."""
        self._watch: Watch | None = None
        self._understanding: Understanding | None = None

    # --- identity and metrics -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The task's name."""
        return str(self.lm_eval.config.task)

    @property
    def config(self) -> dict[str, Any]:
        """The task's configuration as lm-eval reports it."""
        return dict(self.lm_eval.config.to_dict())

    @property
    def metadata(self) -> TaskMetadata:
        """The task's metadata; raises HarnessError if a value has a wrong type."""
        return TaskMetadata.of(self.lm_eval.config.metadata, f"task {self.name}")

    @property
    def version(self) -> str:
        """The version that the YAML states, as text."""
        return str(self.lm_eval.VERSION)

    @property
    def output_type(self) -> str:
        """The kind of answer: `multiple_choice`, `generate_until`, `loglikelihood` or `loglikelihood_rolling`."""
        return str(self.lm_eval.OUTPUT_TYPE)

    @property
    def scores_continuations(self) -> bool:
        """Whether the task scores given texts after its prompts, such as letters, instead of generating text."""
        return self.output_type in ("multiple_choice", "loglikelihood")

    @property
    def runs_generated_code(self) -> bool:
        """Whether scoring executes code that the checkpoint writes."""
        return bool(getattr(self.lm_eval, "UNSAFE_CODE", False))

    @property
    def has_several_right_choices(self) -> bool:
        """Whether the target of a document may list several choices."""
        return bool(getattr(self.lm_eval, "multiple_target", 0))

    @property
    def metrics(self) -> list[Metric]:
        """The metrics that the task reports; the first one represents the task where only one metric is shown.

        `metadata.primary` in a task's YAML (`exact_match,flexible-extract`) moves another metric to the front;
        `metadata.fractions` lists metrics of the task's own whose values lie in [0, 1].
        """
        return metrics_of(self.lm_eval, self.metadata)

    @property
    def metric_names(self) -> list[str]:
        """The names of the metrics, each once, the primary metric's first."""
        return list(dict.fromkeys(metric.name for metric in self.metrics))

    @property
    def aggregations(self) -> dict[str, Callable[[Sequence[Any]], float]]:
        """For each metric, by name: the function that aggregates the samples' values."""
        return dict(self.lm_eval.aggregation())

    # --- documents ------------------------------------------------------------------------------------------------

    @property
    def dataset(self) -> str:
        """The data set's name in the configuration; empty if it names none."""
        return str(self.lm_eval.config.dataset_path or "")

    @property
    def has_conversations(self) -> bool:
        """Whether prompts contain earlier answers when they are rendered by a chat template."""
        return self.num_fewshot > 0 or bool(getattr(self.lm_eval, "has_conversations", False))

    @property
    def split(self) -> str:
        """The name of the split that the documents come from."""
        config = self.lm_eval.config
        return str(config.test_split or config.validation_split or config.training_split or "")

    @property
    def documents(self) -> Sequence[Document]:
        """The documents; lm-eval processes the whole split again at every access."""
        documents: Sequence[Document] = self.lm_eval.eval_docs
        return documents

    @property
    def ids(self) -> Sequence[str]:
        """Each row's value of the column `id` in a user's own file, an empty text if it has none.

        The sequence is empty if the file has no such column.
        """
        ids: Sequence[str] = getattr(self.lm_eval, "ids", ())
        return ids

    @property
    def questions(self) -> Sequence[str]:
        """The questions of a user's own file, without cues and choices; empty for other tasks."""
        questions: Sequence[str] = getattr(self.lm_eval, "questions", ())
        return questions

    def choices(self, document: Document) -> list[str]:
        """Return the choices of a document of a multiple-choice task."""
        return list(self.lm_eval.doc_to_choice(document))

    def target(self, document: Document) -> Any:
        """Return the right answer to a document: a text, or the position of the right choice."""
        return self.lm_eval.doc_to_target(document)

    # --- prompts --------------------------------------------------------------------------------------------------

    @property
    def num_fewshot(self) -> int:
        """The number of few-shot examples in a prompt."""
        return int(self.lm_eval.config.num_fewshot or 0)

    def set_num_fewshot(self, num_fewshot: int | None) -> None:
        """Override the number of few-shot examples unless the task states 0, as in lm-eval.

        Raises HarnessError if the task has fewer examples.
        """
        stated = self.lm_eval.get_config("num_fewshot")
        if num_fewshot is not None and stated != 0:
            self.lm_eval.set_config(key="num_fewshot", value=num_fewshot)
            self._require_shots(num_fewshot)
        elif stated is None:
            self.lm_eval.set_config(key="num_fewshot", value=0)

    def _require_shots(self, num_fewshot: int) -> None:
        if hasattr(self.lm_eval, "require_examples"):
            self.lm_eval.require_examples(num_fewshot)
            return
        examples = len(self.lm_eval.fewshot_docs() or [])
        split = self.lm_eval.fewshot_cfg.split
        # If examples come from the evaluated split, a document cannot be an example in its own prompt.
        examples -= split is not None and split == self.lm_eval.config.test_split
        if num_fewshot > examples:
            raise HarnessError(
                f"task {self.name} has {examples} few-shot examples, not {num_fewshot}: lower --num-fewshot"
            )

    def watch_shots(self) -> None:
        """Start counting the questions that appear among their own few-shot examples."""
        from harness.tasks import leaks

        self._watch = leaks.watch(self.lm_eval)

    @property
    def leaked_questions(self) -> int:
        """The number of questions that appeared among their own few-shot examples since `watch_shots`."""
        return self._watch.count if self._watch else 0

    def reseed(self, seed: int = FEWSHOT_SEED) -> None:
        """Restart the random stream that draws few-shot examples, as is needed before prompts are built again."""
        self.lm_eval.set_fewshot_seed(seed=seed)

    @property
    def generation_settings(self) -> dict[str, Any]:
        """A copy of the generation settings (`until`, `max_gen_toks`, …)."""
        return dict(self.lm_eval.config.generation_kwargs or {})

    @generation_settings.setter
    def generation_settings(self, settings: Mapping[str, Any]) -> None:
        self.lm_eval.config.generation_kwargs = dict(settings)

    @property
    def repeats(self) -> int:
        """The number of answers to each request."""
        return int(self.lm_eval.config.repeats or 1)

    @repeats.setter
    def repeats(self, repeats: int) -> None:
        self.lm_eval.config.repeats = repeats

    def set_stride(self, stride: int) -> None:
        """Move the windows of a `BitsPerCharacter` task by `stride` tokens."""
        self.lm_eval.config.metadata["stride"] = stride

    @property
    def takes_articles(self) -> bool:
        """Whether the task's prompts can contain retrieved articles of law."""
        return hasattr(self.lm_eval, "use_articles")

    def use_articles(self, articles: Mapping[str, Sequence[str]], *, file: str, sha256: str) -> None:
        """Put the `articles` of each query into the task's prompts; the report states their `file` and its `sha256`.

        Raises HarnessError if a document's query has no entry.
        """
        self.lm_eval.use_articles(articles)
        self.lm_eval.config.metadata["retrieved"] = {"file": file, "sha256": sha256}

    # --- requests -------------------------------------------------------------------------------------------------

    @property
    def requests(self) -> list[Request]:
        """The requests that were built last; empty after `release_requests`."""
        requests: list[Request] | None = self.lm_eval.instances
        return requests or []

    def build_requests(self, *, limit: Limit | None = None, **prompts: Any) -> list[Request]:
        """Build and return the requests of the first `limit` documents.

        A `limit` below 1 is a share of the documents. `prompts` are keywords of lm-eval's `build_all_requests`.
        """
        count = None if limit is None else documents_within(limit, len(self.documents))
        self.lm_eval.build_all_requests(limit=count, **prompts)
        return self.requests

    def release_requests(self) -> None:
        """Free the memory of the built requests."""
        self.lm_eval._instances = None

    @contextmanager
    def holding(self, requests: Sequence[Request]) -> Iterator[None]:
        """Make the task hold `requests`, as if it had built them, until the `with` block ends."""
        self.lm_eval._instances = list(requests)
        try:
            yield
        finally:
            self.release_requests()

    # --- evaluation -----------------------------------------------------------------------------------------------

    def evaluate(
        self, lm: object, *, limit: Limit | None = None, keep_going: bool = False, **prompts: Any
    ) -> dict[str, Any]:
        """Let `lm` answer the first `limit` documents and score them; return the outcome of lm-eval's `evaluate()`.

        A `limit` below 1 is a share of the documents.
        `prompts` are keywords of lm-eval's `evaluate()`, which say how prompts are rendered. The built requests stay
        in memory until `release_requests`. Besides lm-eval's keys, the outcome has `unscorable`, a list of `Failure`s
        (`harness.tasks.unscorable`): the documents whose answers could not be scored. Raises TaskError if the task
        cannot score a document at all.

        With `keep_going`, documents that cannot be rendered, answered or scored are left out, and metrics that cannot
        be aggregated; the outcome names them as `left_out` (`Failure`s) and `failed_metrics` (metric → reason).
        """
        from lm_eval.evaluator import evaluate

        guard = Guard(self.lm_eval, keep_going=keep_going)
        tasks = {"tasks": {self.name: self.lm_eval}, "groups": {}}
        with guard.scoring():
            try:
                outcome: dict[str, Any] = evaluate(lm, tasks, limit=limit, bootstrap_iters=0, **prompts)
            except ValueError:  # lm-eval found no request
                guard.require_documents(self.requests)
                raise
        samples = outcome["samples"][self.name]
        guard.correct(samples)
        guard.require_documents(samples)
        if guard.left_out or guard.failed_metrics:
            outcome["n-samples"][self.name]["effective"] = len({sample["doc_id"] for sample in samples})
            results = outcome["results"][self.name]
            for key in [key for key in results if key.split(",")[0].removesuffix("_stderr") in guard.failed_metrics]:
                del results[key]
        outcome |= {"unscorable": guard.failures, "left_out": guard.left_out, "failed_metrics": guard.failed_metrics}
        return outcome

    def aggregate(
        self, samples: Sequence[dict[str, Any]], keys: Sequence[str], requests: Sequence[Request]
    ) -> tuple[dict[str, float], list[Failure]]:
        """Return the aggregate of `samples` for each of lm-eval's result keys (`exact_match,none`), and the failures.

        `requests` are the requests of the samples, with their responses. A value that cannot be aggregated is recorded
        as a failure of its document and is replaced in `samples`, as in `evaluate`.
        """
        guard, results = Guard(self.lm_eval), {}
        with self.holding(requests):
            for key in keys:
                metric, _, name = key.partition(",")
                of_key = [item for item in samples if item["filter"] == name and metric in item["metrics"]]
                results[key] = guard.aggregate(metric, name, of_key)
        for sample in samples:
            guard.correct([sample])
        return results, guard.failures

    def understood(
        self,
        document: Document,
        filtered_answer: str,
        filter: str | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> bool | None:
        """Return whether the task's filter and scorer understood anything in a generated answer.

        `filtered_answer` is what the task's `filter` left of the answer, the `prediction` in a report's row; the
        default filter is that of the primary metric. `values` are the metrics' values for the answer, computed if not
        passed. Return None if the task has no notion of understanding, because it compares texts by ROUGE or literally
        or chooses by likelihood. `harness.tasks.understanding` describes the rules, and how a task states its own.
        """
        if self._understanding is None:
            self._understanding = Understanding(self.lm_eval, self.metadata.understood)
        filter = self.metrics[0].filter if filter is None else filter
        return self._understanding.of(document, filtered_answer, filter, values)

    @property
    def score(self) -> Score:
        """The function that scores a document's filtered responses."""
        score: Score = self.lm_eval.process_results
        return score

    @contextmanager
    def scored_by(self, score: Score) -> Iterator[None]:
        """Score documents by `score` instead of the task's own function, until the `with` block ends."""
        with patched(self.lm_eval, {"process_results": score}):
            yield

    @contextmanager
    def restricted_to(
        self, places: Sequence[int], documents: Sequence[Document], requests: Mapping[int, Sequence[Request]]
    ) -> Iterator[None]:
        """Restrict the task to the documents at `places`, without building requests, until the `with` block ends.

        `documents` is the whole split, and `requests` has the requests of each place, as built for the whole split.
        Nothing is aggregated, because a metric that is not a mean may be undefined on so few documents. lm-eval's own
        `samples=` cannot be used, because it numbers the documents anew: it mislabels an unsorted list, and takes an
        empty list for all documents.
        """
        assert places, "lm-eval would evaluate all documents"
        numbered = [(place, documents[place]) for place in places]
        # 0 under the name of each aggregation, by which a failure in a ratio is recognised
        unaggregated = {
            metric: functools.wraps(function)(lambda values: 0.0) for metric, function in self.aggregations.items()
        }
        replaced: dict[str, Callable[..., Any]] = {
            "build_all_requests": lambda **_: None,
            "doc_iterator": lambda **_: iter(numbered),
            "test_docs": lambda: documents,
            "validation_docs": lambda: documents,
            "aggregation": lambda: unaggregated,
        }
        chosen = [request for place in places for request in requests[place]]
        for request in chosen:
            request.resps, request.filtered_resps = [], {}
        with patched(self.lm_eval, replaced), self.holding(chosen):
            yield
