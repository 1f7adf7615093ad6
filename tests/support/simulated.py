"""Gates over invented answers, of which it is known what they should say.

Two checkpoints answer n documents right or wrong. Of the population `flips` of the answers differ, and the candidate is
better by `mean` in all. Everything that is judged goes through the functions that a gate calls.
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
HIDES_NOTHING = 1e-9
"""A margin within which no loss passes, so that every false `regressed` shows."""
ONCE_IN_1000 = 0.999


def most_by_chance(gates: int, rate: float = ALPHA) -> float:
    """Of `gates` that err with probability `rate`, the share that is exceeded once in a thousand times."""
    return float(stats.binom.ppf(ONCE_IN_1000, gates, rate)) / gates


# --- answers ----------------------------------------------------------------------------------------------------------


def shifts(chance: np.random.Generator, n: int, mean: float, flips: float = FLIPS) -> Array:
    """Draw the differences of `n` documents, each by itself."""
    drawn = chance.random(n)
    gained = drawn < (flips + mean) / 2
    return gained * 1.0 - ((drawn < flips) & ~gained)


def answers(each: Array, clusters: npt.NDArray[np.int64] | None = None) -> Differences:
    """Return right and wrong answers that differ by `each`."""
    return Differences((each < 0) * 1.0, (each > 0) * 1.0, clusters)


def drawn(chance: np.random.Generator, n: int, mean: float, flips: float = FLIPS) -> Differences:
    """Draw the answers to `n` documents, sorted: no test of them knows more than how many were lost and gained."""
    lost, gained, _ = chance.multinomial(n, [(flips - mean) / 2, (flips + mean) / 2, 1 - flips])
    return _counted(n, int(lost), int(gained))


@functools.lru_cache(maxsize=2_000)
def _counted(n: int, lost: int, gained: int) -> Differences:
    return answers(np.repeat([-1.0, 1.0, 0.0], [lost, gained, n - lost - gained]))


class Clusters(NamedTuple):
    """Sizes of clusters, and how alike the differences of one cluster's documents are."""

    sizes: npt.NDArray[np.int64]
    correlation: float = 0.3

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """Each document's cluster."""
        return np.repeat(np.arange(self.sizes.size), self.sizes)

    def draw(self, chance: np.random.Generator, mean: float, flips: float = FLIPS) -> Differences:
        """Draw differences whose intra-class correlation is `correlation`.

        A document has its cluster's own difference with probability √correlation, else one of its own, so that two of
        a cluster have the same one with probability `correlation` and are independent otherwise.
        """
        numbers = self.numbers
        common = shifts(chance, self.sizes.size, mean, flips)[numbers]
        own = shifts(chance, numbers.size, mean, flips)
        return answers(np.where(chance.random(numbers.size) < self.correlation**0.5, common, own), numbers)


def entities(chance: np.random.Generator, n: int, mean: float) -> Corpora:
    """Draw documents with entities to find; the candidate's micro-F1 is better by `mean` in the population.

    A document has 1 + Poisson(2) of them, of which the baseline finds `FOUND`. The candidate finds mostly the same,
    and both name as many wrong ones as they miss, so that F1 is the share that is found.
    """
    wanted = 1 + chance.poisson(2, n)
    alike = chance.binomial(wanted, 0.85)  # entities that both find, or both miss, if they find the same share
    least = min(FOUND, FOUND + mean)
    both = chance.binomial(alike, least)
    sides = []
    for share in (FOUND, FOUND + mean):
        hits = (
            both + chance.binomial(alike - both, (share - least) / (1 - least)) + chance.binomial(wanted - alike, share)
        )
        named = hits + chance.poisson(wanted * (1 - share))
        sides.append(np.column_stack([2 * hits, named + wanted]).astype(np.float64))
    return Corpora(sides[0], sides[1], ratio)


# --- gates ------------------------------------------------------------------------------------------------------------

Chance = np.random.Generator
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


def unit(values: Differences | Corpora, margin: float, *, judged: bool = True) -> PendingJudgement:
    """Return what a gate judges of `values`."""
    terms = Terms(Margin(100 * margin), ALPHA, None, 1, "block")
    return PendingJudgement(Comparison(SCORE, values, values.n, 0), terms, judged)


