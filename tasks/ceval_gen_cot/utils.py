"""Filters that read a letter from a chain of thought, as C-Eval's evaluators do, and the score."""

from __future__ import annotations

from typing import Any

from harness.metrics.answers import choices


def reasoned_chatglm(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return the letter that chatglm.py reads in each response."""
    return [[choices.ceval_chatglm(text, doc) for text in texts] for texts, doc in zip(responses, docs, strict=True)]


def reasoned_chatgpt(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return the letter that chatgpt.py reads in each response."""
    return [[choices.ceval_chatgpt_reasoned(text) for text in texts] for texts in responses]


def score(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Return whether the letter is the right answer. The task's own target is a whole shot."""
    return {"exact_match": float(results[0] == doc["answer"])}
