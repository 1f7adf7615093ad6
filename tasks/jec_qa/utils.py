"""JEC-QA's answers: letters read in two ways, and whether they are exactly the right ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.metrics.answers import choices


def agieval(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return the letters that AGIEval reads in each response, in alphabetical order."""
    return _read(choices.agieval_letters, responses)


def disc_law(responses: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """Return the letters that DISC-Law-Eval reads in each response, in alphabetical order."""
    return _read(choices.disc_law, responses)


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Return whether the letters are all the right ones and no other; of a question without a right one they never are.

    `exact_set_single` is of questions with one right option, so others have none.
    """
    right = {"ABCD"[place] for place in doc["gold"]}
    exact = float(bool(right) and {*results[0]} == right)
    return {"exact_set": exact, **({"exact_set_single": exact} if len(right) == 1 else {})}


def _read(letters: Callable[[str], frozenset[str]], responses: list[list[str]]) -> list[list[str]]:
    return [["".join(sorted(letters(text))) for text in texts] for texts in responses]