def verdict(units: Sequence[PendingJudgement], tests: Sequence[Tests] | None = None) -> Verdict:
    """Return a gate's verdict on `units`, of all their documents if no `tests` are given."""
    tests = tests or [fixed_sample_tests(one) for one in units]
    losses = corrected_p_values([one.p_loss for one in tests], [one.is_judged for one in units])
    return combined_verdict(judge(*numbers, policy=POLICY) for numbers in zip(units, tests, losses, strict=True))


class Stop(NamedTuple):
    """How a gate ended, and after how many documents."""

    verdict: Verdict
    read: int


def sequential(tasks: Sequence[Differences], margin: float, ends: Sequence[int], weights: Array | None = None) -> Stop:
    """Gate `tasks`, all of one size, looking when so many documents (or clusters) of each are read.

    The gate ends as soon as its verdict is no longer `inconclusive`. Scores are weighed already if there are `weights`.
    """
    units = [unit(task, margin) for task in tasks]
    heaviest = [float(task.sizes.max() if weights is None else weights.max()) for task in tasks]
    watches = [SequentialTest(margin, task.units, task.n, heavy) for task, heavy in zip(tasks, heaviest, strict=True)]
    read, found = 0, Stop("inconclusive", 0)
    for end in ends:
        for task, seen in zip(tasks, watches, strict=True):
            seen.add(part(task, read, end), None if weights is None else weights[read:end])
            if end == ends[-1]:
                seen.finish()
        read = end
        found = Stop(verdict(units, [Tests(seen.p_non_inferiority, seen.p_loss) for seen in watches]), read)
        if found.verdict != "inconclusive":
            break
    return found


def part(task: Differences, start: int, end: int) -> Differences:
    """Return units `start` to `end` of `task`, whose clusters stand together and in order."""
    if task.clusters is None:
        return Differences(task.baseline[start:end], task.candidate[start:end], span=task.span)
    first, last = np.searchsorted(task.clusters, [start, end])
    chosen = slice(int(first), int(last))
    return Differences(task.baseline[chosen], task.candidate[chosen], task.clusters[chosen] - start)


def every(size: int, total: int) -> list[int]:
    """Return after how many of `total` documents to look, if every `size`."""
    return [*range(size, total, size), total]


# --- kinds of gates ---------------------------------------------------------------------------------------------------

Gate = Callable[[Chance, float, float], Stop]
"""From chance, by how much better the candidate is, and the margin, to how the gate ends."""


def fixed(units: Sequence[PendingJudgement]) -> Stop:
    """Gate `units`, whose documents are all there."""
    return Stop(verdict(units), sum(one.comparison.documents for one in units))


def single(n: int) -> Gate:
    return lambda chance, mean, margin: fixed([unit(drawn(chance, n, mean), margin)])


def single_in_blocks(n: int) -> Gate:
    ends = np.cumsum(list(block_sizes(n))).tolist()
    return lambda chance, mean, margin: sequential([answers(shifts(chance, n, mean))], margin, ends)


def twenty(chance: Chance, mean: float, margin: float) -> Stop:
    """Twenty tasks, of which one is worse by the margin, if any is; the others then pass for sure."""
    means = [mean, *[0.0 if mean == 0 else 0.1] * 19]
    return fixed([unit(drawn(chance, 300, one), margin) for one in means])


def twenty_in_blocks(chance: Chance, mean: float, margin: float) -> Stop:
    means = [mean, *[0.0 if mean == 0 else 0.1] * 19]
    return sequential([answers(shifts(chance, 128, one)) for one in means], margin, every(64, 128))


SIZES = np.array([60, 100, 140, 180, 220, 260, 300, 340, 380, 420])
SMALL = SIZES // 4
UNEVEN_FLIPS = 0.3


def weights(sizes: np.ndarray) -> Array:
    """Return each document's weight in an average that gives every task the same."""
    return np.repeat(sizes.sum() / sizes.size / sizes, sizes)


def weighed(tasks: list[Differences]) -> Differences:
    """Return the documents of an average that gives every task the same weight."""
    each = weights(np.array([task.n for task in tasks]))
    sides = (np.concatenate([getattr(task, side) for task in tasks]) for side in ("baseline", "candidate"))
    return Differences(*(side * each for side in sides), span=float(each.max()))


def watched(chance: Chance, mean: float, margin: float) -> Stop:
    """An average of ten tasks, each of which is watched."""
    tasks = [drawn(chance, int(size), mean) for size in SIZES]
    return fixed([unit(weighed(tasks), margin), *(unit(task, margin, judged=False) for task in tasks)])


