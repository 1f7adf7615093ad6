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
from harness.metrics.text.end_marks import has_chat_marks, without_end_marks
from harness.recorded.answers import Response
from harness.recorded.join import Joined
from harness.reports.numbers_in_words import counted


class Replay:
    """Answers every kind of request with the recorded response of its document.

    A generated text is read as in a run (`harness.backends.answer_text`): without its thought, up to the task's first
    stop string. With `drops_end_marks`, it loses the special tokens at its end: published scores were computed with
    them, but a run would not have decoded them. `think` names the marks of thoughts (`answer_text.marks_of`). `notes`
    names what was left out and what may have been misread. With `is_read`, texts are taken as they are, because a run
    has read them before.

    Raises HarnessError if a document has more or fewer responses than the task makes requests.
    """

    rank, world_size = 0, 1

    def __init__(
        self, joined: Joined, *, drops_end_marks: bool = False, think: str | None = None, is_read: bool = False
    ) -> None:
        self.joined, self._drops_end_marks, self._is_read = joined, drops_end_marks, is_read
        self._marks, self._think = answer_text.marks_of(think), think
        self.work = Work()
        """Counts of how the recorded texts ended."""
        self._shortened = 0
        """The number of recorded texts that went on after a stop string of the task, and were cut there."""
        self._without_end_marks = 0
        """The number of recorded texts that lost special tokens at their end."""
        self._chat_marks: list[str] = []
        """The places (file and line) of the answers that have marks of a chat template."""
        self._other_thoughts: list[str] = []
        """The places of the answers with a thought between marks that `think` does not name."""

    def notes(self, task: str) -> list[str]:
        """Return what a reader of the report should know about how the answers to `task` were read."""
        notes, total = [], self.work.generations
        if self._shortened:
            notes.append(
                f"{counted(self._shortened, 'recorded answer')} went on behind a stop string of the task, where a run "
                "would have ended, and are read up to it"
            )
        if self._without_end_marks:
            notes.append(
                f"{self._without_end_marks:,} of {counted(total, 'answer')} ended with special tokens, which a run "
                "does not decode, and are read without them"
            )
        if self._chat_marks:
            notes.append(
                f"{len(self._chat_marks):,} of {counted(total, 'answer')} hold marks of a chat template, which the "
                f"metrics read as text (first: {self._chat_marks[0]})"
            )
        if self._think is not None and self._marks and total and not self.work.thoughts:
            notes.append(f"the marks {self._marks[0]} (--think) occur in none of {counted(total, 'answer')}")
        if self._other_thoughts:
            notes.append(
                f"{len(self._other_thoughts):,} of {counted(total, 'answer')} hold a thought between marks that "
                f"--think does not name, which the metrics read as text (first: {self._other_thoughts[0]})"
            )
        return [f"{task}: {note}" for note in notes]

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
        if not self._is_read:
            answer = self._reread(answer, request)
        self.work.count_answers([answer])
        return answer

    def _reread(self, answer: AnswerText, request: Any) -> AnswerText:
        """Return the answer in a recorded text, unless a run has read it; count what may be misread."""
        if answer.ending == "unknown" and request.request_type == "generate_until":
            answer = self._answer_in(answer, request)
            self._count_misread(answer, request.doc_id)
        elif request.request_type == "chatglm_predict" and not self._is_own_report(request.doc_id):
            text = self._answer_in(answer, request)
            self._count_misread(text, request.doc_id)
            answer = text.within(prediction_line(self._labels(request), text))
        return answer

    def _count_misread(self, answer: AnswerText, doc_id: int) -> None:
        """Count an `answer` with marks that metrics read as text."""
        recorded = self.joined.answers[doc_id]
        where = self.joined.task if recorded is None else recorded.where
        if has_chat_marks(answer):
            self._chat_marks.append(where)
        if self._think is not None and answer_text.read(answer).has_thought:
            self._other_thoughts.append(where)

    def _answer_in(self, response: str, request: Any) -> AnswerText:
        """Return the answer in a recorded text."""
        unmarked = without_end_marks(response) if self._drops_end_marks else response.rstrip()
        has_ended = unmarked != response.rstrip()
        self._without_end_marks += has_ended
        until, opened = request.args[1].get("until") or (), self._is_open(request.doc_id)
        whole, is_cut = unmarked if has_ended else response, False if has_ended else None
        answer = answer_text.read(whole, until, is_cut=is_cut, opened=opened, marks=self._marks)
        self._shortened += answer != answer_text.read(whole, opened=opened, marks=self._marks)
        return answer

    def _labels(self, request: Any) -> str:
        """Return the reference for a line of ChatGLM's file: as the script cut it, if recorded, else in full."""
        answer = self.joined.answers[request.doc_id]
        summary = None if answer is None else answer.document.get("summary")
        return summary if isinstance(summary, str) else str(request.args[1]["labels"])

    def _is_own_report(self, doc_id: int) -> bool:
        """Return whether the answer to a document comes from a report of this project, whose run has read it before."""
        answer = self.joined.answers[doc_id]
        return answer is not None and answer.hashes is not None

    def _is_open(self, doc_id: int) -> bool:
        """Return whether the recorded prompt of a document ends within a thought."""
        answer = self.joined.answers[doc_id]
        if answer is None or answer.prompt is None or self._is_own_report(doc_id):
            return False
        return answer_text.begins_in_thought(answer.prompt, self._marks)
