"""Comparisons of two reports, against statsmodels, scipy, the reports' own numbers, and by hand."""

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


def two(root: Path, baseline: dict[str, Answers], candidate: dict[str, Answers], **how: Any) -> Comparator:
    return Comparator(report(root / "a", "base", baseline, **how), report(root / "b", "cand", candidate, **how))


def one(root: Path, baseline: Answers, candidate: Answers) -> Comparison:
    found = two(root, {"law": baseline}, {"law": candidate})
    return found.compare(found.baseline.manifest.scores[0])


def draws(seed: int, n: int, share: float) -> list[float]:
    return (np.random.default_rng(seed).random(n) < share).astype(float).tolist()


def value(found: Report, task: str) -> float:
    return next(score.value for score in found.manifest.scores if score.task == task)


def test_right_and_wrong_are_compared_as_mcnemar_does(tmp_path: Path) -> None:
    baseline, candidate = draws(1, 200, 0.6), draws(2, 200, 0.5)
    found = one(tmp_path, Answers(baseline), Answers(candidate))
    lost = sum(a > b for a, b in zip(baseline, candidate, strict=True))
    gained = sum(a < b for a, b in zip(baseline, candidate, strict=True))
    assert (found.values.lost, found.values.gained) == (lost, gained)
    assert found.difference == pytest.approx((gained - lost) / 200)
    assert (found.baseline, found.candidate) == (pytest.approx(np.mean(baseline)), pytest.approx(np.mean(candidate)))
    assert found.p_value == pytest.approx(mcnemar([[0, lost], [gained, 0]], exact=True).pvalue)
    assert found.p_value == pytest.approx(stats.binomtest(lost, lost + gained).pvalue)
    assert found.interval is not None
    assert found.interval.low < found.difference < found.interval.high
    assert found.documents == 200
    assert found.clusters is None


