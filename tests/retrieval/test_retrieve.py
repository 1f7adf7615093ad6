"""Measures of retrieval: means over the questions with right passages."""

from __future__ import annotations

import pytest

from harness.retrieval.corpus import Question
from harness.retrieval.retrieve import evaluate


def test_measures_are_means_over_the_questions_that_have_the_set():
    questions = [
        Question("甲", {"provided": frozenset("abc"), "cited": frozenset("a")}),
        Question("乙", {"provided": frozenset("de")}),
        Question("丙", {}),
    ]
    measures = evaluate(questions, [["a", "x", "b"], ["x", "y", "d"], ["a"]], [1, 3])
    assert {name: (estimate.value, estimate.n) for name, estimate in measures.items()} == {
        ("provided", "recall@1"): (pytest.approx((1 / 3 + 0) / 2), 2),
        ("provided", "hit@1"): (0.5, 2),
        ("provided", "recall@3"): (pytest.approx((2 / 3 + 1 / 2) / 2), 2),
        ("provided", "hit@3"): (1.0, 2),
        ("provided", "mrr@3"): (pytest.approx((1 + 1 / 3) / 2), 2),
        ("cited", "recall@1"): (1.0, 1),
        ("cited", "hit@1"): (1.0, 1),
        ("cited", "recall@3"): (1.0, 1),
        ("cited", "hit@3"): (1.0, 1),
        ("cited", "mrr@3"): (1.0, 1),
    }
    assert evaluate([Question("丙", {})], [["a"]], [1]) == {}
