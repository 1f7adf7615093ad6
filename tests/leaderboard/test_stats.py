"""The page's paired tests (leaderboard/stats.js) against those of `harness compare`, in a browser."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator

from harness.common import resources
from harness.verdicts import gate
from harness.verdicts.stats import sums
from harness.verdicts.stats.corpora import Corpora
from harness.verdicts.stats.means import Differences
from support import chromium

pytestmark = pytest.mark.browser

RELATIVE = 1e-8
"""Two implementations of the same double-precision formulas, with series that end at 1e-15."""


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with chromium.browser() as browser:
        page = browser.new_page()
        for name in ("random.js", "stats.js"):
            page.add_script_tag(path=str(resources.folder("leaderboard") / name))
        yield page


def close(actual: object, expected: object) -> None:
    """Assert that numbers, or lists of numbers, are equal up to `RELATIVE`; JSON has no infinity, so it is text."""
    assert (actual is None) == (expected is None)
    if isinstance(expected, list | tuple) and isinstance(actual, list):
        assert len(actual) == len(expected)
        for pair in zip(actual, expected, strict=True):
            close(*pair)
    elif expected is not None:
        number = math.inf if actual == "Infinity" else actual
        assert number == pytest.approx(expected, rel=RELATIVE, abs=1e-12)


NUMBERS = """pair => ({
    scores: pair.scores, difference: pair.difference, interval: pair.interval, p: pair.p,
    needed: Number.isFinite(pair.needed) ? pair.needed : String(pair.needed), lost: pair.lost, gained: pair.gained})"""


def require_equal(numbers: dict[str, Any], expected: Differences | Corpora) -> None:
    assert (numbers["lost"], numbers["gained"]) == (expected.lost, expected.gained)
    interval = expected.interval()
    close(numbers["scores"], expected.scores)
    close(numbers["difference"], expected.difference)
    close(numbers["interval"], None if interval is None else list(interval))
    close(numbers["p"], min(1.0, 2 * min(expected.p_loss, expected.p_gain)))
    close(numbers["needed"], expected.needed_to_tell())


def bits(random: Generator, n: int, share: float = 0.5) -> list[float]:
    return [float(value) for value in random.random(n) < share]


def graded(random: Generator, n: int) -> list[float]:
    return [float(value) for value in random.choice([0, 0.25, 1 / 3, 0.5, 1], n)]


def normal(random: Generator, n: int) -> list[float]:
    return [float(value) for value in random.normal(size=n)]


MEANS: dict[str, Callable[[Generator], tuple[list[float], list[float]]]] = {
    "binary": lambda random: (bits(random, 400, 0.4), bits(random, 400, 0.5)),
    "binary, few": lambda random: (bits(random, 12), bits(random, 12)),
    "binary, far apart": lambda random: ([1.0] * 60, [0.0] * 60),
    "binary, nearly equal": lambda random: ([1.0] * 500, [0.0] + [1.0] * 499),
    "binary, many": lambda random: (bits(random, 4_000, 0.7), bits(random, 4_000, 0.74)),
    "graded": lambda random: (graded(random, 300), graded(random, 300)),
    "graded, few": lambda random: (graded(random, 40), graded(random, 40)),
    "graded, very few": lambda random: (graded(random, 9), graded(random, 9)),
    "equal": lambda random: (values := graded(random, 50), values),
    "shifted": lambda random: (values := graded(random, 250), [value + 0.125 for value in values]),
    "one document": lambda random: ([0.0], [1.0]),
    "large": lambda random: ([100 * v for v in normal(random, 230)], [100 * v + 9 for v in normal(random, 230)]),
    "a large loss": lambda random: (normal(random, 120), [value - 5 for value in normal(random, 120)]),
}


@pytest.mark.sampled(30)
@pytest.mark.parametrize("name", MEANS)
@pytest.mark.parametrize(
    ("grouping", "span"),
    [("documents", None), ("documents", 2.5), ("clusters", None), ("unequal clusters", 1.0), ("one cluster", None)],
)
def test_means(name: str, grouping: str, span: float | None, page: Any) -> None:
    random = np.random.default_rng(7)
    baseline, candidate = MEANS[name](random)
    n = len(baseline)
    clusters = {
        "documents": None,
        "clusters": np.arange(n) // 3,
        "unequal clusters": np.unique(np.minimum(np.arange(n) // 2, max(n // 4, 1)), return_inverse=True)[1],
        "one cluster": np.zeros(n, dtype=np.int64),
    }[grouping]
    expected = Differences(np.array(baseline), np.array(candidate), clusters, span)
    numbers = page.evaluate(
        f"([a, b, clusters, span]) => ({NUMBERS})(new harness.stats.Differences(a, b, clusters, span))",
        [baseline, candidate, None if clusters is None else clusters.tolist(), span],
    )
    require_equal(numbers, expected)


def counts(*largest: int) -> Callable[[Generator, int], list[list[float]]]:
    """Return a function that draws rows of counts, each up to its largest."""
    return lambda random, n: [[float(random.integers(0, most + 1)) for most in largest] for _ in range(n)]


def bleu_counts(random: Generator, n: int) -> list[list[float]]:
    rows = []
    for _ in range(n):
        predicted, expected = random.integers(1, 20, 2)
        totals = [max(predicted - order, 0) for order in range(4)]
        rows.append([float(v) for v in (predicted, expected, *(random.integers(0, t + 1) for t in totals), *totals)])
    return rows


METRICS: dict[str, Callable[[Generator, int], list[list[float]]]] = {
    "ratio": counts(3, 5),
    "percentage": counts(3, 5),
    "perplexity": lambda random, n: [[-float(value), 7.0] for value in random.gamma(9, size=n)],
    "bits": lambda random, n: [[-float(value), 7.0] for value in random.gamma(9, size=n)],
    "ter": counts(4, 9),
    "bleu": bleu_counts,
    "chrf": counts(*[5] * 18),
    "macro_f1_of_expected": counts(*[1] * 9),
    "macro_f1": counts(*[1] * 9),
    "micro_f1": counts(*[1] * 9),
    "weighted_f1": counts(*[1] * 9),
    "matthews": lambda random, n: labelled(random, n),
}


def labelled(random: Generator, n: int) -> list[list[float]]:
    """Return hits, predictions and expectations of three labels, of which a prediction is mostly the right one."""
    rows = []
    for _ in range(n):
        right = int(random.integers(3))
        label = right if random.random() < 0.6 else int(random.integers(3))
        rows.append([float(part) for i in range(3) for part in [i == right == label]])
        rows[-1] += [float(i == label) for i in range(3)] + [float(i == right) for i in range(3)]
    return rows


@pytest.mark.parametrize(
    ("metric", "grouping"),
    [(metric, "documents") for metric in METRICS]
    + [(metric, grouping) for metric in ("bleu", "macro_f1") for grouping in ("clusters", "one document")],
)
def test_corpora(metric: str, grouping: str, page: Any) -> None:
    random = np.random.default_rng(3)
    n = 1 if grouping == "one document" else 60
    baseline, candidate = METRICS[metric](random, n), METRICS[metric](random, n)
    candidate[: n // 3] = baseline[: n // 3]
    clusters = np.arange(n) // 4 if grouping == "clusters" else None
    expected = Corpora(np.array(baseline), np.array(candidate), getattr(sums, metric), clusters)
    numbers = page.evaluate(
        f"([a, b, metric, clusters]) => ({NUMBERS})"
        "(new harness.stats.Corpora(a, b, harness.stats.METRICS[metric], clusters))",
        [baseline, candidate, metric, None if clusters is None else clusters.tolist()],
    )
    require_equal(numbers, expected)


@pytest.mark.oracle
def test_a_corpus_of_more_documents_than_groups(page: Any) -> None:
    random = np.random.default_rng(5)
    baseline, candidate = counts(3, 5)(random, 2_050), counts(3, 5)(random, 2_050)
    expected = Corpora(np.array(baseline), np.array(candidate), sums.ratio)
    numbers = page.evaluate(
        f"([a, b]) => ({NUMBERS})(new harness.stats.Corpora(a, b, harness.stats.METRICS.ratio))", [baseline, candidate]
    )
    require_equal(numbers, expected)


def test_the_page_has_every_metric_of_sums(page: Any) -> None:
    names = {name for name, value in vars(sums).items() if callable(value) and value.__module__ == sums.__name__}
    assert set(page.evaluate("Object.keys(harness.stats.METRICS)")) == {n for n in names if not n.startswith("_")}
    assert set(METRICS) == set(page.evaluate("Object.keys(harness.stats.METRICS)"))


@pytest.mark.parametrize("values", [[], [0.2], [0.01, 0.04, 0.03, 0.5], [0.02, 0.02, 1.0, 0.0, 0.02]])
def test_correction(values: list[float], page: Any) -> None:
    close(page.evaluate("values => harness.stats.holm(values)", values), gate.holm(values, [1.0] * len(values)))
