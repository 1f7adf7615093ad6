"""One task whose requests are built once, as in a run, and evaluated in parts.

lm-eval's own `samples=` option is not used, because it mislabels documents that are not in order, and takes an empty
list to mean all documents. Here lm-eval's `evaluate()` is given a task that has only the chosen documents.

Not here: which documents are evaluated, and when (`harness.gating.blocks`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from harness.backends.local import HarnessLM
from harness.backends.work import Cost, Work
from harness.common.failures import Failure
from harness.data.sources import DataSource
from harness.runs.options import Options, prompt_settings
from harness.runs.parts import of_parts
from harness.runs.run import begin, since
from harness.tasks import clusters
from harness.tasks.task import Document, Request, Task

ANNOUNCED = 64
"""About how many of a task's prompts the engine is shown, so that it learns how all prompts of the task begin."""
SMALLEST_SAMPLE = 16
"""Smallest number of documents from which a cost is extrapolated."""


@dataclass
class PartialTask:
    """A task whose requests are built once and evaluated in parts."""

    name: str
    task: Task
    source: DataSource | None
    lm: HarnessLM
    options: Options
    samples: list[dict[str, Any]] = field(default_factory=list)
    """The samples of the documents evaluated so far, as lm-eval logs samples."""
    unscorable: list[Failure] = field(default_factory=list)
    """The documents evaluated so far whose answers could not be scored."""
    work: Work = field(default_factory=Work)
    seconds: float = 0.0
    """Wall-clock seconds spent evaluating."""
    _last: dict[str, Any] = field(default_factory=dict)
    """What lm-eval's `evaluate()` returned for the last part."""

    @cached_property
    def documents(self) -> Sequence[Document]:
        """The documents of the task's split, kept because lm-eval would build them again at every access."""
        return self.task.documents

    @cached_property
    def requests(self) -> dict[int, list[Request]]:
        """The requests of each document, by document index, as a run would build them."""
        begin(self.task, self.lm, self.options)
        chat = self.lm.apply_chat_template if self.options.apply_chat_template else None
        settings = prompt_settings(self.options)
        requests: dict[int, list[Request]] = {}
        for request in self.task.build_requests(limit=self.options.limit, chat_template=chat, **settings):
            requests.setdefault(request.doc_id, []).append(request)
        self.task.release_requests()
        firsts = [of_document[0] for of_document in requests.values()]
        self.lm.learn_beginnings(firsts[:: -(-len(firsts) // ANNOUNCED)])
        return requests

    @property
    def doc_ids(self) -> list[int]:
        """Indices of the evaluated documents, in order."""
        return sorted({sample["doc_id"] for sample in self.samples})

    def cluster(self, doc_id: int) -> str | None:
        """Return the cluster of the document with index `doc_id`; None if the document is in no cluster."""
        return self._cluster_key(self.documents[doc_id])

    @cached_property
    def _cluster_key(self) -> clusters.Key:
        return clusters.key(self.task, self.source)

    def evaluate(self, doc_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Evaluate the documents with indices `doc_ids`; return their samples as lm-eval logs them."""
        before, started = replace(self.lm.work), time.perf_counter()
        with self.task.restricted_to(doc_ids, self.documents, self.requests):
            outcome = self.task.evaluate(self.lm, **prompt_settings(self.options))
        samples: list[dict[str, Any]] = outcome.pop("samples")[self.name]
        self.samples += samples
        self.unscorable += outcome.pop("unscorable")
        self.work = _sum(self.work, since(before, self.lm.work))
        self.seconds += time.perf_counter() - started
        results = {**self._last.get("results", {}).get(self.name, {}), **outcome["results"][self.name]}
        self._last = {**outcome, "results": {self.name: results}}
        return samples

    def cost(self, doc_ids: Sequence[int], share: float = 1) -> Cost:
        """Return the cost of evaluating the documents with indices `doc_ids` at once.

        The cost is extrapolated from a `share` of the documents, but from at least `SMALLEST_SAMPLE`. Tokens that both
        halves of this sample have in common are taken to be common to all documents. All other tokens grow in
        proportion to the number of documents.
        """
        if not doc_ids:
            return Cost(0, 0, 0)
        step = 1 / max(share, min(1.0, SMALLEST_SAMPLE / len(doc_ids)))
        sample = [doc_ids[int(k * step)] for k in range(int(len(doc_ids) / step))]
        cost = self._exact_cost(sample)
        if len(sample) == len(doc_ids):
            return cost
        factor = len(doc_ids) / len(sample)
        shared = self._exact_cost(sample[::2]).tokens + self._exact_cost(sample[1::2]).tokens - cost.tokens
        tokens = shared + round((cost.tokens - shared) * factor)
        return Cost(round(cost.requests * factor), tokens, round(cost.generated_at_most * factor))

    def _exact_cost(self, doc_ids: Sequence[int]) -> Cost:
        requests = [request for doc_id in doc_ids for request in self.requests[doc_id]]
        return self.lm.cost(requests, self.lm.engine.walk_choice.walk)

    def outcome(self) -> dict[str, Any]:
        """Return what lm-eval would have returned if all evaluated documents had been evaluated at once."""
        requests = [request for doc_id in self.doc_ids for request in self.requests[doc_id]]
        return of_parts(self.task, self._last, self.samples, requests, self.unscorable)


def _sum(first: Work, second: Work) -> Work:
    return Work(**{key: getattr(first, key) + getattr(second, key) for key in first.__dict__})