def test_clusters_widen_the_interval_as_a_cluster_robust_regression_does(tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    passages = np.repeat(np.arange(60), 5)
    shift = chance.normal(0, 0.3, 60)[passages]
    baseline = chance.random(300)
    candidate = baseline + shift + chance.normal(0, 0.05, 300)
    names = [f"passage {at}" for at in passages]
    plain = {"fraction": False, "metric": "score"}
    found = one(
        tmp_path,
        Answers(baseline.tolist(), clusters=names, **plain),
        Answers(candidate.tolist(), clusters=names, **plain),
    )
    fit = sm.OLS(candidate - baseline, np.ones(300)).fit(
        cov_type="cluster", cov_kwds={"groups": passages, "use_correction": True}, use_t=True
    )
    low, high = fit.conf_int()[0]
    # statsmodels' correction is C/(C-1) · (n-1)/(n-k), which for a constant alone is C/(C-1).
    assert found.interval == pytest.approx((low, high))
    assert found.clusters == 60


def test_where_less_is_better_the_difference_keeps_its_sign_and_a_rise_is_a_loss(tmp_path: Path) -> None:
    less = {"metric": "abstention", "higher_is_better": False}
    found = one(tmp_path, Answers([0] * 40 + [1] * 10, **less), Answers([0] * 30 + [1] * 20, **less))
    assert (found.baseline, found.candidate, found.difference) == pytest.approx((0.2, 0.4, 0.2))
    assert found.interval is not None
    assert 0 < found.interval.low < 0.2 < found.interval.high
    assert (found.values.lost, found.values.gained) == (10, 0)
    assert found.values.p_loss == pytest.approx(2.0**-10)


def test_numbers_that_are_no_fractions_keep_their_unit(tmp_path: Path) -> None:
    plain = {"metric": "bits", "higher_is_better": False, "fraction": False}
    found = one(tmp_path, Answers([2.0, 3.0, 4.0], **plain), Answers([1.0, 2.5, 4.0], **plain))
    assert (found.baseline, found.candidate, found.difference) == pytest.approx((3.0, 2.5, -0.5))
    assert found.interval is not None
    assert found.interval.low < -0.5 < found.interval.high


def test_a_rate_of_sums_that_falls_is_a_gain_where_less_is_better(tmp_path: Path) -> None:
    less = {"metric": "error_rate", "aggregation": "ratio", "higher_is_better": False}
    found = one(tmp_path, Answers([[3, 4], [2, 8], [1, 4]], **less), Answers([[1, 4], [2, 8], [1, 4]], **less))
    assert (found.baseline, found.candidate, found.difference) == pytest.approx((6 / 16, 4 / 16, -2 / 16))
    assert (found.values.lost, found.values.gained) == (0, 1)
    assert found.interval is not None
    assert found.interval.low < found.difference <= found.interval.high


def f1(pairs: Sequence[Sequence[int]]) -> float:
    return sum(a for a, _ in pairs) / sum(b for _, b in pairs)


def test_a_ratio_of_sums_is_compared_as_a_corpus(tmp_path: Path) -> None:
    chance = np.random.default_rng(5)
    wanted = chance.integers(1, 9, 300)
    sides = [np.column_stack([chance.binomial(2 * wanted, share), 2 * wanted]).tolist() for share in (0.7, 0.6)]
    found = one(tmp_path, *(Answers(side, "micro_f1", "ratio") for side in sides))
    assert (found.baseline, found.candidate) == pytest.approx((f1(sides[0]), f1(sides[1])))
    # The linearised standard error of each, independent as they were drawn, against the bootstrap's of the difference.
    errors = [math.sqrt(sum((a - f1(side) * b) ** 2 for a, b in side)) / sum(b for _, b in side) for side in sides]
    half = 1.96 * math.hypot(*errors)
    assert found.interval == pytest.approx((found.difference - half, found.difference + half), abs=half / 10)
    assert found.p_value < 0.001


@pytest.mark.parametrize("weight", ["task", "sample"])
def test_an_averages_difference_is_that_of_the_reports_averages(tmp_path: Path, weight: str) -> None:
    sides = [{"law": Answers(draws(seed, 30, 0.5)), "logic": Answers(draws(seed + 1, 90, 0.7))} for seed in (10, 20)]
    found = two(tmp_path, *sides, averages={"exam": (weight, ["law", "logic"])})
    compared = found.compare(found.baseline.manifest.scores[0])
    expected = [value(one, "exam") for one in (found.baseline, found.candidate)]
    assert (compared.baseline, compared.candidate) == pytest.approx(tuple(expected))
    assert compared.difference == pytest.approx(expected[1] - expected[0])
    assert compared.documents == 120
    assert compared.values.p_loss <= 1


def test_a_document_of_a_small_task_may_lose_more_of_an_average_also_where_none_is_right(tmp_path: Path) -> None:
    """Of 50 documents the 5 of one task weigh 5 times the mean: a loss of 10 points may hide in 1 of 50 of them."""
    answers = {"small": Answers([0] * 5), "large": Answers([1] * 45)}
    found = two(tmp_path, answers, answers, averages={"exam": ("task", ["small", "large"])})
    compared = found.compare(found.baseline.manifest.scores[0])
    assert compared.values.p_non_inferiority(0.1) == pytest.approx((1 - 0.1 / 5) ** 50)


def test_an_average_of_corpora_is_the_mean_of_their_metrics(tmp_path: Path) -> None:
    ratios = [Answers([[a, 4], [b, 4]], "f1", "ratio") for a, b in ((1, 2), (3, 4), (2, 2), (4, 2))]
    averages = {"both": ("task", ["ner", "re"])}
    found = two(
        tmp_path,
        {"ner": ratios[0], "re": ratios[1]},
        {"ner": ratios[2], "re": ratios[3]},
        averages=averages,
    )
    compared = found.compare(found.baseline.manifest.scores[0])
    assert (compared.baseline, compared.candidate) == pytest.approx(((3 / 8 + 7 / 8) / 2, (4 / 8 + 6 / 8) / 2))


def test_clusters_that_tasks_of_an_average_share_are_one(tmp_path: Path) -> None:
    names = [f"case {at}" for at in range(20)]
    sides = [
        {"charge": Answers(draws(s, 20, 0.5), clusters=names), "term": Answers(draws(s, 20, 0.5), clusters=names)}
        for s in (1, 2)
    ]
    found = two(tmp_path, *sides, averages={"law": ("sample", ["charge", "term"])})
    compared = found.compare(found.baseline.manifest.scores[0])
    assert (compared.documents, compared.clusters) == (40, 20)


def test_documents_without_a_value_in_both_do_not_count(tmp_path: Path) -> None:
    found = one(tmp_path, Answers([1, None, 0, 1]), Answers([1, 1, None, 0]))
    assert (found.documents, found.difference) == (2, -0.5)


def test_tainted_documents_are_compared_apart(tmp_path: Path) -> None:
    tainted = [True] * 10 + [False] * 30
    found = one(
        tmp_path,
        Answers([0] * 10 + [1] * 30, tainted=tainted),
        Answers([1] * 10 + [1] * 15 + [0] * 15, tainted=tainted),
    )
    assert (found.documents, found.difference) == (30, -0.5)
    assert found.tainted is not None
    assert (found.tainted.documents, found.tainted.difference) == (10, 1.0)


def test_a_mean_over_documents_is_of_those_that_are_not_tainted_a_mean_over_tasks_needs_all_tasks(
    tmp_path: Path,
) -> None:
    seen = {"law": Answers([1] * 30, tainted=[True] * 30), "math": Answers([1, 0] * 20)}
    answers = {"law": Answers([1] * 30), "math": Answers([0, 0] * 20)}
    over = two(tmp_path / "documents", seen, answers, averages={"exam": ("sample", ["law", "math"])})
    exam = next(over.compare_all(over.baseline.manifest.scores))
    assert isinstance(exam, Comparison)
    assert (exam.documents, exam.difference) == (40, -0.5)
    assert exam.tainted is not None
    assert exam.tainted.documents == 30
    over = two(tmp_path / "tasks", seen, answers, averages={"exam": ("task", ["law", "math"])})
    refused = next(over.compare_all(over.baseline.manifest.scores))
    assert isinstance(refused, Refusal)
    assert refused.reason == "all documents of law were seen in training"


def test_documents_that_only_one_has_a_value_of_are_left_out_and_counted(tmp_path: Path) -> None:
    found = one(tmp_path, Answers([1, None, 1, 0, None]), Answers([None, 1, 1, 0, None]))
    assert (found.documents, found.left_out) == (2, 2)


def test_all_tainted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncomparableError, match="all documents of law were seen in training"):
        one(tmp_path, Answers([1, 0], tainted=[True, True]), Answers([1, 0]))


