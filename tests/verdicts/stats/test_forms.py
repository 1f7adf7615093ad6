"""Metrics of summed statistics equal those of the tasks, lm-eval, sacrebleu and scikit-learn."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.api import metrics as lm_eval
from sklearn import metrics as sklearn

from harness.common import resources
from harness.metrics.extraction import scores
from harness.metrics.stats import estimates
from harness.metrics.text import corpus_bleu
from harness.verdicts.stats import forms
from harness.verdicts.stats.forms import Paired, paired, rounding
from tolerances import SUMS


def utils(family: str) -> ModuleType:
    file = resources.folder("tasks") / family / "utils.py"
    spec = importlib.util.spec_from_file_location(f"{family}_utils", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


IEPILE = utils("iepile")
counts = st.integers(0, 9)
numbers = st.floats(-50, 50)
texts = st.lists(st.sampled_from(["a", "cat", "b", "，", "白色"]), max_size=9).map(" ".join)
several = st.lists(texts, min_size=2, max_size=2)
labels = st.sampled_from(["yes", "no", "是"])
records = st.lists(st.tuples(st.sampled_from("甲乙"), st.sampled_from("xy")), max_size=3)


@st.composite
def counts_of_type(draw: Any) -> list[int]:
    predicted, expected = draw(counts), draw(counts)
    return [draw(st.integers(0, min(predicted, expected))), predicted, expected]


@st.composite
def probabilities(draw: Any) -> tuple[int, list[float]]:
    shares = draw(st.lists(st.floats(0, 1), min_size=3, max_size=3))
    return draw(st.integers(0, 2)), shares


def by_documents(documents: Sequence[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Give each two consecutive samples the same document name and the same expectations."""
    return [(f"d{i // 2}", predicted, documents[i - i % 2][1]) for i, (predicted, _) in enumerate(documents)]


def sklearns(average: str) -> Callable[[Sequence[Any]], float]:
    return lambda pairs: sklearn.f1_score([a for a, _ in pairs], [b for _, b in pairs], average=average)


Aggregation = Callable[[Sequence[Any]], float]
# The name of the aggregation, a strategy for the values of documents, and the aggregation function.
CASES: dict[str, tuple[str, st.SearchStrategy[Any], Aggregation]] = {
    "our ratio": ("ratio", st.tuples(counts, st.integers(1, 9)), estimates.ratio),
    "our macro F1": (
        "macro_f1",
        st.dictionaries(st.sampled_from("人地物"), counts_of_type(), max_size=3),
        scores.macro_f1,
    ),
    "our BLEU": ("bleu", st.builds(corpus_bleu.bleu_zh_counts, texts, texts), corpus_bleu.bleu),
    "our chrF": ("chrf", st.builds(corpus_bleu.chrf_counts, texts, texts), corpus_bleu.chrf),
    "lm-eval's BLEU": ("bleu", st.tuples(texts, texts), lm_eval.bleu),
    "lm-eval's BLEU of several references": ("bleu", st.tuples(several, texts), lm_eval.bleu),
    "lm-eval's chrF of several references": ("chrf", st.tuples(several, texts), lm_eval.chrf),
    "lm-eval's chrF": ("chrf", st.tuples(texts, texts), lm_eval.chrf),
    "lm-eval's chrF++": ("chrfpp", st.tuples(texts, texts), lm_eval.chrfpp),
    "lm-eval's TER": ("ter", st.tuples(texts, st.tuples(texts)), lm_eval.ter),
    "lm-eval's perplexity": ("perplexity", numbers, lm_eval.perplexity),
    "lm-eval's word perplexity": (
        "weighted_perplexity",
        st.tuples(numbers, st.integers(1, 9)),
        lm_eval.weighted_perplexity,
    ),
    "lm-eval's bits": ("bits_per_byte", st.tuples(numbers, st.integers(1, 9)), lm_eval.bits_per_byte),
    "lm-eval's F1": ("f1_score", st.tuples(st.sampled_from([0, 1]), st.sampled_from([0, 1])), lm_eval.f1_score),
    "lm-eval's MCC": ("matthews_corrcoef", st.tuples(labels, labels), lm_eval.matthews_corrcoef),
    "lm-eval's Brier score": ("brier_score", probabilities(), lm_eval.brier_score),
    "scikit-learn's macro F1": ("macro_f1_score", st.tuples(labels, labels), sklearns("macro")),
    "scikit-learn's micro F1": ("micro_f1_score", st.tuples(labels, labels), sklearns("micro")),
    "scikit-learn's weighted F1": ("weighted_f1_score", st.tuples(labels, labels), sklearns("weighted")),
}
UNNAMED = {"macro_f1_score", "micro_f1_score", "weighted_f1_score"}  # of tasks' own folders


