"""The scores of a set of chosen letters against the right letters.

Not here: which letters an answer chooses (`harness.metrics.answers.letter_sets`).
"""

from __future__ import annotations

from collections.abc import Collection


def exact_set(chosen: Collection[str], right: Collection[str]) -> float:
    """Return 1 if the chosen letters are exactly the right ones, else 0: the rule of JEC-QA and DISC-Law-Eval."""
    return float(set(chosen) == set(right))


def partial_credit(chosen: Collection[str], right: Collection[str]) -> float:
    """Return the share of the right letters that were chosen, or 0 if a wrong letter was chosen.

    This is how exams are graded that give points for each right choice, but none at all if a wrong one is chosen.
    JEC-QA, AGIEval and DISC-Law-Eval give no partial credit.
    """
    return len(set(chosen)) / len(set(right)) if set(chosen) <= set(right) else 0.0
