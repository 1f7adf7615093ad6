"""Questions of a user's own test set with several right choices, answered in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.metrics.answers import letter_scores, letter_sets
from harness.tasks.protocols.answers import Answers


def letters(responses: list[list[str]], documents: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the letters that each response names, in alphabetical order; empty if no letter was read."""
    return [
        ["".join(sorted(letter_sets.read(text, document["letters"]) or ())) for text in texts]
        for texts, document in zip(responses, documents, strict=True)
    ]


LETTERS = [
    {"name": "letters", "filter": [{"function": "custom", "filter_fn": letters}, {"function": "take_first"}]},
]
"""lm-eval's filter that reads the letters."""


class LetterSets(Answers):
    """Generated answers; the letters that an answer names are compared, as a set, with the document's `answer`."""

    def process_results(self, doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
        """Return whether exactly the right letters were chosen, and which share of them (0 with a wrong letter)."""
        chosen, right = results[0], doc["answer"]
        return {
            "exact_set": letter_scores.exact_set(chosen, right),
            "partial_credit": letter_scores.partial_credit(chosen, right),
        }

    def understood(self, doc: dict[str, Any], answer: str) -> bool:
        """Return whether any letter was read."""
        return bool(answer)
