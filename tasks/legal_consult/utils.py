"""Lawyer LLaMA's conversations, and the parsing and scoring of answers."""

from __future__ import annotations

from typing import Any

from harness.metrics.law import consultation
from harness.metrics.stats.estimates import ratio
from harness.tasks.protocols.consultation import Consultation

__all__ = ["Consultation", "conversations", "ratio", "read", "scores"]


def conversations(dataset: Any) -> Any:
    """Return conversations with the lawyer's last turn as the `response` and the turns before it as the prompt's."""
    return dataset.map(_conversation)


def _conversation(doc: dict[str, Any]) -> dict[str, Any]:
    turns = consultation.parse_turns(doc["history"])
    if turns[-1].speaker != "律师":  # one in 476 ends with the client's thanks
        turns.pop()
    *before, question, response = (turn.text for turn in turns)
    earlier = [{"question": client, "answer": lawyer} for client, lawyer in zip(before[::2], before[1::2], strict=True)]
    return {"earlier": earlier, "question": question, "response": response}


def scores(doc: dict[str, Any], results: list[str]) -> dict[str, consultation.Value]:
    """Return the metrics of the answer in a record."""
    answer, given, library = consultation.answer_in_record(results[0]), doc["given"], doc["library"]
    return consultation.scores(answer, doc["response"], given=given, provided=doc["laws"], library=library)


def read(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return a record of each response: the response and its parsed citations."""
    return [[consultation.format_record(text) for text in texts] for texts in responses]
