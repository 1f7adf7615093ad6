"""Gates over invented answers for which the right verdict is known.

Two checkpoints answer n documents right or wrong. In the population, a share `flips` of the answers differs, and the
candidate is better by `mean`. All judgements use the functions that a gate calls.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from harness.reports.report import Score
from harness.verdicts.compare import Comparison
from harness.verdicts.gate import (
    PendingJudgement,
    Tests,
    Verdict,
    combined_verdict,
    corrected_p_values,
    fixed_sample_tests,
    judge,
)
from harness.verdicts.policy import Margin, Policy, Terms
from harness.verdicts.stats.bets import SequentialTest, block_sizes
from harness.verdicts.stats.corpora import Corpora
from harness.verdicts.stats.means import Array, Differences
from harness.verdicts.stats.sums import ratio

ALPHA = 0.05
FLIPS = 0.12
FOUND = 0.6
TINY_MARGIN = 1e-9
"""A margin so small that no loss passes, which reveals every false `regressed`."""
ONCE_IN_1000 = 0.999


def most_by_chance(gates: int, rate: float = ALPHA) -> float:
    """Return the share of errors that `gates` with an error rate of `rate` exceed once in a thousand times."""
    return float(stats.binom.ppf(ONCE_IN_1000, gates, rate)) / gates


# --- answers ----------------------------------------------------------------------------------------------------------


def shifts(generator: np.random.Generator, n: int, mean: float, flips: float = FLIPS) -> Array:
    """Draw the differences of `n` independent documents."""
    uniform = generator.random(n)
    gained = uniform < (flips + mean) / 2
    return gained * 1.0 - ((uniform < flips) & ~gained)


def answers(differences: Array, clusters: npt.NDArray[np.int64] | None = None) -> Differences:
    """Return right and wrong answers that differ by `each`."""
    return Differences((differences < 0) * 1.0, (differences > 0) * 1.0, clusters)


def draw_answers(generator: np.random.Generator, n: int, mean: float, flips: float = FLIPS) -> Differences:
    """Draw the answers to `n` documents, sorted, because tests use only the numbers of lost and gained documents."""
    lost, gained, _ = generator.multinomial(n, [(flips - mean) / 2, (flips + mean) / 2, 1 - flips])
    return _counted(n, int(lost), int(gained))


@functools.lru_cache(maxsize=2_000)
def _counted(n: int, lost: int, gained: int) -> Differences:
    return answers(np.repeat([-1.0, 1.0, 0.0], [lost, gained, n - lost - gained]))


class Clusters(NamedTuple):
    """Sizes of clusters, and the correlation of the differences within a cluster."""

    sizes: npt.NDArray[np.int64]
    correlation: float = 0.3

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """The cluster number of each document."""
        return np.repeat(np.arange(self.sizes.size), self.sizes)

    def draw(self, generator: np.random.Generator, mean: float, flips: float = FLIPS) -> Differences:
        """Draw differences whose intra-class correlation is `correlation`.

        With probability √correlation a document has its cluster's difference, otherwise one of its own. So two
        documents of a cluster share a difference with probability `correlation`, and are independent otherwise.
        """
        numbers = self.numbers
        common = shifts(generator, self.sizes.size, mean, flips)[numbers]
        own = shifts(generator, numbers.size, mean, flips)
        return answers(np.where(generator.random(numbers.size) < self.correlation**0.5, common, own), numbers)


def entities(generator: np.random.Generator, n: int, mean: float) -> Corpora:
    """Draw documents with entities to extract; the candidate's micro F1 is better by `mean` in the population.

    A document has 1 + Poisson(2) entities, of which the baseline finds a share of `FOUND`. The candidate finds mostly
    the same ones. Both predict as many wrong entities as they miss, so that F1 is the share that is found.
    """
    expected = 1 + generator.poisson(2, n)
    alike = generator.binomial(expected, 0.85)  # entities that both find, or both miss, if they find the same share
    least = min(FOUND, FOUND + mean)
    both = generator.binomial(alike, least)
    sides = []
    for share in (FOUND, FOUND + mean):
        hits = (
            both
            + generator.binomial(alike - both, (share - least) / (1 - least))
            + generator.binomial(expected - alike, share)
        )
        predicted = hits + generator.poisson(expected * (1 - share))
        sides.append(np.column_stack([2 * hits, predicted + expected]).astype(np.float64))
    return Corpora(sides[0], sides[1], ratio)


# --- gates ------------------------------------------------------------------------------------------------------------

Generator = np.random.Generator
SCORE = Score(
    task="invented",
    metric="acc",
    filter="none",
    value=0.5,
    stderr=None,
    low=None,
    high=None,
    n=1,
    higher_is_better=True,
    fraction=True,
    average=None,
    members=["invented"],
    primary=True,
    headline=True,
)
POLICY = Policy(alpha=ALPHA)


def pending_judgement(values: Differences | Corpora, margin: float, *, judged: bool = True) -> PendingJudgement:
    """Return `values` as a gate judges them."""
    terms = Terms(Margin(100 * margin), ALPHA, None, 1, "block")
    return PendingJudgement(Comparison(SCORE, values, values.n, 0), terms, judged)


def verdict(pending: Sequence[PendingJudgement], tests: Sequence[Tests] | None = None) -> Verdict:
    """Return a gate's verdict on `pending`; without `tests`, from all their documents."""
    tests = tests or [fixed_sample_tests(item) for item in pending]
    losses = corrected_p_values([item.p_loss for item in tests], [item.is_judged for item in pending])
    return combined_verdict(judge(*numbers, policy=POLICY) for numbers in zip(pending, tests, losses, strict=True))