@pytest.mark.parametrize(
    "candidate", [Answers([1, 0, 1]), Answers([1, 0]), Answers([1, 0, 1], tainted=[True] + [None] * 2)]
)
def test_samples_that_do_not_make_the_reports_number_are_refused(tmp_path: Path, candidate: Answers) -> None:
    found = two(tmp_path, {"law": Answers([1, 0, 1])}, {"law": candidate})
    score = found.baseline.manifest.scores[0]
    assert Comparator(found.baseline, found.candidate).compare(score).documents >= 2
    changed = found.baseline.manifest.model_copy(update={"scores": [score.model_copy(update={"value": 0.5})]})
    other = Comparator(Report(found.baseline.folder, changed), found.candidate)
    with pytest.raises(IncomparableError, match=r"the samples of base_01 give 0\.666667, but its score is 0\.5"):
        other.compare(changed.scores[0])


@pytest.mark.parametrize("aggregation", [None, "mean"])
def test_reports_that_do_not_say_how_a_number_is_made_are_tried_as_means(tmp_path: Path, aggregation: Any) -> None:
    found = one(tmp_path, Answers([1, 0, 1], aggregation=aggregation), Answers([1, 0, 0], aggregation=aggregation))
    assert found.difference == pytest.approx(-1 / 3)


def test_a_metric_that_is_no_sum_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncomparableError, match="there is no paired test"):
        one(tmp_path, Answers([1, 0], aggregation="distinct1"), Answers([1, 0], aggregation="distinct1"))


def test_a_metric_that_the_candidate_lacks_is_refused_and_the_others_are_not(tmp_path: Path) -> None:
    found = two(
        tmp_path,
        {"law": Answers([1, 0]), "math": Answers([1, 1])},
        {"math": Answers([1, 0]), "law": Answers([1, 0], "f")},
    )
    law, math_ = found.compare_all(found.baseline.manifest.scores)
    assert isinstance(law, Refusal)
    assert law.reason == (
        "cand has no acc for it, although it was evaluated: none of its answers has a value, "
        "or the metric has another version"
    )
    assert isinstance(math_, Comparison)


def test_what_the_candidate_was_not_asked_is_to_be_asked(tmp_path: Path) -> None:
    found = two(tmp_path, {"law": Answers([1, 0]), "math": Answers([1, 1])}, {"math": Answers([1, 0])})
    law = next(found.compare_all(found.baseline.manifest.scores))
    assert isinstance(law, Refusal)
    assert law.reason == "cand has no acc for it: evaluate it on law, too"


def test_a_report_beside_itself_shows_nothing(tmp_path: Path) -> None:
    found = one(tmp_path, Answers(draws(1, 100, 0.5)), Answers(draws(1, 100, 0.5)))
    assert (found.difference, found.p_value, found.values.lost, found.values.gained) == (0.0, 1.0, 0, 0)
    assert math.isinf(found.documents_needed)
    assert found.resolution == 0.0


@pytest.mark.parametrize("pair", [([1.0], [0.0]), ([1.0], [1.0]), ([0.0], [0.0])])
def test_one_document_tells_next_to_nothing(tmp_path: Path, pair: tuple[list[float], list[float]]) -> None:
    found = one(tmp_path, Answers(pair[0]), Answers(pair[1]))
    assert found.p_value >= 0.5
    assert found.interval is None or found.interval.high - found.interval.low > 0.5


def test_all_flips_are_as_sure_as_can_be(tmp_path: Path) -> None:
    found = one(tmp_path, Answers([1] * 50), Answers([0] * 50))
    assert found.difference == -1.0
    assert found.p_value == pytest.approx(2.0**-49)
    assert found.interval is not None
    assert found.interval.low == -1.0
    assert -1 < found.interval.high < -0.8
