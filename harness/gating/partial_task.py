"""One task whose requests are built once, as a run builds them, and asked in parts.

lm-eval's own `samples=` would number documents anew: it mislabels them where they are in no order, and takes an empty
list for all of them. Here its `evaluate()` meets a task that has the chosen documents only.

Not here: which documents are asked, and when (`harness.gating.blocks`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from harness.backends.local import HarnessLM
from harness.backends.work import Cost, Work
from harness.data.sources import DataSource
from harness.runs.options import Options, prompt_settings
from harness.runs.run import begin, since
from harness.tasks import clusters
from harness.tasks.task import Document, Request, Task

TELLING = 64
"""Documents of a task whose prompts tell how all of them begin."""


@dataclass
class PartialTask:
    """A task whose requests are built once, and asked in parts."""

    name: str
    task: Task
    source: DataSource | None
    lm: HarnessLM
    options: Options
    logged: list[dict[str, Any]] = field(default_factory=list)
    """Its samples so far, as lm-eval logs them."""
    work: Work = field(default_factory=Work)
    seconds: float = 0.0
    _last: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def documents(self) -> Sequence[Document]:
        """The documents of its split; lm-eval makes them anew whenever it is asked."""
        return self.task.documents

    @cached_property
    def requests(self) -> dict[int, list[Request]]:
        """The requests that a run would make of each document."""
        begin(self.task, self.lm, self.options)
        chat = self.lm.apply_chat_template if self.options.apply_chat_template else None
        how = prompt_settings(self.options)
        found: dict[int, list[Request]] = {}
        for request in self.task.build_requests(limit=self.options.limit, chat_template=chat, **how):
            found.setdefault(request.doc_id, []).append(request)
        self.task.release_requests()
        firsts = [requests[0] for requests in found.values()]
        self.lm.expect(firsts[:: -(-len(firsts) // TELLING)])
        return found

    @property
    def places(self) -> list[int]:
        """The documents asked, in order."""
        return sorted({sample["doc_id"] for sample in self.logged})

    def cluster(self, place: int) -> str | None:
        """Return what the document at `place` shares with others."""
        return self._key(self.documents[place])

    @cached_property
    def _key(self) -> clusters.Key:
        return clusters.key(self.task, self.source)

    def ask(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """Ask the documents at `places`; return their samples as lm-eval logs them."""
        before, clock = replace(self.lm.work), time.perf_counter()
        with self.task.restricted_to(places, self.documents, self.requests):
            outcome = self.task.evaluate(self.lm, **prompt_settings(self.options))
        made: list[dict[str, Any]] = outcome.pop("samples")[self.name]
        self.logged += made
        self.work = _sum(self.work, since(before, self.lm.work))
        self.seconds += time.perf_counter() - clock
        results = {**self._last.get("results", {}).get(self.name, {}), **outcome["results"][self.name]}
        self._last = {**outcome, "results": {self.name: results}}
        return made

    def cost(self, places: Sequence[int], share: float = 1) -> Cost:
        """Return what asking the documents at `places` at once takes, reckoned from a `share` of them, 16 at least.

        What two halves of those have in common all have; the rest grows with their number.
        """
        if not places:
            return Cost(0, 0, 0)
        step = 1 / max(share, min(1.0, 16 / len(places)))
        some = [places[int(k * step)] for k in range(int(len(places) / step))]
        found = self._exact(some)
        if len(some) == len(places):
            return found
        times = len(places) / len(some)
        shared = self._exact(some[::2]).tokens + self._exact(some[1::2]).tokens - found.tokens
        tokens = shared + round((found.tokens - shared) * times)
        return Cost(round(found.requests * times), tokens, round(found.generated_at_most * times))

    def _exact(self, places: Sequence[int]) -> Cost:
        requests = [request for place in places for request in self.requests[place]]
        return self.lm.cost(requests, self.lm.engine.choice.walk)

    def outcome(self) -> dict[str, Any]:
        """Return what lm-eval would have returned, had it been asked all that was asked at once."""
        logged = sorted(self.logged, key=lambda sample: sample["doc_id"])
        made = {**self._last["results"][self.name]}
        aggregations, most = self.task.aggregations, 0
        for key in [key for key in made if "," in key and "_stderr," not in key]:
            metric, kind = key.split(",", 1)
            values = [one[metric] for one in logged if one["filter"] == kind and metric in one["metrics"]]
            made[key] = aggregations.get(metric, _mean)(values)
            most = max(most, len(values))
        made["sample_len"] = most
        counted = {"original": len(self.documents), "effective": most}
        return {
            **self._last,
            "results": {self.name: made},
            "n-samples": {self.name: counted},
            "samples": {self.name: logged},
        }


def _mean(values: Sequence[float]) -> float:
    """Return what lm-eval makes of a metric that names no aggregation."""
    return sum(values) / len(values)


def _sum(one: Work, other: Work) -> Work:
    return Work(**{key: getattr(one, key) + getattr(other, key) for key in one.__dict__})
