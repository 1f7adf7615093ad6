"""Which recorded answer is to which document, and what to do about those that are to none.

Not here: reading answers (`harness.recorded.formats`), or scoring them (`harness.recorded.score`).
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.recorded.match import ASKED, Matched
from harness.recorded.predictions import TaskAnswers
from harness.recorded.recordings import Answer, Response, Responses
from harness.runs import samples
from harness.tasks.protocols.chatglm_predict import ChatGLMPredict
from harness.tasks.task import Score, Task

_ASKS = ("instruction", ASKED)
"""Columns that LawBench's files tell as they were asked."""


class Joined(NamedTuple):
    """One task's answers in the order of its documents."""

    answers: list[Answer | None]
    responses: list[Responses]
    repeats: int
    notes: list[str]
    task: str

    def asked(self, row: samples.Row) -> samples.Row:
        """Return what is known of what the document of `row` was asked."""
        answer = self.answers[row["doc_id"]]
        if answer is not None and answer.hashes is not None:
            if row["doc_hash"] != answer.hashes[0]:
                raise HarnessError(f"{answer.where}, is another than in the data at hand: name those with --data")
            return {"prompt": answer.prompt, "prompt_hash": answer.hashes[1]}
        if answer is not None and answer.arguments is not None:
            return {"prompt": answer.prompt, "prompt_hash": samples.digest(answer.arguments)}
        prompt = row["prompt"] if answer is None or answer.prompt is None else answer.prompt
        # A prompt in which the document's question was found is that question in somebody's chat template.
        asked = row["prompt"] if answer is not None and ASKED in answer.document else prompt
        return {"prompt": prompt, "prompt_hash": samples.digest(["recorded", asked])}

    def scored_as_asked(self, task: Task) -> Score:
        """Return the task's `process_results`, which sees the questions as they were asked.

        LawBench's 2-1 takes the sentence to correct from the prompt, whatever stands around it.
        """
        score, documents = task.score, task.documents
        asked: dict[str, dict[str, Any]] = {}
        for place, answer in enumerate(self.answers):
            told = {} if answer is None else {key: answer.document[key] for key in _ASKS if key in answer.document}
            question = documents[place].get(ASKED)
            if isinstance(question, str) and told.get(ASKED, question) != question:  # else it is known as it was asked
                asked[question] = told

        def scored(document: Mapping[str, Any], results: list[Any]) -> dict[str, Any]:
            question = document.get(ASKED)
            told = asked.get(question, {}) if isinstance(question, str) else {}
            return score({**document, **told}, results)

        return scored


