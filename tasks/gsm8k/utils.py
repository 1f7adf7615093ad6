"""Scoring GSM8K: answers are compared as numbers."""

from __future__ import annotations

from typing import Any

from harness.metrics.answers.numbers import last_number


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Return whether the last number of the answer equals the one after #### in the solution."""
    return {"exact_match": float(last_number(results[0]) == last_number(doc["answer"].split("####")[-1]))}
