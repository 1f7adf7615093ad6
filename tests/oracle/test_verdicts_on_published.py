"""`make oracle`: verdicts on ten real models from a part of a benchmark, held against the whole of it.

LawBench publishes ten models' answers. Each is judged against each other, on every task, by a random half and a random
tenth of the documents; what the whole says is the truth that they should not contradict. A half is drawn without
replacement, so it is nearer to the whole than documents drawn from their population would be, and its errors should be
far rarer than promised; a tenth is nearly as good as a sample of a population.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from harness.verdicts import gate
from harness.verdicts.compare import Comparator, Comparison, Refusal
from harness.verdicts.stats import bets
from harness.verdicts.stats.bets import SequentialTest
from harness.verdicts.stats.means import Differences
from support import measured
from support.rescored import Rescored

pytestmark = [pytest.mark.oracle, pytest.mark.data]

PARTS = {"half": 2, "tenth": 10}
DRAWS = 10
"""Random parts of each size, of each pair and task."""
ALPHA, MARGIN = 0.05, 0.02
OTHER_QUESTIONS = "lawbench_2_2"
"""A task whose questions are known from the files of answers only, with each model's own marks of a dialogue."""
REPORT = Path(__file__).resolve().parents[2] / "reports" / f"{date.today():%Y-%m-%d}-verdicts-on-published-answers.md"
HEAD = """# Verdicts on published answers, {today}

Made by `make oracle` (`tests/oracle/test_verdicts_on_published.py`). Python {python} on {machine}.

The answers that open-compass/LawBench publishes of ten models, zero-shot, scored by `harness score`: {pairs} pairs
of a baseline and a candidate, {tasks} tasks of up to 500 documents. Each pair is judged on each task by {draws}
random halves of the documents and as many tenths, at a margin of 2 points and alpha = 5 %, by the functions that
`harness gate` calls. The whole set of documents stands for the truth; of it, a half knows much already, so that it
errs far less often than documents of a population may. Gates judge all tasks of a pair together, corrected by Holm.
Left out are 2-1, whose score is no mean, and 2-2 where two models were asked it in other words.

| wrong verdicts | cases | wrong | share | promised |
|---|---|---|---|---|
{errors}

The 95 % interval holds the difference on the whole in {covered}.

| from | difference on the whole | verdicts | passed | regressed | inconclusive |
|---|---|---|---|---|---|
{power}

Documents in random blocks, as `harness gate --sequential` asks them, one order of each pair and task: {sequential}
"""


@dataclass
class Tally:
    """How often something was wrong."""

    name: str
    cases: int = 0
    wrong: int = 0

    def add(self, wrong: bool) -> None:
        self.cases += 1
        self.wrong += wrong

    @property
    def share(self) -> float:
        return self.wrong / self.cases

    def row(self) -> str:
        return f"| {self.name} | {self.cases:,} | {self.wrong:,} | {self.share:.2%} | at most 5 % |"


class Errors:
    """Wrong verdicts on all pairs and tasks, from parts of one size."""

    def __init__(self, part: str) -> None:
        self.part = part
        self.regressed = Tally(f"from a {part}: a task `regressed`, and on the whole lost nothing")
        self.passed = Tally(f"from a {part}: a task `passed`, and on the whole lost 2 points or more")
        self.gates = Tally(f"from a {part}: a gate names a task as lost that on the whole lost nothing")
        self.let_through = Tally(f"from a {part}: a gate `passed`, and on the whole a task lost 2 points or more")
        self.uncovered = Tally("the interval misses the difference on the whole")
        self.by_size: dict[str, Counter[str]] = {}

    @property
    def tallies(self) -> list[Tally]:
        return [self.regressed, self.passed, self.gates, self.let_through]


def test_verdicts_from_a_part_seldom_contradict_the_whole(lawbench: Rescored) -> None:
    errors, chance, pairs = {name: Errors(name) for name in PARTS}, np.random.default_rng(0), 0
    looks, most = Looks(), 0
    for baseline in lawbench.reports:
        for candidate in lawbench.reports:
            if candidate is baseline:
                continue
            pairs += 1
            comparator = Comparator(baseline, candidate)
            whole = means(
                comparator.compare_all(
                    [score for score in baseline.manifest.scores if score.primary and not score.average]
                )
            )
            assert len(whole) in (16, 17)
            most = max(most, len(whole))
            for name, share in PARTS.items():
                for _ in range(DRAWS):
                    judge([(differences, drawn(differences, share, chance)) for differences in whole], errors[name])
            for differences in whole:
                looks.take(differences, chance)
    assert pairs == 90
    tallies = [*(tally for of_size in errors.values() for tally in of_size.tallies), looks.regressed, looks.passed]
    for tally in tallies:
        assert tally.cases > 100, tally
        assert tally.share <= ALPHA, tally
    for of_size in errors.values():
        assert of_size.uncovered.share <= ALPHA
    REPORT.write_text(
        HEAD.format(
            **measured.on(),
            pairs=pairs,
            tasks=most,
            draws=DRAWS,
            errors="\n".join(tally.row() for tally in tallies),
            covered=" and ".join(
                f"{1 - of_size.uncovered.share:.1%} of {of_size.uncovered.cases:,} cases from a {name}"
                for name, of_size in errors.items()
            ),
            power="\n".join(row for of_size in errors.values() for row in rows(of_size)),
            sequential=looks.summary(),
        ),
        encoding="utf-8",
    )
    print(f"\n{REPORT.read_text(encoding='utf-8')}")


