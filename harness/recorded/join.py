"""Recorded answers joined with the documents of a task: one answer for each document, or a complaint.

Not here: reading answers (`harness.recorded.formats`), finding their documents (`harness.recorded.match`), or scoring
(`harness.recorded.score`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from harness.common.limits import Limit, documents_within
from harness.errors import HarnessError
from harness.recorded import agreement, likelihoods, match
from harness.recorded.answers import Answer, Response, Responses, TaskAnswers
from harness.recorded.complaints import Complaints
from harness.recorded.match import QUESTION, Matches
from harness.runs import samples
from harness.tasks.protocols.chatglm_predict import ChatGLMPredict
from harness.tasks.task import Score, Task

_PROMPTED = ("instruction", QUESTION)
"""The columns that LawBench's files contain in the form in which they were in the model's prompt."""


class Joined(NamedTuple):
    """One task's answers in the order of its documents."""

    answers: list[Answer | None]
    """The answer to each document, or None if there is none."""
    responses: list[Responses]
    """The responses to each document, in the shape in which the task expects them."""
    repeats: int
    """The number of responses to each request."""
    notes: list[str]
    """What a reader of the report should know: answers left out, documents without an answer."""
    task: str

    def prompt_columns(self, row: samples.Row) -> samples.Row:
        """Return the columns of `row` that say what the model was prompted with, as far as that is known.

        Raises HarnessError if a report is scored again and the document differs from the one answered there.
        """
        answer = self.answers[row["doc_id"]]
        if answer is not None and answer.hashes is not None:
            if row["doc_hash"] != answer.hashes.document:
                raise HarnessError(
                    f"{answer.where}, differs from the document in the data at hand: name the run's data with --data"
                )
            return {"prompt": answer.prompt, "prompt_hash": answer.hashes.prompt}
        if answer is not None and answer.arguments is not None:
            return {"prompt": answer.prompt, "prompt_hash": samples.digest(answer.arguments)}
        prompt = row["prompt"] if answer is None or answer.prompt is None else answer.prompt
        # A prompt that contains the document's question is the same question in somebody's chat template.
        question = row["prompt"] if answer is not None and QUESTION in answer.document else prompt
        return {"prompt": prompt, "prompt_hash": samples.digest(["recorded", question])}

    def score_function(self, task: Task) -> Score:
        """Return the task's `score`, applied to documents with the instruction and question of the recorded prompt.

        These replace the instruction and question of the documents, because the scorer of LawBench task 2-1 takes the
        sentence to correct from the prompt, including any text around it.
        """
        score, prompted = task.score, self._prompted_columns(task)

        def score_prompted(document: Mapping[str, Any], results: list[Any]) -> dict[str, Any]:
            question = document.get(QUESTION)
            columns = prompted.get(question, {}) if isinstance(question, str) else {}
            return score({**document, **columns}, results)

        return score_prompted

    def _prompted_columns(self, task: Task) -> dict[str, dict[str, Any]]:
        """Return {question of a document: recorded prompt columns} for documents whose recorded question differs."""
        documents = task.documents
        prompted: dict[str, dict[str, Any]] = {}
        for place, answer in enumerate(self.answers):
            recorded = {} if answer is None else answer.document
            columns = {name: recorded[name] for name in _PROMPTED if name in recorded}
            question = documents[place].get(QUESTION)
            if isinstance(question, str) and columns.get(QUESTION, question) != question:
                prompted[question] = columns
        return prompted


def join(
    task: Task,
    answers: TaskAnswers,
    matches: Matches,
    *,
    has_own_documents: bool,
    limit: Limit | None = None,
    keep_going: bool = False,
) -> Joined:
    """Return the answers to the first `limit` documents of `task`, or, if `limit` is below 1, to that share.

    `has_own_documents` says whether the task was built from the documents in the answers' file.

    Raises HarnessError about a second answer to a document, an answer without a document, a document without an answer,
    answers of another kind than the task's (texts or likelihoods), and questions or references of other documents
    (`harness.recorded.agreement`). With `keep_going`, the first three become notes in the result.
    """
    name, total = answers.task, len(task.documents)
    count = documents_within(limit, total)
    complaints = Complaints(keep_going)
    if answers.malformed:
        complaints.note(f"{name}: {len(answers.malformed):,} entries could not be read ({answers.malformed[0]})")
    if matches.note:
        complaints.note(matches.note)
    placed = _placed(answers, matches)
    if has_own_documents:
        _complain_of_gaps(answers, complaints)
    _leave_out(placed.repeated, "answers a document that has been answered", name, complaints)
    ids = f" with the ids {match.first_ids(task)} in its column 'id'" if match.has_ids(task) else ""
    _leave_out(placed.surplus, f"answers no document of {task.name}, which has {total:,}{ids}", name, complaints)
    if beyond := sum(place >= count for place in placed.by_place):
        complaints.note(f"{name}: {beyond:,} answers to documents beyond the limit of {count:,} are left out")
    by_document = [placed.by_place.get(place) for place in range(count)]
    if not has_own_documents:
        for note in agreement.notes_on(task, {place: answer for place, answer in enumerate(by_document) if answer}):
            complaints.note(note)
    repeats = _repeats(task, [answer for answer in by_document if answer is not None], answers)
    _complain_of_missing(task, by_document, answers, complaints)
    if isinstance(task.lm_eval, ChatGLMPredict) and any(_has_whole_reference(answer) for answer in by_document):
        complaints.note(
            f"{name}: references are whole, because the tokenizer with which ChatGLM's script cuts them is not known; "
            "in its own generated_predictions.txt they are cut"
        )
    responses = _responses(task, by_document, repeats)
    return Joined(by_document, responses, repeats, complaints.messages, name)


