"""JEC-QA's answers: letters parsed in two ways, and whether they are exactly the right ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.metrics.answers import choices


def agieval(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return the letters that AGIEval reads in each response, in alphabetical order."""
    return _sorted_letters(choices.agieval_letters, responses)


def disc_law(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return the letters that DISC-Law-Eval reads in each response, in alphabetical order."""
    return _sorted_letters(choices.disc_law, responses)


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Return whether the answer has all the right letters and no other; never if a question has no right option.

    Only questions with exactly one right option have `exact_set_single`.
    """
    right = {"ABCD"[index] for index in doc["gold"]}
    exact = float(bool(right) and {*results[0]} == right)
    return {"exact_set": exact, **({"exact_set_single": exact} if len(right) == 1 else {})}


def _sorted_letters(parse: Callable[[str], frozenset[str]], responses: list[list[str]]) -> list[list[str]]:
    return [["".join(sorted(parse(text))) for text in texts] for texts in responses]