def means(compared: Iterator[Comparison | Refusal]) -> list[Differences]:
    results = list(compared)
    assert {result.score.task for result in results if isinstance(result, Refusal)} <= {OTHER_QUESTIONS}
    return [
        result.values for result in results if isinstance(result, Comparison) and isinstance(result.values, Differences)
    ]


def drawn(whole: Differences, share: int, chance: np.random.Generator) -> Differences:
    """Return a random part of the documents, clusters whole."""
    return part(whole, chance.permutation(whole.units)[: whole.units // share])


def judge(both: Sequence[tuple[Differences, Differences]], errors: Errors) -> None:
    """Judge a pair of models by parts of all tasks, and hold the verdicts against the wholes."""
    losses = gate.corrected_p_values([sample.p_loss for _, sample in both], [True] * len(both))
    named, every = [], True
    for (whole, sample), corrected in zip(both, losses, strict=True):
        is_passed = sample.p_non_inferiority(MARGIN) <= ALPHA
        verdict = "passed" if is_passed else "regressed" if sample.p_loss <= ALPHA else "inconclusive"
        if whole.difference >= 0:
            errors.regressed.add(verdict == "regressed")
            named.append(not is_passed and corrected <= ALPHA)
        if whole.difference <= -MARGIN:
            errors.passed.add(is_passed)
        every = every and is_passed
        errors.by_size.setdefault(size(whole.difference), Counter())[verdict] += 1
        interval = sample.interval()
        if interval is not None:
            errors.uncovered.add(not interval.low <= whole.difference <= interval.high)
    if named:
        errors.gates.add(any(named))
    if any(whole.difference <= -MARGIN for whole, _ in both):
        errors.let_through.add(every)


SIZES = ("−10 points or worse", "−10 to −5", "−5 to −2", "−2 to 0", "0 to +2", "+2 or better")


def size(difference: float) -> str:
    if difference < 0:
        return SIZES[sum(difference > end for end in (-0.1, -0.05, -0.02))]
    return SIZES[4 if difference < 0.02 else 5]


def rows(errors: Errors) -> Iterator[str]:
    for name in SIZES:
        counts = errors.by_size[name]
        shares = " | ".join(
            f"{counts[verdict] / counts.total():.0%}" for verdict in ("passed", "regressed", "inconclusive")
        )
        yield f"| a {errors.part} | {name} | {counts.total():,} | {shares} |"


@dataclass
class Looks:
    """Verdicts on documents in random blocks, read until a verdict is clear."""

    regressed: Tally = field(default_factory=lambda: Tally("in blocks: `regressed`, and on the whole lost nothing"))
    passed: Tally = field(default_factory=lambda: Tally("in blocks: `passed`, and on the whole lost 2 points or more"))
    read: dict[str, list[float]] = field(default_factory=dict)

    def take(self, whole: Differences, chance: np.random.Generator) -> None:
        watch, order, start = (
            SequentialTest(MARGIN, whole.units, whole.n, heaviest=float(whole.sizes.max())),
            chance.permutation(whole.units),
            0,
        )
        verdict, sizes = "inconclusive", list(bets.block_sizes(whole.units))
        for block in sizes:
            units = order[start : start + block]
            start += len(units)
            watch.add(part(whole, units))
            if start == whole.units:
                watch.finish()
            if watch.p_non_inferiority <= ALPHA or watch.p_loss <= ALPHA:
                verdict = "passed" if watch.p_non_inferiority <= ALPHA else "regressed"
                break
        if whole.difference >= 0:
            self.regressed.add(verdict == "regressed")
        if whole.difference <= -MARGIN:
            self.passed.add(verdict == "passed")
        if verdict != "inconclusive":
            self.read.setdefault(verdict, []).append(start / whole.units)

    def summary(self) -> str:
        return "; ".join(
            f"{len(shares):,} {verdict}, after a median of {median(shares):.0%} of the documents"
            for verdict, shares in sorted(self.read.items())
        )


def part(whole: Differences, units: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Differences:
    clusters_of = np.arange(whole.n) if whole.clusters is None else whole.clusters
    is_drawn = np.isin(clusters_of, units)
    clusters = None if whole.clusters is None else np.unique(whole.clusters[is_drawn], return_inverse=True)[1]
    return Differences(whole.baseline[is_drawn], whole.candidate[is_drawn], clusters, whole.span)