def join(
    task: Task,
    answers: TaskAnswers,
    matched: Matched,
    *,
    own_documents: bool,
    limit: int | None = None,
    keep_going: bool = False,
) -> Joined:
    """Return the answers to the first `limit` documents of `task`, whose documents may be the recording's own.

    Raises HarnessError on an answer too many or too few, or of another kind than the task asks for; with `keep_going`
    the result's notes tell of what can be borne.
    """
    name, total, notes = answers.task, len(task.documents), list[str]()
    wanted = total if limit is None else min(limit, total)
    if answers.malformed:
        notes.append(f"{name}: {len(answers.malformed):,} entries could not be read ({answers.malformed[0]})")
    by_place: dict[int, Answer] = {}
    twice, surplus = [], []
    for place, answer in zip(matched.places, answers.answers, strict=True):
        if place is None:
            surplus.append(answer)
        elif place in by_place:
            twice.append(answer)
        else:
            by_place[place] = answer
    missing = [place for place in range(wanted) if place not in by_place]
    if own_documents and (gaps := _gaps(answers)):
        told = f"{gaps[0]:,} entries are missing, the first is {gaps[1]}"
        if not keep_going:
            raise HarnessError(f"{answers.origin}: {told}: add them, or pass --keep-going to do without")
        notes.append(f"{name}: {told}; what they were asked is not known, so they are not scored")
    for found, what in (
        (twice, "answers a document that has been answered"),
        (surplus, f"answers no document of {name}, which has {total:,}"),
    ):
        if found:
            told = f"{found[0].where}, id {found[0].key}, {what}"
            more = f" ({len(found):,} such entries)" if len(found) > 1 else ""
            if not keep_going:
                raise HarnessError(f"{told}{more}: remove what is wrong, or pass --keep-going to leave it out")
            notes.append(f"{name}: {told}{more}, and is left out")
    if beyond := sum(place >= wanted for place in by_place):
        notes.append(f"{name}: {beyond:,} answers to documents beyond the limit of {wanted:,} are left out")
    repeats = _repeats(name, task, [by_place[place] for place in sorted(by_place) if place < wanted], answers.origin)
    if missing:
        told = f"{len(missing):,} of {wanted:,} documents of {name} have no prediction, the first is {missing[0]}"
        if task.output_type != "generate_until":
            raise HarnessError(f"{answers.origin}: {told}: add them, or name the documents asked with --limit")
        if not keep_going:
            raise HarnessError(
                f"{answers.origin}: {told}: add them, name a --limit, or pass --keep-going to count them as answered "
                "by nothing"
            )
        notes.append(f"{told}: they count as answered by nothing")
    by_document = [by_place.get(place) for place in range(wanted)]
    empty: Responses = (("",) * repeats,)
    responses = [empty if one is None else one.responses for one in by_document]
    if task.output_type == "loglikelihood_rolling":
        responses = [((_likelihood(said[0][0], by_document[place]),),) for place, said in enumerate(responses)]
    if isinstance(task.lm_eval, ChatGLMPredict):
        responses = [_lines(task, place, by_document[place], said) for place, said in enumerate(responses)]
        if any(one and one.hashes is None and "summary" not in one.document for one in by_document):
            notes.append(
                f"{name}: references are whole, since no tokenizer is known to cut them as ChatGLM's script does; "
                "its own generated_predictions.txt has them cut"
            )
    return Joined(by_document, responses, repeats, notes, name)


def _gaps(answers: TaskAnswers) -> tuple[int, int] | None:
    """Return how many numbers below the highest no answer has, and the first of them."""
    # Not one by one: the highest may have ten digits.
    numbers = {answer.key for answer in answers.answers if isinstance(answer.key, int)}
    lacking = max(numbers, default=-1) + 1 - len(numbers)
    return (lacking, next(number for number in itertools.count() if number not in numbers)) if lacking else None


def _repeats(name: str, task: Task, answers: Sequence[Answer], origin: str) -> int:
    """Return how often each document was answered; raise HarnessError where that or the kind of answer differs."""
    generates = task.output_type == "generate_until"
    for answer in answers:
        texts = [isinstance(one, str) for one in itertools.chain.from_iterable(answer.responses)]
        if generates and not all(texts):
            raise HarnessError(f"{answer.where}, holds likelihoods, but {name} is answered by texts")
        if not generates and any(texts) and task.output_type != "loglikelihood_rolling":
            raise HarnessError(
                f"{answer.where}, holds a text, but {name} is answered by likelihoods: record the 'logprobs' of its "
                "choices, or name a task that generates"
            )
    counts = Counter(len(repeats) for answer in answers for repeats in answer.responses)
    if len(counts) > 1:
        times = " or ".join(map(str, sorted(counts)))
        raise HarnessError(f"{origin}: documents of {name} were answered {times} times: record each as often")
    return next(iter(counts), 1)


def _likelihood(said: Response, answer: Answer | None) -> float:
    """Return a whole text's log-likelihood, which lm-eval and reports write as a text."""
    try:
        return float(said[0] if isinstance(said, tuple) else said)
    except ValueError as error:
        raise HarnessError(f"{answer.where if answer else ''}, holds no log-likelihood of a text") from error


def _lines(task: Task, place: int, answer: Answer | None, said: Responses) -> Responses:
    """Return responses as lines of ChatGLM's file, which hold the reference as far as it was cut, too."""
    if answer is not None and answer.hashes is not None:  # our own report has such lines
        return said
    told = answer.document.get("summary") if answer is not None else None
    labels = told if isinstance(told, str) else str(task.target(task.documents[place]))
    return (tuple(json.dumps({"labels": labels, "predict": one}, ensure_ascii=False) for one in said[0]),)
