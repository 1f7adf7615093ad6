"""Means, named averages and their intervals, against formulas, scipy, published numbers and simulations."""

from __future__ import annotations

import functools
import importlib.util
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.errors import HarnessError
from harness.metrics.stats.estimates import Average, Estimate, averages, combine, mean_estimate, ratio, ratio_estimate

right_or_wrong = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=60)
scores = st.lists(st.floats(-100, 100), min_size=1, max_size=60)
tasks_of_answers = st.lists(right_or_wrong, min_size=1, max_size=12)
weights = st.sampled_from(["task", "sample"])


def answers(right: int, n: int) -> list[float]:
    return [1.0] * right + [0.0] * (n - right)


def wilson(right: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return Wilson's interval (1927): the roots in p of (p - right/n)^2 = z^2 p (1 - p) / n."""
    p = right / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return centre - half, centre + half


# --- a ratio ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=40), st.integers(1, 9))
def test_a_ratio_over_equal_denominators_is_a_mean(values, size):
    estimate = ratio_estimate([(value * size, size) for value in values])
    expected = mean_estimate(values, fraction=False)
    assert estimate.value == pytest.approx(expected.value, abs=1e-9)
    assert estimate.stderr == pytest.approx(expected.stderr, abs=1e-9)
    if expected.low is not None:
        assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_interval_of_a_ratio_covers_the_truth_as_often_as_stated():
    """For texts of very different lengths, 92 to 98 of 100 intervals contain the population's bits per character."""
    chance, covered = np.random.default_rng(0), 0
    for _ in range(1000):
        sizes = chance.integers(20, 400, 40)
        bits = sizes * chance.normal(3.0, 0.5, 40)
        estimate = ratio_estimate(list(zip(bits, sizes, strict=True)))
        covered += estimate.low <= 3.0 <= estimate.high
    assert 920 <= covered <= 980


def test_a_ratio_of_one_text_has_no_interval_and_of_none_no_value():
    assert ratio_estimate([(6.0, 2.0)]) == Estimate(3.0, None, None, None, 1)
    assert math.isnan(ratio([]))


# --- one task ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (0, 20), (1, 29), (15, 148), (23, 23), (700, 1346)])
def test_values_of_0_and_1_get_wilsons_interval(right, n):
    estimate = mean_estimate(answers(right, n))
    scipy_interval = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert (estimate.low, estimate.high) == pytest.approx(wilson(right, n), abs=1e-12)
    assert (estimate.low, estimate.high) == pytest.approx((scipy_interval.low, scipy_interval.high), abs=1e-12)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_reproduces_newcombes_table(right, n, low, high):
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3."""
    estimate = mean_estimate(answers(right, n))
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (low, high)


def test_other_values_get_a_t_interval():
    values = [0.2, 0.5, 0.5, 0.9, 1.0, 0.0, 0.31]
    estimate = mean_estimate(values)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-12)


def test_stderr_is_the_sample_standard_error():
    for values in ([0.0, 1.0, 1.0, 0.0, 1.0], [3.0, 4.5, 10.0]):
        assert mean_estimate(values).stderr == pytest.approx(stats.sem(values), abs=1e-12)


def test_one_answer_has_an_interval_but_no_stderr():
    assert mean_estimate([1.0]).stderr is None
    assert mean_estimate([1.0]).low == pytest.approx(wilson(1, 1)[0])


def test_one_other_value_has_no_interval():
    assert mean_estimate([0.7]) == Estimate(0.7, None, None, None, 1)


@pytest.mark.parametrize("values", [[], [0.0, math.nan], [1.0, math.inf]])
def test_no_values_or_non_finite_ones_are_an_error(values):
    with pytest.raises(HarnessError):
        mean_estimate(values)


def test_the_error_counts_the_non_finite_values():
    with pytest.raises(HarnessError, match="2 of 3"):
        mean_estimate([math.nan, 1.0, -math.inf])


@given(right_or_wrong)
def test_the_interval_of_answers_contains_their_mean_and_lies_in_0_to_1(values):
    estimate = mean_estimate(values)
    assert 0.0 <= estimate.low <= estimate.value <= estimate.high <= 1.0


@given(scores)
def test_the_interval_of_other_values_contains_their_mean(values):
    estimate = mean_estimate(values)
    if estimate.low is not None:
        assert estimate.low <= estimate.value <= estimate.high


@given(st.integers(1, 5000), st.sampled_from([0.0, 1.0]))
def test_an_interval_does_not_collapse_if_all_answers_are_equal(n, answer):
    estimate = mean_estimate([answer] * n)
    assert estimate.high - estimate.low > 1 / (n + 1)


@given(scores, st.randoms(use_true_random=False))
def test_the_order_of_samples_changes_no_bit(values, random):
    shuffled = random.sample(values, len(values))
    assert mean_estimate(shuffled) == mean_estimate(values)


# --- several tasks ----------------------------------------------------------------------------------------------------


def test_no_tasks_are_an_error():
    with pytest.raises(HarnessError):
        combine([], "task")


@given(right_or_wrong, weights)
def test_an_average_over_one_task_is_that_task(values, weight):
    task = mean_estimate(values)
    average = combine([task], weight)
    assert (average.value, average.n) == (task.value, task.n)
    assert (average.low, average.high) == pytest.approx((task.low, task.high), abs=1e-12)
    assert average.stderr == (None if task.stderr is None else pytest.approx(task.stderr, abs=1e-12))


@given(tasks_of_answers)
def test_weight_sample_is_the_mean_over_all_samples(tasks):
    pooled = [value for task in tasks for value in task]
    average = combine([mean_estimate(task) for task in tasks], "sample")
    assert average.value == pytest.approx(np.mean(pooled), abs=1e-12)
    assert average.n == len(pooled)


@given(tasks_of_answers)
def test_weight_task_is_the_mean_over_tasks(tasks):
    average = combine([mean_estimate(task) for task in tasks], "task")
    assert average.value == pytest.approx(np.mean([np.mean(task) for task in tasks]), abs=1e-12)


@given(tasks_of_answers, weights)
def test_an_average_lies_inside_its_interval(tasks, weight):
    average = combine([mean_estimate(task) for task in tasks], weight)
    assert 0.0 <= average.low <= average.value <= average.high <= 1.0


@given(st.lists(st.integers(1, 200), min_size=1, max_size=30), st.sampled_from([0.0, 1.0]), weights)
def test_an_average_does_not_collapse_if_all_answers_are_equal(sizes, answer, weight):
    average = combine([mean_estimate([answer] * n) for n in sizes], weight)
    assert average.value == pytest.approx(answer, abs=1e-12)
    assert average.high - average.low > 1 / (sum(sizes) + 1)


@given(tasks_of_answers, weights, st.randoms(use_true_random=False))
def test_the_order_of_tasks_changes_no_bit(tasks, weight, random):
    estimates = [mean_estimate(task) for task in tasks]
    assert combine(random.sample(estimates, len(estimates)), weight) == combine(estimates, weight)


def test_the_stderr_of_an_average_is_that_of_a_sum_of_independent_means():
    tasks = [Estimate(0.5, 0.03, 0.4, 0.6, 10), Estimate(0.2, 0.04, 0.1, 0.4, 30)]
    assert combine(tasks, "task").stderr == pytest.approx(0.025)
    assert combine(tasks, "sample").stderr == pytest.approx(math.hypot(0.25 * 0.03, 0.75 * 0.04))


def test_equal_tasks_have_nearly_the_interval_of_one_task():
    average = combine([mean_estimate(answers(18, 20))] * 10, "task")
    assert (average.low, average.high) == pytest.approx(wilson(180, 200), abs=2e-3)


def test_the_limits_of_other_averages_are_movers():
    """Zou & Donner 2008, for (a + b) / 2, with different distances below and above."""
    average = combine([Estimate(0.5, 0.0, 0.44, 0.62, 9), Estimate(0.2, 0.0, 0.12, 0.36, 9)], "task")
    assert average.low == pytest.approx(0.35 - math.hypot(0.06, 0.08) / 2)
    assert average.high == pytest.approx(0.35 + math.hypot(0.12, 0.16) / 2)


def test_an_average_over_one_task_of_other_values_is_that_task():
    task = mean_estimate([0.2, 0.9, 0.4])
    assert combine([task], "task") == pytest.approx(task, abs=1e-12)


def test_one_task_without_an_interval_leaves_the_average_without_one():
    average = combine([mean_estimate([0.0, 1.0]), Estimate(0.3, None, None, None, 40)], "task")
    assert average == Estimate(pytest.approx(0.4), None, None, None, 42)


# The seed is fixed, so results do not vary; 2,000 draws measure a coverage to about half a point.
@pytest.mark.sampled(5)
@pytest.mark.parametrize(("worst", "best"), [(0.25, 0.75), (0.80, 0.99), (0.95, 1.0), (0.02, 0.98)])
@pytest.mark.parametrize("tasks", [8, 52])
@pytest.mark.parametrize("weight", ["task", "sample"])
def test_95_of_100_intervals_of_a_ceval_average_contain_the_truth(weight, tasks, worst, best):
    """Simulate tasks of C-Eval's sizes (8 hard subjects, all 52) and checkpoints that are weak, good and uneven."""
    rng = np.random.default_rng(20230515)
    sizes = rng.integers(12, 56, tasks)
    accuracies = rng.uniform(worst, best, tasks)
    truth = np.average(accuracies, weights=sizes if weight == "sample" else None)
    estimate = functools.cache(lambda right, n: mean_estimate(answers(right, n)))
    covered = 0
    for drawn in rng.binomial(sizes, accuracies, (2000, tasks)):
        average = combine([estimate(int(right), int(n)) for right, n in zip(drawn, sizes, strict=True)], weight)
        covered += average.low <= truth <= average.high
    assert 0.93 <= covered / 2000 <= 0.975


# --- named averages ---------------------------------------------------------------------------------------------------


def test_averages_may_overlap():
    tasks = {"a": mean_estimate([1.0]), "b": mean_estimate([0.0]), "c": mean_estimate([0.0, 1.0, 1.0, 1.0])}
    definitions = [Average("all", ("a", "b", "c"), "task"), Average("hard", ("b", "c"), "sample")]
    result = averages(definitions, tasks)
    assert result["all"].value == pytest.approx((1 + 0 + 0.75) / 3)
    assert result["hard"].value == pytest.approx(3 / 5)


def test_an_average_that_lacks_a_task_is_left_out():
    tasks = {"a": mean_estimate([1.0])}
    definitions = [Average("both", ("a", "b"), "task"), Average("none", (), "task"), Average("one", ("a",), "task")]
    assert list(averages(definitions, tasks)) == ["one"]


# --- published tables -------------------------------------------------------------------------------------------------
# The READMEs of ChatGLM-6B and ChatGLM2-6B and the C-Eval leaderboard print category rows and an average. The weights
# with which the rows give the average define it.

CEVAL_SUBJECTS = {"STEM": 20, "Social Science": 10, "Humanities": 11, "Other": 11}
MMLU_QUESTIONS = {"humanities": 4705, "social_sciences": 3077, "stem": 3153, "other": 3107}


def row(value: float, n: int = 1) -> Estimate:
    return Estimate(value, None, None, None, n)


@pytest.mark.parametrize(
    ("categories", "published"),
    [
        pytest.param((33.3, 48.3, 41.3, 38.0), 38.9, id="ChatGLM-6B zero-shot"),
        pytest.param((30.4, 39.6, 37.4, 34.5), 34.5, id="ChatGLM-6B five-shot"),
        pytest.param((48.6, 60.5, 51.3, 49.8), 51.7, id="ChatGLM2-6B base"),
        pytest.param((46.4, 60.4, 50.6, 46.9), 50.1, id="ChatGLM2-6B"),
    ],
)
def test_cevals_average_gives_each_subject_the_same_weight(categories, published):
    by_subject = [row(v) for v, k in zip(categories, CEVAL_SUBJECTS.values(), strict=True) for _ in range(k)]
    assert round(combine(by_subject, "task").value, 1) == published
    assert abs(combine([row(v) for v in categories], "task").value - published) > 0.8


@pytest.mark.parametrize(
    ("humanities", "social_sciences", "stem", "other", "published"),
    [
        pytest.param(39.02, 44.84, 33.89, 45.71, 40.63, id="ChatGLM-6B"),
        pytest.param(43.66, 54.44, 41.20, 54.46, 47.86, id="ChatGLM2-6B base"),
        pytest.param(41.23, 51.61, 40.06, 51.24, 45.46, id="ChatGLM2-6B"),
    ],
)
def test_mmlus_average_gives_each_question_the_same_weight(humanities, social_sciences, stem, other, published):
    values = (humanities, social_sciences, stem, other)
    sizes = MMLU_QUESTIONS.values()
    # Four values and their average, each rounded to 0.01, may disagree by 0.01.
    assert combine([row(v, n) for v, n in zip(values, sizes, strict=True)], "sample").value == pytest.approx(
        published, abs=0.01
    )
    # With anatomy's 135 questions under "other", as in hendrycks/test, the rows do not give the published average.
    sizes = (4705, 3077, 3153 - 135, 3107 + 135)
    assert abs(combine([row(v, n) for v, n in zip(values, sizes, strict=True)], "sample").value - published) > 0.1


@pytest.mark.data
def test_mmlu_categories_have_the_sizes_of_those_weights(data):
    """Count questions in the data, by the category of each subject in lm-eval's task files."""
    folder = Path(importlib.util.find_spec("lm_eval").submodule_search_locations[0]) / "tasks" / "mmlu" / "default"
    counts = dict.fromkeys(MMLU_QUESTIONS, 0)
    for path in folder.glob("mmlu_*.yaml"):
        cfg = yaml.safe_load(path.read_text(encoding="utf-8"))
        parquet = data / "cais" / "mmlu" / cfg["dataset_name"] / "test-00000-of-00001.parquet"
        category = cfg["tag"].removeprefix("mmlu_").removesuffix("_tasks")
        counts[category] += pq.read_metadata(parquet).num_rows
    assert counts == MMLU_QUESTIONS
