"""Recorded answers: what one model answered to the documents of one task."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

Response = str | float | tuple[float, bool]
"""A generated text, the log-likelihood of a whole text in nats, or the log-likelihood of a choice in nats together with
whether greedy decoding would have generated this choice."""

Responses = tuple[tuple[Response, ...], ...]
"""For each request of a document, the responses of its repeats (several when answers are sampled)."""


class Hashes(NamedTuple):
    """The hashes by which a report of this project identifies a document and its prompt."""

    document: str
    prompt: str


class Answer(NamedTuple):
    """The answer to one document."""

    where: str
    """File and line of the answer, for error messages."""
    key: int | str
    """The document's place in its split, counted from 0, or the value of its `id` column."""
    responses: Responses
    document: dict[str, Any]
    """The columns of the document that the file contains."""
    complete: bool = False
    """Whether `document` has all columns that are needed to score the answer."""
    prompt: str | None = None
    """The text that the model was prompted with, or None if the file does not contain it."""
    arguments: list[list[Any]] | None = None
    """The arguments of lm-eval's requests for the document, request by request."""
    hashes: Hashes | None = None
    """The hashes of document and prompt if the answer comes from a report of this project."""
    beside: Mapping[str, Any] = MappingProxyType({})
    """The line's other columns, which may repeat the question or the reference (`harness.recorded.agreement`)."""
    names_id: bool = False
    """Whether a number in `key` is a value of the column `id` if the task is a user's own file with that column."""


class TaskAnswers(NamedTuple):
    """One model's answers to one task."""

    task: str
    origin: str
    """The file that contains the answers, for error messages."""
    answers: list[Answer]
    malformed: list[str]
    """Complaints about entries that could not be read and were left out."""