def column(values: Sequence[Any]) -> Any:
    """Return a metric's column as a report holds it: numbers, or JSON texts if a value is not a number."""
    if all(isinstance(value, float | None) for value in values):
        return np.array([math.nan if value is None else value for value in values], dtype=float)
    return [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]


def score(result: Paired, values: Any) -> float:
    """Return the metric of rows of statistics."""
    return float(values.mean() if result.metric is None else result.metric(values.sum(axis=0)[None])[0])


@pytest.mark.filterwarnings("ignore::UserWarning")  # scikit-learn's, of a corpus with one label
@pytest.mark.parametrize("case", CASES)
@settings(max_examples=settings.default.max_examples // 2, deadline=None)
@given(data=st.data())
def test_sums_of_any_documents_give_their_score(case: str, data: st.DataObject) -> None:
    name, value, aggregation = CASES[case]
    assert not rounding(name)
    assert getattr(aggregation, "__name__", "") == name or name in UNNAMED
    both = data.draw(st.lists(st.tuples(value, value), min_size=1, max_size=8))
    baseline, candidate = ([pair[side] for pair in both] for side in (0, 1))
    result = paired(name, column(baseline), column(candidate))
    assert result is not None
    assert result.kept.all()
    chosen = data.draw(st.lists(st.integers(0, len(both) - 1), min_size=1, max_size=8))
    for values, table, side in ((baseline, result.baseline, 0), (candidate, result.candidate, 1)):
        expected = [aggregation(values), aggregation([values[i] for i in chosen])]
        computed = [result.scores[side], score(result, table[chosen])]
        for number, reference in zip(computed, expected, strict=True):
            if not math.isnan(reference):
                assert number == pytest.approx(reference, rel=SUMS, abs=SUMS)


@pytest.mark.parametrize("name", ["f1", "precision", "recall"])
@settings(max_examples=settings.default.max_examples, deadline=None)
@given(both=st.lists(st.tuples(records, records, records), min_size=1, max_size=8))
def test_iepiles_sums_give_its_score_up_to_rounding(name: str, both: list[tuple[Any, Any, Any]]) -> None:
    baseline = by_documents([(predicted, expected) for predicted, _, expected in both])
    candidate = by_documents([(predicted, expected) for _, predicted, expected in both])
    result = paired(name, column(baseline), column(candidate))
    assert result is not None
    expected = [getattr(IEPILE, name)(side) for side in (baseline, candidate)]
    assert result.scores == pytest.approx(expected, abs=rounding(name))


def test_samples_of_one_iepile_document_are_counted_together() -> None:
    part = [
        ("d", [["甲", "x"]], [["甲", "x"], ["乙", "y"]]),
        ("d", [["甲", "x"], ["乙", "y"]], [["甲", "x"], ["乙", "y"]]),
    ]
    result = paired("f1", column(part), column(part))
    assert result is not None
    assert result.baseline.tolist() == [[2 * 2, 3 + 2], [0, 0]]


def test_extra_references_are_left_out_as_lm_eval_does() -> None:
    pairs = [(["a b c", "c"], "a b"), (["x y", "z", "z w"], "z w")]
    result = paired("chrf", column(pairs), column(pairs))
    assert result is not None
    assert result.scores[0] == pytest.approx(lm_eval.chrf(pairs), rel=SUMS)
    assert result.scores[0] < lm_eval.chrf([pairs[0], (["x y", "z w"], "z w")])


# --- missing and invalid values ---------------------------------------------------------------------------------------


def test_documents_without_a_numberon_either_side_are_not_compared() -> None:
    result = paired("mean", np.array([0.5, np.nan, 1, 0]), np.array([1, 0, np.nan, 0.5]))
    assert result is not None
    assert result.kept.tolist() == [True, False, False, True]
    assert (result.baseline.tolist(), result.candidate.tolist()) == ([0.5, 0], [1, 0.5])
    assert result.metric is None
    assert result.scores == (0.25, 0.75)
    result = paired("ratio", ["[1, 2]", None, "null", "[0, 1]"], ["[1, 2]", "[1, 1]", "[1, 1]", "[1, 1]"])
    assert result is not None
    assert result.kept.tolist() == [True, False, False, True]
    assert result.scores == pytest.approx((1 / 3, 2 / 3))


def test_no_common_documents_give_empty_arrays() -> None:
    result = paired("ratio", [None, "[1, 2]"], ["[1, 2]", None])
    assert result is not None
    assert (result.kept.any(), result.baseline.size, result.candidate.size) == (False, 0, 0)
    assert np.isnan(result.scores).all()


def test_numbers_written_as_json_are_read_as_numbers() -> None:
    result = paired("mean", ["true", "0.5"], np.array([1.0, 0.0]))
    assert result is not None
    assert (result.baseline.tolist(), result.candidate.tolist()) == ([1, 0.5], [1, 0])


@pytest.mark.parametrize("name", ["distinct1", "distinct2", "sd_over_seeds", "bypass_agg", "median", "", None])
def test_aggregations_without_document_statistics_give_none(name: str | None) -> None:
    assert paired(name, column([1.0, 2.0]), column([1.0, 2.0])) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("macro_f1", [0, 1]),
        ("f1", [1, 0]),
        ("f1", 0.5),
        ("f1_score", [0.5, 2]),
        ("bleu", "a text"),
        ("bleu", [["a"], ["b", "c"]]),
        ("chrf", [[1] * 6, [1] * 6]),
        ("mean", [1, 2]),
        ("ratio", {"a": 1}),
        ("precision", ["d", [], [1]]),
        ("brier_score", [3, [0.1, 0.9]]),
    ],
)
def test_unknown_values_under_a_known_name_give_none(name: str, value: Any) -> None:
    json_values = [json.dumps(value)] * 2
    assert paired(name, json_values, json_values) is None