class Stop(NamedTuple):
    """The verdict of a gate, and the number of documents it read."""

    verdict: Verdict
    read: int


def sequential(tasks: Sequence[Differences], margin: float, ends: Sequence[int], weights: Array | None = None) -> Stop:
    """Gate `tasks` of equal size, with a look after each number in `ends` of documents (or clusters) of each task.

    The gate ends as soon as its verdict is not `inconclusive`. With `weights`, scores are already multiplied by them.
    """
    pending = [pending_judgement(task, margin) for task in tasks]
    heaviest = [float(task.sizes.max() if weights is None else weights.max()) for task in tasks]
    tests = [SequentialTest(margin, task.units, task.n, heavy) for task, heavy in zip(tasks, heaviest, strict=True)]
    read, stop = 0, Stop("inconclusive", 0)
    for end in ends:
        for task, test in zip(tasks, tests, strict=True):
            test.add(part(task, read, end), None if weights is None else weights[read:end])
            if end == ends[-1]:
                test.finish()
        read = end
        stop = Stop(verdict(pending, [Tests(test.p_non_inferiority, test.p_loss) for test in tests]), read)
        if stop.verdict != "inconclusive":
            break
    return stop


def part(task: Differences, start: int, end: int) -> Differences:
    """Return units `start` to `end` of `task`, whose clusters are contiguous and in order."""
    if task.clusters is None:
        return Differences(task.baseline[start:end], task.candidate[start:end], span=task.span)
    first, last = np.searchsorted(task.clusters, [start, end])
    chosen = slice(int(first), int(last))
    return Differences(task.baseline[chosen], task.candidate[chosen], task.clusters[chosen] - start)


def look_every(size: int, total: int) -> list[int]:
    """Return the numbers of documents after which to look: every `size`, up to `total`."""
    return [*range(size, total, size), total]


# --- kinds of gates ---------------------------------------------------------------------------------------------------

Gate = Callable[[Generator, float, float], Stop]
"""A function of a random generator, the candidate's mean difference and the margin to the end of the gate."""


def gate_complete(pending: Sequence[PendingJudgement]) -> Stop:
    """Gate `pending` scores whose documents were all read."""
    return Stop(verdict(pending), sum(item.comparison.documents for item in pending))


def single(n: int) -> Gate:
    return lambda generator, mean, margin: gate_complete([pending_judgement(draw_answers(generator, n, mean), margin)])


def single_in_blocks(n: int) -> Gate:
    ends = np.cumsum(list(block_sizes(n))).tolist()
    return lambda generator, mean, margin: sequential([answers(shifts(generator, n, mean))], margin, ends)


def twenty(generator: Generator, mean: float, margin: float) -> Stop:
    """Gate twenty tasks; if one is worse by the margin, the others are certain to pass."""
    means = [mean, *[0.0 if mean == 0 else 0.1] * 19]
    return gate_complete([pending_judgement(draw_answers(generator, 300, item), margin) for item in means])


def twenty_in_blocks(generator: Generator, mean: float, margin: float) -> Stop:
    means = [mean, *[0.0 if mean == 0 else 0.1] * 19]
    return sequential([answers(shifts(generator, 128, item)) for item in means], margin, look_every(64, 128))


SIZES = np.array([60, 100, 140, 180, 220, 260, 300, 340, 380, 420])
SMALL = SIZES // 4
UNEVEN_FLIPS = 0.3


def weights(sizes: np.ndarray) -> Array:
    """Return the weight of each document in an average that gives every task the same weight."""
    return np.repeat(sizes.sum() / sizes.size / sizes, sizes)


def weighted_average(tasks: list[Differences]) -> Differences:
    """Return the documents of an average that gives every task the same weight, multiplied by their weights."""
    by_document = weights(np.array([task.n for task in tasks]))
    sides = (np.concatenate([getattr(task, side) for task in tasks]) for side in ("baseline", "candidate"))
    return Differences(*(side * by_document for side in sides), span=float(by_document.max()))


