"""A model for lm-eval that answers with recorded responses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from harness.backends import answer_text
from harness.backends.answer_text import AnswerText
from harness.backends.request_kinds.chatglm_predict import prediction_line
from harness.backends.request_kinds.generation import GeneratingKind
from harness.backends.request_kinds.registry import KINDS
from harness.backends.work import Work
from harness.errors import HarnessError
from harness.metrics.text.end_marks import without_end_marks
from harness.recorded.answers import Response
from harness.recorded.join import Joined


class Replay:
    """Answers every kind of request with the recorded response of its document.

    A generated text is read as in a run (`harness.backends.answer_text`): without its thought, up to the task's first
    stop string. If `drops_end_marks`, it loses special tokens at its end, which a run would not have decoded; published
    scores count them. `think` names the marks of thoughts (`answer_text.marks_of`).

    Raises HarnessError if a document has more or fewer responses than the task makes requests.
    """

    rank, world_size = 0, 1

    def __init__(self, joined: Joined, *, drops_end_marks: bool = False, think: str | None = None) -> None:
        self.joined, self._drops_end_marks = joined, drops_end_marks
        self._marks = answer_text.marks_of(think)
        self.work = Work()
        """How the recorded texts ended."""
        self.shortened = 0
        """The number of recorded texts that had something behind a stop string of the task."""

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
            recorded = self.joined.responses[request.doc_id]
            if request.idx >= len(recorded):
                answer = self.joined.answers[request.doc_id]
                where = answer.where if answer else self.joined.task
                raise HarnessError(f"{where}, has {len(recorded)} responses, but {self.joined.task} needs more")
            responses.append(self._read(request, recorded[request.idx][repeats[request.doc_id, request.idx]]))
            repeats[request.doc_id, request.idx] += 1
        for place, count in Counter(place for place, _ in repeats).items():
            recorded_answer = self.joined.answers[place]
            if recorded_answer and count < len(recorded_answer.responses):
                raise HarnessError(
                    f"{recorded_answer.where}, has {len(recorded_answer.responses)} responses, but "
                    f"{self.joined.task} needs {count}"
                )
        return responses

    def _read(self, request: Any, response: Response) -> Response:
        """Return a recorded `response` as the answer to `request`; count how a text ended."""
        if not isinstance(response, str) or not isinstance(KINDS[request.request_type], GeneratingKind):
            return response
        answer = response if isinstance(response, AnswerText) else AnswerText(response)
        if answer.ending == "unknown" and request.request_type == "generate_until":
            answer = self._answer_in(response, request)
        elif request.request_type == "chatglm_predict" and not self._is_own_report(request.doc_id):
            text = self._answer_in(response, request)
            answer = text.within(prediction_line(self._labels(request), text))
        self.work.count_answers([answer])
        return answer

    def _answer_in(self, response: str, request: Any) -> AnswerText:
        """Return the answer in a recorded text."""
        unmarked = without_end_marks(response) if self._drops_end_marks else response.rstrip()
        has_ended = unmarked != response.rstrip()
        until, opened = request.args[1].get("until") or (), self._is_open(request.doc_id)
        whole, is_cut = unmarked if has_ended else response, False if has_ended else None
        answer = answer_text.read(whole, until, is_cut=is_cut, opened=opened, marks=self._marks)
        self.shortened += answer != answer_text.read(whole, opened=opened, marks=self._marks)
        return answer

    def _labels(self, request: Any) -> str:
        """Return the reference of a line of ChatGLM's file: as its script cut it if the file has it, else whole."""
        answer = self.joined.answers[request.doc_id]
        summary = None if answer is None else answer.document.get("summary")
        return summary if isinstance(summary, str) else str(request.args[1]["labels"])

    def _is_own_report(self, doc_id: int) -> bool:
        """Return whether the answer to a document comes from a report of ours, whose answers are read."""
        answer = self.joined.answers[doc_id]
        return answer is not None and answer.hashes is not None

    def _is_open(self, doc_id: int) -> bool:
        """Return whether the recorded prompt of a document ends within a thought."""
        answer = self.joined.answers[doc_id]
        if answer is None or answer.prompt is None or self._is_own_report(doc_id):
            return False
        return answer_text.begins_in_thought(answer.prompt, self._marks)
