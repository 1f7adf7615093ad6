"""Comparisons of two reports, checked with statsmodels, scipy, the reports' scores, and by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from harness.reports.report import Report
from harness.verdicts.compare import Comparator, Comparison, Refusal
from harness.verdicts.pairs import IncomparableError
from support.answered import Answers, report


def comparator_of(
    root: Path, baseline: dict[str, Answers], candidate: dict[str, Answers], **settings: Any
) -> Comparator:
    return Comparator(
        report(root / "a", "base", baseline, **settings), report(root / "b", "cand", candidate, **settings)
    )


def compared_task(root: Path, baseline: Answers, candidate: Answers) -> Comparison:
    comparator = comparator_of(root, {"law": baseline}, {"law": candidate})
    return comparator.compare(comparator.baseline.manifest.scores[0])


def draws(seed: int, n: int, share: float) -> list[float]:
    return (np.random.default_rng(seed).random(n) < share).astype(float).tolist()


def reported_value(report_: Report, task: str) -> float:
    return next(score.value for score in report_.manifest.scores if score.task == task)


def test_binary_scores_are_compared_with_mcnemars_test(tmp_path: Path) -> None:
    baseline, candidate = draws(1, 200, 0.6), draws(2, 200, 0.5)
    comparison = compared_task(tmp_path, Answers(baseline), Answers(candidate))
    lost = sum(a > b for a, b in zip(baseline, candidate, strict=True))
    gained = sum(a < b for a, b in zip(baseline, candidate, strict=True))
    assert (comparison.values.lost, comparison.values.gained) == (lost, gained)
    assert comparison.difference == pytest.approx((gained - lost) / 200)
    assert (comparison.baseline, comparison.candidate) == (
        pytest.approx(np.mean(baseline)),
        pytest.approx(np.mean(candidate)),
    )
    assert comparison.p_value == pytest.approx(mcnemar([[0, lost], [gained, 0]], exact=True).pvalue)
    assert comparison.p_value == pytest.approx(stats.binomtest(lost, lost + gained).pvalue)
    assert comparison.interval is not None
    assert comparison.interval.low < comparison.difference < comparison.interval.high
    assert comparison.documents == 200
    assert comparison.clusters is None


def test_clusters_widen_the_interval_as_a_cluster_robust_regression_does(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    passages = np.repeat(np.arange(60), 5)
    shift = generator.normal(0, 0.3, 60)[passages]
    baseline = generator.random(300)
    candidate = baseline + shift + generator.normal(0, 0.05, 300)
    names = [f"passage {at}" for at in passages]
    plain = {"fraction": False, "metric": "score"}
    comparison = compared_task(
        tmp_path,
        Answers(baseline.tolist(), clusters=names, **plain),
        Answers(candidate.tolist(), clusters=names, **plain),
    )
    fit = sm.OLS(candidate - baseline, np.ones(300)).fit(
        cov_type="cluster", cov_kwds={"groups": passages, "use_correction": True}, use_t=True
    )
    low, high = fit.conf_int()[0]
    # statsmodels' correction is C/(C-1) · (n-1)/(n-k), which is C/(C-1) for a model with only a constant.
    assert comparison.interval == pytest.approx((low, high))
    assert comparison.clusters == 60


def test_if_less_is_better_a_rise_is_a_loss_with_a_plus_sign(tmp_path: Path) -> None:
    less = {"metric": "abstention", "higher_is_better": False}
    comparison = compared_task(tmp_path, Answers([0] * 40 + [1] * 10, **less), Answers([0] * 30 + [1] * 20, **less))
    assert (comparison.baseline, comparison.candidate, comparison.difference) == pytest.approx((0.2, 0.4, 0.2))
    assert comparison.interval is not None
    assert 0 < comparison.interval.low < 0.2 < comparison.interval.high
    assert (comparison.values.lost, comparison.values.gained) == (10, 0)
    assert comparison.values.p_loss == pytest.approx(2.0**-10)


def test_scores_that_are_not_fractions_keep_their_unit(tmp_path: Path) -> None:
    plain = {"metric": "bits", "higher_is_better": False, "fraction": False}
    comparison = compared_task(tmp_path, Answers([2.0, 3.0, 4.0], **plain), Answers([1.0, 2.5, 4.0], **plain))
    assert (comparison.baseline, comparison.candidate, comparison.difference) == pytest.approx((3.0, 2.5, -0.5))
    assert comparison.interval is not None
    assert comparison.interval.low < -0.5 < comparison.interval.high


def test_a_falling_ratio_is_a_gain_if_less_is_better(tmp_path: Path) -> None:
    less = {"metric": "error_rate", "aggregation": "ratio", "higher_is_better": False}
    comparison = compared_task(
        tmp_path, Answers([[3, 4], [2, 8], [1, 4]], **less), Answers([[1, 4], [2, 8], [1, 4]], **less)
    )
    assert (comparison.baseline, comparison.candidate, comparison.difference) == pytest.approx(
        (6 / 16, 4 / 16, -2 / 16)
    )
    assert (comparison.values.lost, comparison.values.gained) == (0, 1)
    assert comparison.interval is not None
    assert comparison.interval.low < comparison.difference <= comparison.interval.high


def f1(pairs: Sequence[Sequence[int]]) -> float:
    return sum(a for a, _ in pairs) / sum(b for _, b in pairs)


def test_a_ratio_of_sums_is_compared_as_a_corpus(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    expected = generator.integers(1, 9, 300)
    sides = [np.column_stack([generator.binomial(2 * expected, share), 2 * expected]).tolist() for share in (0.7, 0.6)]
    comparison = compared_task(tmp_path, *(Answers(side, "micro_f1", "ratio") for side in sides))
    assert (comparison.baseline, comparison.candidate) == pytest.approx((f1(sides[0]), f1(sides[1])))
    # Both sides are independent: compare their linearised standard errors with the bootstrap interval.
    errors = [math.sqrt(sum((a - f1(side) * b) ** 2 for a, b in side)) / sum(b for _, b in side) for side in sides]
    half = 1.96 * math.hypot(*errors)
    assert comparison.interval == pytest.approx(
        (comparison.difference - half, comparison.difference + half), abs=half / 10
    )
    assert comparison.p_value < 0.001


@pytest.mark.parametrize("weight", ["task", "sample"])
def test_the_difference_of_an_average_is_that_of_the_reports(tmp_path: Path, weight: str) -> None:
    sides = [{"law": Answers(draws(seed, 30, 0.5)), "logic": Answers(draws(seed + 1, 90, 0.7))} for seed in (10, 20)]
    comparator = comparator_of(tmp_path, *sides, averages={"exam": (weight, ["law", "logic"])})
    comparison = comparator.compare(comparator.baseline.manifest.scores[0])
    expected = [reported_value(side, "exam") for side in (comparator.baseline, comparator.candidate)]
    assert (comparison.baseline, comparison.candidate) == pytest.approx(tuple(expected))
    assert comparison.difference == pytest.approx(expected[1] - expected[0])
    assert comparison.documents == 120
    assert comparison.values.p_loss <= 1


def test_a_document_of_a_small_task_weighs_more_in_an_average(tmp_path: Path) -> None:
    """Each of the 5 documents of the small task weighs 5 times the mean, so 2 % of documents can lose 10 points."""
    answers = {"small": Answers([0] * 5), "large": Answers([1] * 45)}
    comparator = comparator_of(tmp_path, answers, answers, averages={"exam": ("task", ["small", "large"])})
    comparison = comparator.compare(comparator.baseline.manifest.scores[0])
    assert comparison.values.p_non_inferiority(0.1) == pytest.approx((1 - 0.1 / 5) ** 50)


def test_an_average_of_corpora_is_the_mean_of_their_metrics(tmp_path: Path) -> None:
    ratios = [Answers([[a, 4], [b, 4]], "f1", "ratio") for a, b in ((1, 2), (3, 4), (2, 2), (4, 2))]
    averages = {"both": ("task", ["ner", "re"])}
    comparator = comparator_of(
        tmp_path,
        {"ner": ratios[0], "re": ratios[1]},
        {"ner": ratios[2], "re": ratios[3]},
        averages=averages,
    )
    comparison = comparator.compare(comparator.baseline.manifest.scores[0])
    assert (comparison.baseline, comparison.candidate) == pytest.approx(((3 / 8 + 7 / 8) / 2, (4 / 8 + 6 / 8) / 2))


def test_a_cluster_shared_by_tasks_of_an_average_counts_once(tmp_path: Path) -> None:
    names = [f"case {at}" for at in range(20)]
    sides = [
        {"charge": Answers(draws(s, 20, 0.5), clusters=names), "term": Answers(draws(s, 20, 0.5), clusters=names)}
        for s in (1, 2)
    ]
    comparator = comparator_of(tmp_path, *sides, averages={"law": ("sample", ["charge", "term"])})
    comparison = comparator.compare(comparator.baseline.manifest.scores[0])
    assert (comparison.documents, comparison.clusters) == (40, 20)


def test_documents_without_a_value_in_either_report_do_not_count(tmp_path: Path) -> None:
    comparison = compared_task(tmp_path, Answers([1, None, 0, 1]), Answers([1, 1, None, 0]))
    assert (comparison.documents, comparison.difference) == (2, -0.5)


def test_tainted_documents_are_compared_separately(tmp_path: Path) -> None:
    tainted = [True] * 10 + [False] * 30
    comparison = compared_task(
        tmp_path,
        Answers([0] * 10 + [1] * 30, tainted=tainted),
        Answers([1] * 10 + [1] * 15 + [0] * 15, tainted=tainted),
    )
    assert (comparison.documents, comparison.difference) == (30, -0.5)
    assert comparison.tainted is not None
    assert (comparison.tainted.documents, comparison.tainted.difference) == (10, 1.0)


def test_a_mean_over_documents_skips_tainted_tasks_and_a_mean_over_tasks_does_not(
    tmp_path: Path,
) -> None:
    seen = {"law": Answers([1] * 30, tainted=[True] * 30), "math": Answers([1, 0] * 20)}
    answers = {"law": Answers([1] * 30), "math": Answers([0, 0] * 20)}
    comparator = comparator_of(tmp_path / "documents", seen, answers, averages={"exam": ("sample", ["law", "math"])})
    exam = next(comparator.compare_all(comparator.baseline.manifest.scores))
    assert isinstance(exam, Comparison)
    assert (exam.documents, exam.difference) == (40, -0.5)
    assert exam.tainted is not None
    assert exam.tainted.documents == 30
    comparator = comparator_of(tmp_path / "tasks", seen, answers, averages={"exam": ("task", ["law", "math"])})
    refused = next(comparator.compare_all(comparator.baseline.manifest.scores))
    assert isinstance(refused, Refusal)
    assert refused.reason == "all documents of law were seen in training"


def test_documents_with_one_value_are_left_out_and_counted(tmp_path: Path) -> None:
    comparison = compared_task(tmp_path, Answers([1, None, 1, 0, None]), Answers([None, 1, 1, 0, None]))
    assert (comparison.documents, comparison.left_out) == (2, 2)


def test_all_tainted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncomparableError, match="all documents of law were seen in training"):
        compared_task(tmp_path, Answers([1, 0], tainted=[True, True]), Answers([1, 0]))


@pytest.mark.parametrize(
    "candidate", [Answers([1, 0, 1]), Answers([1, 0]), Answers([1, 0, 1], tainted=[True] + [None] * 2)]
)
def test_samples_that_do_not_give_the_reported_score_are_refused(tmp_path: Path, candidate: Answers) -> None:
    comparator = comparator_of(tmp_path, {"law": Answers([1, 0, 1])}, {"law": candidate})
    score = comparator.baseline.manifest.scores[0]
    assert comparator.compare(score).documents >= 2
    changed = comparator.baseline.manifest.model_copy(update={"scores": [score.model_copy(update={"value": 0.5})]})
    other = Comparator(Report(comparator.baseline.folder, changed), comparator.candidate)
    with pytest.raises(IncomparableError, match=r"the samples of base_01 give 0\.666667, but its score is 0\.5"):
        other.compare(changed.scores[0])


@pytest.mark.parametrize("aggregation", [None, "mean"])
def test_scores_without_an_aggregation_are_tried_as_means(tmp_path: Path, aggregation: Any) -> None:
    comparison = compared_task(
        tmp_path, Answers([1, 0, 1], aggregation=aggregation), Answers([1, 0, 0], aggregation=aggregation)
    )
    assert comparison.difference == pytest.approx(-1 / 3)


def test_a_metric_that_is_not_a_sum_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncomparableError, match="there is no paired test"):
        compared_task(tmp_path, Answers([1, 0], aggregation="distinct1"), Answers([1, 0], aggregation="distinct1"))


def test_only_the_metric_that_the_candidate_lacks_is_refused(tmp_path: Path) -> None:
    comparator = comparator_of(
        tmp_path,
        {"law": Answers([1, 0]), "math": Answers([1, 1])},
        {"math": Answers([1, 0]), "law": Answers([1, 0], "f")},
    )
    law, math_ = comparator.compare_all(comparator.baseline.manifest.scores)
    assert isinstance(law, Refusal)
    assert law.reason == (
        "cand has no acc for it, although it was evaluated: none of its answers has a value, "
        "or the metric has another version"
    )
    assert isinstance(math_, Comparison)


def test_a_missing_task_is_refused_with_a_hint(tmp_path: Path) -> None:
    comparator = comparator_of(tmp_path, {"law": Answers([1, 0]), "math": Answers([1, 1])}, {"math": Answers([1, 0])})
    law = next(comparator.compare_all(comparator.baseline.manifest.scores))
    assert isinstance(law, Refusal)
    assert law.reason == "cand has no acc for it: evaluate it on law, too"


def test_a_report_does_not_differ_from_itself(tmp_path: Path) -> None:
    comparison = compared_task(tmp_path, Answers(draws(1, 100, 0.5)), Answers(draws(1, 100, 0.5)))
    assert (comparison.difference, comparison.p_value, comparison.values.lost, comparison.values.gained) == (
        0.0,
        1.0,
        0,
        0,
    )
    assert math.isinf(comparison.documents_needed)
    assert comparison.resolution == 0.0


@pytest.mark.parametrize("pair", [([1.0], [0.0]), ([1.0], [1.0]), ([0.0], [0.0])])
def test_one_document_shows_next_to_nothing(tmp_path: Path, pair: tuple[list[float], list[float]]) -> None:
    comparison = compared_task(tmp_path, Answers(pair[0]), Answers(pair[1]))
    assert comparison.p_value >= 0.5
    assert comparison.interval is None or comparison.interval.high - comparison.interval.low > 0.5


def test_if_all_answers_flip_the_p_value_is_exact(tmp_path: Path) -> None:
    comparison = compared_task(tmp_path, Answers([1] * 50), Answers([0] * 50))
    assert comparison.difference == -1.0
    assert comparison.p_value == pytest.approx(2.0**-49)
    assert comparison.interval is not None
    assert comparison.interval.low == -1.0
    assert -1 < comparison.interval.high < -0.8
