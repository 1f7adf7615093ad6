"""The score, for copies whose test split has answers."""

from __future__ import annotations

from typing import Any


def score(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """Return whether the most likely letter is the right answer; no score if the answer is withheld."""
    likelihoods = [likelihood for likelihood, _ in results]
    return {"acc": float("ABCD"[likelihoods.index(max(likelihoods))] == doc["answer"])} if doc["answer"] else {}