class _Placed(NamedTuple):
    """A task's answers, assigned to the places of documents."""

    by_place: dict[int, Answer]
    repeated: list[Answer]
    """Answers to a document that has an answer already."""
    surplus: list[Answer]
    """Answers to no document."""


def _placed(answers: TaskAnswers, matches: Matches) -> _Placed:
    placed = _Placed({}, [], [])
    for place, answer in zip(matches.places, answers.answers, strict=True):
        if place is None:
            placed.surplus.append(answer)
        elif place in placed.by_place:
            placed.repeated.append(answer)
        else:
            placed.by_place[place] = answer
    return placed


def _leave_out(left_out: Sequence[Answer], problem: str, task: str, complaints: Complaints) -> None:
    if left_out:
        first = f"{left_out[0].where}, id {left_out[0].key}, {problem}"
        count = f" ({len(left_out):,} such entries)" if len(left_out) > 1 else ""
        complaints.raise_or_note(
            f"{first}{count}: remove what is wrong, or pass --keep-going to leave it out",
            f"{task}: {first}{count}, and is left out",
        )


def _complain_of_gaps(answers: TaskAnswers, complaints: Complaints) -> None:
    """Complain if a number below the highest is missing among the ids in a file whose answers bring their documents."""
    # Missing numbers are not listed: the highest one may have ten digits.
    numbers = {answer.key for answer in answers.answers if isinstance(answer.key, int)}
    missing = max(numbers, default=-1) + 1 - len(numbers)
    if missing:
        first = next(number for number in itertools.count() if number not in numbers)
        problem = f"{missing:,} entries are missing, the first is {first}"
        complaints.raise_or_note(
            f"{answers.origin}: {problem}: add them, or pass --keep-going to do without",
            f"{answers.task}: {problem}; their questions are not known, so they are not scored",
        )


def _complain_of_missing(
    task: Task, by_document: Sequence[Answer | None], answers: TaskAnswers, complaints: Complaints
) -> None:
    """Complain if a document has no answer. A missing text counts as empty, missing likelihoods cannot be scored."""
    missing = [place for place, answer in enumerate(by_document) if answer is None]
    if not missing:
        return
    problem = (
        f"{len(missing):,} of {len(by_document):,} documents of {answers.task} have no prediction, the first is "
        f"{missing[0]}"
    )
    if task.output_type != "generate_until":
        raise HarnessError(f"{answers.origin}: {problem}: add them, or limit the documents with --limit")
    complaints.raise_or_note(
        f"{answers.origin}: {problem}: add them, pass a --limit, or pass --keep-going to count them as empty answers",
        f"{problem}: they count as empty answers",
    )


def _repeats(task: Task, answers: Sequence[Answer], recorded: TaskAnswers) -> int:
    """Return the number of responses to each request.

    Raises HarnessError if the number differs between documents, or if answers are texts where the task scores
    likelihoods, or the reverse.
    """
    for answer in answers:
        _require_kind(task, recorded.task, answer)
    counts = Counter(len(repeats) for answer in answers for repeats in answer.responses)
    if len(counts) > 1:
        times = " or ".join(map(str, sorted(counts)))
        raise HarnessError(
            f"{recorded.origin}: documents of {recorded.task} have {times} responses: record the same number for each"
        )
    return next(iter(counts), 1)


def _require_kind(task: Task, name: str, answer: Answer) -> None:
    """Raise HarnessError if an answer is a text where the task scores likelihoods, or the reverse."""
    is_text = [isinstance(response, str) for response in itertools.chain.from_iterable(answer.responses)]
    if task.output_type == "generate_until" and not all(is_text):
        raise HarnessError(f"{answer.where}, holds likelihoods, but {name} is answered by texts")
    # The log-likelihood of a whole text may be written as a text.
    if task.output_type not in ("generate_until", "loglikelihood_rolling") and any(is_text):
        raise HarnessError(
            f"{answer.where}, holds a text, but {name} is answered by likelihoods: record the 'logprobs' of its "
            "choices, or name a task that generates"
        )


def _responses(task: Task, by_document: Sequence[Answer | None], repeats: int) -> list[Responses]:
    """Return the responses to each document in the shape that `task` expects; a missing response is an empty text."""
    empty: Responses = (("",) * repeats,)
    responses = [empty if answer is None else answer.responses for answer in by_document]
    if task.output_type == "loglikelihood_rolling":
        return [((_likelihood(texts[0][0], by_document[place]),),) for place, texts in enumerate(responses)]
    return responses


def _likelihood(response: Response, answer: Answer | None) -> float:
    """Return the log-likelihood of a whole text, which lm-eval and our reports write as a string."""
    where = answer.where if answer else ""
    try:
        likelihood = float(response[0] if isinstance(response, tuple) else response)
    except ValueError as error:
        raise HarnessError(f"{where}, holds no log-likelihood of a text") from error
    if (problem := likelihoods.problem([likelihood])) is not None:
        raise HarnessError(f"{where}, has a log-likelihood {problem}")
    return likelihood


def _has_whole_reference(answer: Answer | None) -> bool:
    """Return whether the file of `answer` lacks the reference as ChatGLM's script cut it; False for reports."""
    return answer is not None and answer.hashes is None and "summary" not in answer.document
