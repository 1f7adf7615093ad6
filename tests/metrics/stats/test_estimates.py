"""Means, named averages and their intervals against formulas, scipy, published numbers and simulation."""

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
    """Wilson 1927, written out: the roots in p of (p - right/n)^2 = z^2 p (1 - p) / n."""
    p = right / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return centre - half, centre + half


# --- a ratio ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=40), st.integers(1, 9))
def test_a_ratio_over_equal_denominators_is_a_mean(values, size):
    found = ratio_estimate([(value * size, size) for value in values])
    wanted = mean_estimate(values, fraction=False)
    assert found.value == pytest.approx(wanted.value, abs=1e-9)
    assert found.stderr == pytest.approx(wanted.stderr, abs=1e-9)
    if wanted.low is not None:
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_a_ratio_s_interval_holds_the_truth_as_often_as_it_says():
    """Texts of very different lengths: 95 of 100 intervals hold the population's bits per character, 92 at worst."""
    chance, held = np.random.default_rng(0), 0
    for _ in range(1000):
        sizes = chance.integers(20, 400, 40)
        bits = sizes * chance.normal(3.0, 0.5, 40)
        found = ratio_estimate(list(zip(bits, sizes, strict=True)))
        held += found.low <= 3.0 <= found.high
    assert 920 <= held <= 980


def test_a_ratio_of_one_text_has_no_interval_and_of_nothing_no_value():
    assert ratio_estimate([(6.0, 2.0)]) == Estimate(3.0, None, None, None, 1)
    assert math.isnan(ratio([]))


# --- one task ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (0, 20), (1, 29), (15, 148), (23, 23), (700, 1346)])
def test_right_or_wrong_gets_wilsons_interval(right, n):
    estimate = mean_estimate(answers(right, n))
    scipys = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert (estimate.low, estimate.high) == pytest.approx(wilson(right, n), abs=1e-12)
    assert (estimate.low, estimate.high) == pytest.approx((scipys.low, scipys.high), abs=1e-12)


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


def test_stderr_is_that_of_the_sample():
    for values in ([0.0, 1.0, 1.0, 0.0, 1.0], [3.0, 4.5, 10.0]):
        assert mean_estimate(values).stderr == pytest.approx(stats.sem(values), abs=1e-12)


def test_one_answer_has_an_interval_but_no_stderr():
    assert mean_estimate([1.0]).stderr is None
    assert mean_estimate([1.0]).low == pytest.approx(wilson(1, 1)[0])


def test_one_other_value_says_nothing_of_its_spread():
    assert mean_estimate([0.7]) == Estimate(0.7, None, None, None, 1)


@pytest.mark.parametrize("values", [[], [0.0, math.nan], [1.0, math.inf]])
def test_no_values_or_broken_ones_are_refused(values):
    with pytest.raises(HarnessError):
        mean_estimate(values)


def test_the_refusal_counts_the_broken_values():
    with pytest.raises(HarnessError, match="2 of 3"):
        mean_estimate([math.nan, 1.0, -math.inf])


@given(right_or_wrong)
def test_answers_stay_inside_an_interval_inside_0_and_1(values):
    estimate = mean_estimate(values)
    assert 0.0 <= estimate.low <= estimate.value <= estimate.high <= 1.0


@given(scores)
def test_other_values_lie_inside_their_interval(values):
    estimate = mean_estimate(values)
    if estimate.low is not None:
        assert estimate.low <= estimate.value <= estimate.high


@given(st.integers(1, 5000), st.sampled_from([0.0, 1.0]))
def test_an_interval_never_collapses_where_all_answers_agree(n, answer):
    estimate = mean_estimate([answer] * n)
    assert estimate.high - estimate.low > 1 / (n + 1)


@given(scores, st.randoms(use_true_random=False))
def test_the_order_of_samples_changes_no_bit(values, random):
    shuffled = random.sample(values, len(values))
    assert mean_estimate(shuffled) == mean_estimate(values)


