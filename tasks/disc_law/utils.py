"""DISC-Law-Eval's answers: those of its examples, the letters it reads, and whether these are the right ones."""

from __future__ import annotations

from typing import Any

from harness.metrics.answers import choices


def shown(doc: dict[str, Any]) -> str:
    """Return the right options as the examples show them: a letter and its text, each on its own line."""
    return "\n".join(f"{letter}. {doc[letter]}" for letter in doc["output"])


def letters(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return the letters that `McqRegexEvaluator` reads in each response, in alphabetical order."""
    return [["".join(sorted(choices.disc_law(text))) for text in texts] for texts in responses]


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Return whether the answer has all the right letters and no other."""
    return {"exact_set": float({*results[0]} == {*doc["output"]})}
