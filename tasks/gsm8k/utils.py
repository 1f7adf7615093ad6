"""Scoring GSM8K: answers are compared as numbers."""

from __future__ import annotations

from typing import Any

from harness.metrics.answers.numbers import is_same_number


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Return whether the last number of the answer equals the one after #### in the solution."""
    return {"exact_match": float(is_same_number(results[0], doc["answer"].split("####")[-1]))}