def uneven_tasks(chance: Chance, mean: float, sizes: np.ndarray) -> Differences:
    """Draw an average of ten tasks, of which half are 10 points better and half 10 points worse than it."""
    return weighed(
        [drawn(chance, int(n), mean + (0.1 if at % 2 else -0.1), UNEVEN_FLIPS) for at, n in enumerate(sizes)]
    )


def uneven(chance: Chance, mean: float, margin: float) -> Stop:
    return fixed([unit(uneven_tasks(chance, mean, SIZES), margin)])


def uneven_in_blocks(chance: Chance, mean: float, margin: float) -> Stop:
    whole, order = uneven_tasks(chance, mean, SMALL), chance.permutation(SMALL.sum())
    mixed = Differences(whole.baseline[order], whole.candidate[order], span=whole.span)
    return sequential([mixed], margin, every(64, whole.n), weights(SMALL)[order])


def clusters(count: int) -> Clusters:
    """Return `count` clusters of 1 to 20 documents, in random order."""
    return Clusters(np.random.default_rng(count).permutation(np.resize(np.arange(1, 21), count)))


def clustered(count: int) -> Gate:
    kind = clusters(count)
    return lambda chance, mean, margin: fixed([unit(kind.draw(chance, mean), margin)])


def clustered_in_blocks(count: int) -> Gate:
    def gate(chance: Chance, mean: float, margin: float) -> Stop:
        kind = Clusters(chance.permutation(clusters(count).sizes))
        return sequential([kind.draw(chance, mean)], margin, every(20, count))

    return gate


def blind(chance: Chance, mean: float, margin: float) -> Stop:
    """A gate that takes the documents of clusters for independent ones."""
    found = clusters(100).draw(chance, mean)
    return fixed([unit(Differences(found.baseline, found.candidate), margin)])


def micro_f1(chance: Chance, mean: float, margin: float) -> Stop:
    return fixed([unit(entities(chance, 200, mean), margin)])


class Scenario(NamedTuple):
    """A kind of gate, and its margin where a loss of just that is to be told from a smaller one."""

    name: str
    gate: Gate
    margin: float


class Wrong(NamedTuple):
    """Shares of gates."""

    regressed: float
    passed: float


SCENARIOS = [
    Scenario("one task, 346 documents", single(346), 0.03),
    Scenario("one task, 1,346 documents", single(1_346), 0.02),
    Scenario("20 tasks of 300 documents", twenty, 0.05),
    Scenario("an average of 10 tasks, which are watched", watched, 0.02),
    Scenario("an average of 10 tasks, 5 better and 5 worse", uneven, 0.02),
    Scenario("60 clusters of 1 to 20, correlation 0.3", clustered(60), 0.05),
    Scenario("600 clusters of 1 to 20, correlation 0.3", clustered(600), 0.02),
    Scenario("micro-F1 of 200 documents", micro_f1, 0.03),
    Scenario("in blocks: one task, 346 documents", single_in_blocks(346), 0.03),
    Scenario("in blocks: one task, 1,346 documents", single_in_blocks(1_346), 0.02),
    Scenario("in blocks: 20 tasks of 128 documents", twenty_in_blocks, 0.05),
    Scenario("in blocks: an average of 10 tasks, 5 better and 5 worse", uneven_in_blocks, 0.03),
    Scenario("in blocks: 120 clusters of 1 to 20, correlation 0.3", clustered_in_blocks(120), 0.03),
]
BLIND = Scenario("*100 clusters, taken for independent documents*", blind, 0.05)


def share(scenario: Scenario, gates: int, mean: float, margin: float, wanted: Verdict) -> float:
    """Return in how many of `gates` the verdict is `wanted`."""
    chance = np.random.default_rng(len(scenario.name))
    return sum(scenario.gate(chance, mean, margin).verdict == wanted for _ in range(gates)) / gates


def false_verdicts(scenario: Scenario, gates: int) -> Wrong:
    """Return how many of `gates` say `regressed` where nothing changed, and `passed` where the margin is lost."""
    return Wrong(
        share(scenario, gates, 0.0, HIDES_NOTHING, "regressed"),
        share(scenario, gates, -scenario.margin, scenario.margin, "passed"),
    )
