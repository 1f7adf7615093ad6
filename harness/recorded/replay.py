"""A model for lm-eval that answers with recorded responses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.recorded.answers import Response
from harness.recorded.join import Joined


class Replay:
    """Answers every kind of request with the recorded response of its document.

    Raises HarnessError if a document has more or fewer responses than the task makes requests.
    """

    rank, world_size = 0, 1

    def __init__(self, joined: Joined) -> None:
        self._joined = joined

    def __getattr__(self, kind: str) -> Callable[[Sequence[Any]], list[Response]]:
        """Return the method that answers requests of `kind` (`generate_until`, `loglikelihood`, …)."""
        if kind.startswith("_") or kind.isupper():
            raise AttributeError(kind)
        return self._answer

    def _answer(self, requests: Sequence[Any]) -> list[Response]:
        repeats: Counter[tuple[int, int]] = Counter()
        """Responses given so far, by document and request."""
        responses = []
        for request in requests:
            recorded = self._joined.responses[request.doc_id]
            if request.idx >= len(recorded):
                answer = self._joined.answers[request.doc_id]
                where = answer.where if answer else self._joined.task
                raise HarnessError(f"{where}, has {len(recorded)} responses, but {self._joined.task} needs more")
            responses.append(recorded[request.idx][repeats[request.doc_id, request.idx]])
            repeats[request.doc_id, request.idx] += 1
        for place, count in Counter(place for place, _ in repeats).items():
            recorded_answer = self._joined.answers[place]
            if recorded_answer and count < len(recorded_answer.responses):
                raise HarnessError(
                    f"{recorded_answer.where}, has {len(recorded_answer.responses)} responses, but "
                    f"{self._joined.task} needs {count}"
                )
        return responses