def watched_average(generator: Generator, mean: float, margin: float) -> Stop:
    """Gate an average of ten watched tasks."""
    tasks = [draw_answers(generator, int(size), mean) for size in SIZES]
    return gate_complete(
        [
            pending_judgement(weighted_average(tasks), margin),
            *(pending_judgement(task, margin, judged=False) for task in tasks),
        ]
    )


def uneven_tasks(generator: Generator, mean: float, sizes: np.ndarray) -> Differences:
    """Draw an average of ten tasks, half of them 10 points better than the average and half 10 points worse."""
    return weighted_average(
        [draw_answers(generator, int(n), mean + (0.1 if at % 2 else -0.1), UNEVEN_FLIPS) for at, n in enumerate(sizes)]
    )


def uneven_average(generator: Generator, mean: float, margin: float) -> Stop:
    return gate_complete([pending_judgement(uneven_tasks(generator, mean, SIZES), margin)])


def uneven_in_blocks(generator: Generator, mean: float, margin: float) -> Stop:
    whole, order = uneven_tasks(generator, mean, SMALL), generator.permutation(SMALL.sum())
    mixed = Differences(whole.baseline[order], whole.candidate[order], span=whole.span)
    return sequential([mixed], margin, look_every(64, whole.n), weights(SMALL)[order])


def clusters(count: int) -> Clusters:
    """Return `count` clusters of 1 to 20 documents, in random order."""
    return Clusters(np.random.default_rng(count).permutation(np.resize(np.arange(1, 21), count)))


def clustered(count: int) -> Gate:
    kind = clusters(count)
    return lambda generator, mean, margin: gate_complete([pending_judgement(kind.draw(generator, mean), margin)])


def clustered_in_blocks(count: int) -> Gate:
    def gate(generator: Generator, mean: float, margin: float) -> Stop:
        kind = Clusters(generator.permutation(clusters(count).sizes))
        return sequential([kind.draw(generator, mean)], margin, look_every(20, count))

    return gate


def ignoring_clusters(generator: Generator, mean: float, margin: float) -> Stop:
    """Gate clustered documents as if they were independent."""
    clustered_answers = clusters(100).draw(generator, mean)
    values = Differences(clustered_answers.baseline, clustered_answers.candidate)
    return gate_complete([pending_judgement(values, margin)])


def micro_f1(generator: Generator, mean: float, margin: float) -> Stop:
    return gate_complete([pending_judgement(entities(generator, 200, mean), margin)])


class Scenario(NamedTuple):
    """A kind of gate, and the margin for its false `passed` verdicts."""

    name: str
    gate: Gate
    margin: float


class ErrorRates(NamedTuple):
    """Shares of gates with a false verdict."""

    regressed: float
    passed: float


SCENARIOS = [
    Scenario("one task, 346 documents", single(346), 0.03),
    Scenario("one task, 1,346 documents", single(1_346), 0.02),
    Scenario("20 tasks of 300 documents", twenty, 0.05),
    Scenario("an average of 10 tasks, which are watched", watched_average, 0.02),
    Scenario("an average of 10 tasks, 5 better and 5 worse", uneven_average, 0.02),
    Scenario("60 clusters of 1 to 20, correlation 0.3", clustered(60), 0.05),
    Scenario("600 clusters of 1 to 20, correlation 0.3", clustered(600), 0.02),
    Scenario("micro-F1 of 200 documents", micro_f1, 0.03),
    Scenario("in blocks: one task, 346 documents", single_in_blocks(346), 0.03),
    Scenario("in blocks: one task, 1,346 documents", single_in_blocks(1_346), 0.02),
    Scenario("in blocks: 20 tasks of 128 documents", twenty_in_blocks, 0.05),
    Scenario("in blocks: an average of 10 tasks, 5 better and 5 worse", uneven_in_blocks, 0.03),
    Scenario("in blocks: 120 clusters of 1 to 20, correlation 0.3", clustered_in_blocks(120), 0.03),
]
IGNORING_CLUSTERS = Scenario("*100 clusters, taken for independent documents*", ignoring_clusters, 0.05)


def share(scenario: Scenario, gates: int, mean: float, margin: float, expected: Verdict) -> float:
    """Return the share of `gates` with the `expected` verdict."""
    generator = np.random.default_rng(len(scenario.name))
    return sum(scenario.gate(generator, mean, margin).verdict == expected for _ in range(gates)) / gates


def false_verdicts(scenario: Scenario, gates: int) -> ErrorRates:
    """Return the shares of `gates` with a false `regressed` (nothing changed) and a false `passed` (margin lost)."""
    return ErrorRates(
        share(scenario, gates, 0.0, TINY_MARGIN, "regressed"),
        share(scenario, gates, -scenario.margin, scenario.margin, "passed"),
    )