# --- several tasks ----------------------------------------------------------------------------------------------------


def test_no_tasks_are_refused():
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
def test_an_average_never_collapses_where_all_answers_agree(sizes, answer, weight):
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


def test_tasks_that_are_as_accurate_and_as_large_are_as_good_as_one():
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


# The seed is fixed, so these cannot flicker; 2,000 draws tell a coverage to about half a point either way.
@pytest.mark.parametrize(("worst", "best"), [(0.25, 0.75), (0.80, 0.99), (0.95, 1.0), (0.02, 0.98)])
@pytest.mark.parametrize("tasks", [8, 52])
@pytest.mark.parametrize("weight", ["task", "sample"])
def test_95_of_100_intervals_of_a_cevals_average_hold_the_truth(weight, tasks, worst, best):
    """Tasks of C-Eval's sizes, from its 8 hard subjects to all 52, for checkpoints that are weak, good and uneven."""
    rng = np.random.default_rng(20230515)
    sizes = rng.integers(12, 56, tasks)
    accuracies = rng.uniform(worst, best, tasks)
    truth = np.average(accuracies, weights=sizes if weight == "sample" else None)
    estimate = functools.cache(lambda right, n: mean_estimate(answers(right, n)))
    hits = 0
    for drawn in rng.binomial(sizes, accuracies, (2000, tasks)):
        average = combine([estimate(int(right), int(n)) for right, n in zip(drawn, sizes, strict=True)], weight)
        hits += average.low <= truth <= average.high
    assert 0.93 <= hits / 2000 <= 0.975


# --- named averages ---------------------------------------------------------------------------------------------------


def test_averages_may_overlap():
    tasks = {"a": mean_estimate([1.0]), "b": mean_estimate([0.0]), "c": mean_estimate([0.0, 1.0, 1.0, 1.0])}
    wanted = [Average("all", ("a", "b", "c"), "task"), Average("hard", ("b", "c"), "sample")]
    result = averages(wanted, tasks)
    assert result["all"].value == pytest.approx((1 + 0 + 0.75) / 3)
    assert result["hard"].value == pytest.approx(3 / 5)


def test_an_average_that_lacks_a_task_is_left_out():
    tasks = {"a": mean_estimate([1.0])}
    wanted = [Average("both", ("a", "b"), "task"), Average("none", (), "task"), Average("one", ("a",), "task")]
    assert list(averages(wanted, tasks)) == ["one"]


# --- published tables -------------------------------------------------------------------------------------------------
# ChatGLM-6B's and ChatGLM2-6B's READMEs and the C-Eval leaderboard print category rows and an average. Which weights
# turn the one into the other is the definition of the average.

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
    # With anatomy's 135 questions under "other", where hendrycks/test has them, the published rows do not add up.
    sizes = (4705, 3077, 3153 - 135, 3107 + 135)
    assert abs(combine([row(v, n) for v, n in zip(values, sizes, strict=True)], "sample").value - published) > 0.1


@pytest.mark.data
def test_mmlu_categories_hold_as_many_questions_as_those_weights_say(data):
    """Counted in the data, by the category lm-eval's own task files give each subject."""
    folder = Path(importlib.util.find_spec("lm_eval").submodule_search_locations[0]) / "tasks" / "mmlu" / "default"
    counted = dict.fromkeys(MMLU_QUESTIONS, 0)
    for path in folder.glob("mmlu_*.yaml"):
        cfg = yaml.safe_load(path.read_text(encoding="utf-8"))
        parquet = data / "cais" / "mmlu" / cfg["dataset_name"] / "test-00000-of-00001.parquet"
        category = cfg["tag"].removeprefix("mmlu_").removesuffix("_tasks")
        counted[category] += pq.read_metadata(parquet).num_rows
    assert counted == MMLU_QUESTIONS