def test_free_texts_are_not_labels() -> None:
    values = [json.dumps(["yes", f"answer {i}"]) for i in range(forms.MOST_LABELS)]
    assert paired("weighted_f1_score", values, values) is None
    assert paired("weighted_f1_score", values[1:], values[1:]) is not None


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("ratio", ["[1, 2]", "[1]", "[3, 4]"], "2 of 6 values are not pairs of numbers, unlike the others"),
        ("mean", ["[1, 2]", "1", "0"], "2 of 6 values are not numbers, unlike the others"),
        ("ratio", ["[1, 2]", "[NaN, 1]", "[1, Infinity]"], "2 of 3 documents have a value that is NaN or infinite"),
        ("mean", np.array([1, np.inf, 0]), "1 of 3 documents have a value that is NaN or infinite"),
        ("ratio", ["[1, 2]", "[1, ", "[3, 4]"], "a document's value is not valid JSON"),
        ("mean", ["1", "1, 0", "0"], "a document's value is not valid JSON"),
    ],
)
def test_invalid_values_are_errors(name: str, values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired(name, values, values)


def test_columns_of_different_documents_are_errors() -> None:
    with pytest.raises(ValueError, match="the columns differ in length: 2 and 1 documents"):
        paired("mean", np.zeros(2), np.zeros(1))
    parts = [json.dumps([name, [], []]) for name in "ab"]
    with pytest.raises(ValueError, match="different names"):
        paired("f1", parts, parts[::-1])
