"""Filters that read a letter from an answer, as C-Eval's evaluators do."""

from __future__ import annotations

from typing import Any

from harness.metrics.answers import choices


def chatglm(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return the letter that chatglm.py reads in each response."""
    return [[choices.ceval_chatglm(text, doc) for text in texts] for texts, doc in zip(responses, docs, strict=True)]


def chatgpt(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return the letter that each response consists of, chatgpt.py's rule for prompts with shots."""
    return [[choices.ceval_chatgpt(text) for text in texts] for texts in responses]


def chatgpt_zero_shot(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return the letter that chatgpt.py reads in each response to a prompt without shots."""
    return [[choices.ceval_chatgpt_zero_shot(text) for text in texts] for texts in responses]


def minimax(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return the letter that minimax.py reads in each response: its first character."""
    return [[text.strip()[:1] for text in texts] for texts in responses]
