"""Answers to as many documents as can be answered: where requests fail together, those that fail alone are found.

Requests are answered together. If that fails, the documents are halved and each half is answered, down to the single
documents at fault; what was computed before is in the journal.

Not here: who answers (`harness.backends.request_kinds`), or what becomes of a document without an answer
(`harness.tasks.unscorable`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness.common.failures import FailedAnswer, ends_a_run, reason
from harness.errors import HarnessError

HOPELESS = 20
"""Number of documents that fail, while none was answered, after which all are taken to fail."""

Answer = Callable[[list[Any]], list[Any]]
"""Returns the answer to each of some requests, or raises an exception if one of them fails."""


def answer_each(requests: Sequence[Any], answer: Answer) -> list[Any]:
    """Return the answer to each of `requests`, which know their `doc_id`, or a FailedAnswer.

    All requests of a document that fails get a FailedAnswer. Raises an exception of `answer` that ends a run, and
    HarnessError if the first `HOPELESS` documents all fail.
    """
    places: dict[int, list[int]] = {}
    for place, request in enumerate(requests):
        places.setdefault(request.doc_id, []).append(place)
    answers: list[Any] = [None] * len(requests)
    failed = answered = 0
    pending = [list(places)]
    while pending:
        doc_ids = pending.pop()
        chosen = [place for doc_id in doc_ids for place in places[doc_id]]
        try:
            results = answer([requests[place] for place in chosen])
            answered += len(doc_ids)
        except Exception as error:
            if ends_a_run(error):
                raise
            if len(doc_ids) > 1:
                middle = len(doc_ids) // 2
                pending += [doc_ids[middle:], doc_ids[:middle]]
                continue
            failed += 1
            if failed == min(HOPELESS, len(places)) and not answered:
                raise HarnessError(f"{reason(error)} (in the first {failed} of {len(places):,} documents)") from error
            results = [FailedAnswer(reason(error))] * len(chosen)
        for place, result in zip(chosen, results, strict=True):
            answers[place] = result
    return answers
