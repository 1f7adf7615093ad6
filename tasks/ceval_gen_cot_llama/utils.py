"""The filter that reads an answer from a chain of thought begun by the prompt, as C-Eval's llama.py does."""

from __future__ import annotations

from typing import Any

from harness.metrics.answers import choices


def reasoned_llama(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return the answer that llama.py reads in each response: a letter, or the text of a choice."""
    return [[choices.ceval_llama(text) for text in texts] for texts in responses]


def score(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Return whether the letter or the text of the right choice was read. The task's own target is a whole shot."""
    return {"exact_match": float(results[0] in (doc["answer"], str(doc[doc["answer"]])))}
