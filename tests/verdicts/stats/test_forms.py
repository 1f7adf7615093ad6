"""The metric of summed statistics is what tasks, lm-eval, sacrebleu and scikit-learn make of the same documents."""

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
def hits_said_wanted(draw: Any) -> list[int]:
    said, wanted = draw(counts), draw(counts)
    return [draw(st.integers(0, min(said, wanted))), said, wanted]


@st.composite
def probabilities(draw: Any) -> tuple[int, list[float]]:
    shares = draw(st.lists(st.floats(0, 1), min_size=3, max_size=3))
    return draw(st.integers(0, 2)), shares


def by_documents(documents: Sequence[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Name documents two by two; both parts of one want the same."""
    return [(f"d{i // 2}", said, documents[i - i % 2][1]) for i, (said, _) in enumerate(documents)]


def sklearns(average: str) -> Callable[[Sequence[Any]], float]:
    return lambda pairs: sklearn.f1_score([a for a, _ in pairs], [b for _, b in pairs], average=average)


Aggregation = Callable[[Sequence[Any]], float]
# The name of the function that aggregates, what a document adds, and the function.
CASES: dict[str, tuple[str, st.SearchStrategy[Any], Aggregation]] = {
    "our ratio": ("ratio", st.tuples(counts, st.integers(1, 9)), estimates.ratio),
    "our macro F1": (
        "macro_f1",
        st.dictionaries(st.sampled_from("人地物"), hits_said_wanted(), max_size=3),
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
    """What a report has of a metric: numbers, or JSON where a value is none."""
    if all(isinstance(value, float | None) for value in values):
        return np.array([math.nan if value is None else value for value in values], dtype=float)
    return [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]


def score(made: Paired, values: Any) -> float:
    """The metric of rows of statistics."""
    return float(values.mean() if made.metric is None else made.metric(values.sum(axis=0)[None])[0])


@pytest.mark.filterwarnings("ignore::UserWarning")  # scikit-learn's, of a corpus with one label
@pytest.mark.parametrize("case", CASES)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_sums_of_any_documents_make_their_score(case: str, data: st.DataObject) -> None:
    name, value, aggregation = CASES[case]
    assert not rounding(name)
    assert getattr(aggregation, "__name__", "") == name or name in UNNAMED
    both = data.draw(st.lists(st.tuples(value, value), min_size=1, max_size=8))
    baseline, candidate = ([pair[side] for pair in both] for side in (0, 1))
    made = paired(name, column(baseline), column(candidate))
    assert made is not None
    assert made.kept.all()
    some = data.draw(st.lists(st.integers(0, len(both) - 1), min_size=1, max_size=8))
    for values, table, whole in ((baseline, made.baseline, 0), (candidate, made.candidate, 1)):
        expected = [aggregation(values), aggregation([values[i] for i in some])]
        found = [made.scores[whole], score(made, table[some])]
        for ours, theirs in zip(found, expected, strict=True):
            if not math.isnan(theirs):
                assert ours == pytest.approx(theirs, rel=SUMS, abs=SUMS)


@pytest.mark.parametrize("name", ["f1", "precision", "recall"])
@settings(max_examples=60, deadline=None)
@given(both=st.lists(st.tuples(records, records, records), min_size=1, max_size=8))
def test_iepiles_sums_make_its_score_to_its_rounding(name: str, both: list[tuple[Any, Any, Any]]) -> None:
    baseline = by_documents([(said, wanted) for said, _, wanted in both])
    candidate = by_documents([(said, wanted) for _, said, wanted in both])
    made = paired(name, column(baseline), column(candidate))
    assert made is not None
    expected = [getattr(IEPILE, name)(side) for side in (baseline, candidate)]
    assert made.scores == pytest.approx(expected, abs=rounding(name))


def test_what_iepile_asks_of_a_document_in_parts_is_one_documents() -> None:
    part = [
        ("d", [["甲", "x"]], [["甲", "x"], ["乙", "y"]]),
        ("d", [["甲", "x"], ["乙", "y"]], [["甲", "x"], ["乙", "y"]]),
    ]
    made = paired("f1", column(part), column(part))
    assert made is not None
    assert made.baseline.tolist() == [[2 * 2, 3 + 2], [0, 0]]


def test_references_that_not_every_document_has_are_left_out_as_lm_eval_does() -> None:
    pairs = [(["a b c", "c"], "a b"), (["x y", "z", "z w"], "z w")]
    made = paired("chrf", column(pairs), column(pairs))
    assert made is not None
    assert made.scores[0] == pytest.approx(lm_eval.chrf(pairs), rel=SUMS)
    assert made.scores[0] < lm_eval.chrf([pairs[0], (["x y", "z w"], "z w")])


# --- what is left out, and what is wrong ------------------------------------------------------------------------------


def test_documents_that_either_leaves_out_are_not_compared() -> None:
    made = paired("mean", np.array([0.5, np.nan, 1, 0]), np.array([1, 0, np.nan, 0.5]))
    assert made is not None
    assert made.kept.tolist() == [True, False, False, True]
    assert (made.baseline.tolist(), made.candidate.tolist()) == ([0.5, 0], [1, 0.5])
    assert made.metric is None
    assert made.scores == (0.25, 0.75)
    made = paired("ratio", ["[1, 2]", None, "null", "[0, 1]"], ["[1, 2]", "[1, 1]", "[1, 1]", "[1, 1]"])
    assert made is not None
    assert made.kept.tolist() == [True, False, False, True]
    assert made.scores == pytest.approx((1 / 3, 2 / 3))


def test_nothing_in_common_is_nothing_to_compare() -> None:
    made = paired("ratio", [None, "[1, 2]"], ["[1, 2]", None])
    assert made is not None
    assert (made.kept.any(), made.baseline.size, made.candidate.size) == (False, 0, 0)
    assert np.isnan(made.scores).all()


def test_numbers_that_were_written_as_json_are_numbers() -> None:
    made = paired("mean", ["true", "0.5"], np.array([1.0, 0.0]))
    assert made is not None
    assert (made.baseline.tolist(), made.candidate.tolist()) == ([1, 0.5], [1, 0])


@pytest.mark.parametrize("name", ["distinct1", "distinct2", "sd_over_seeds", "bypass_agg", "median", "", None])
def test_what_has_no_statistics_of_documents_has_none(name: str | None) -> None:
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
def test_another_function_of_a_known_name_is_not_guessed_at(name: str, value: Any) -> None:
    written = [json.dumps(value)] * 2
    assert paired(name, written, written) is None


def test_free_texts_are_no_labels() -> None:
    values = [json.dumps(["yes", f"answer {i}"]) for i in range(forms.MOST_LABELS)]
    assert paired("weighted_f1_score", values, values) is None
    assert paired("weighted_f1_score", values[1:], values[1:]) is not None


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("ratio", ["[1, 2]", "[1]", "[3, 4]"], "2 of 6 values are not pairs of numbers, unlike the others"),
        ("mean", ["[1, 2]", "1", "0"], "2 of 6 values are not numbers, unlike the others"),
        ("ratio", ["[1, 2]", "[NaN, 1]", "[1, Infinity]"], "2 of 3 documents have a value that is NaN or infinite"),
        ("mean", np.array([1, np.inf, 0]), "1 of 3 documents have a value that is NaN or infinite"),
        ("ratio", ["[1, 2]", "[1, ", "[3, 4]"], "a document's value is not valid JSON"),
        ("mean", ["1", "1, 0", "0"], "a document's value is not valid JSON"),
    ],
)
def test_values_that_are_wrong_are_told(name: str, values: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        paired(name, values, values)


def test_columns_of_other_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="the columns differ in length: 2 and 1 documents"):
        paired("mean", np.zeros(2), np.zeros(1))
    parts = [json.dumps([name, [], []]) for name in "ab"]
    with pytest.raises(ValueError, match="different names"):
        paired("f1", parts, parts[::-1])
