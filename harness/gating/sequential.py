"""A gate that asks its candidate itself, block by block, and stops each task as soon as its verdict is clear.

Documents come in random order, clusters whole. After every block the bets of `harness.verdicts.stats.bets` say which
verdicts are clear, and what has one is asked no more. Metrics that are no means (BLEU, micro F1) and numbers with a
floor, their own or that of a task under them, are read to the end before they pass, as is what does not become clear;
there the tests of whole reports decide as well.

An interrupted gate goes on where it was: answers are in the run's journal, and the same seed draws the same order.

Not here: asking (`harness.gating.blocks`), betting, or showing anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import pyarrow as pa

from harness.checkpoints.reference import CheckpointReference
from harness.common import progress
from harness.common.progress import Bar
from harness.errors import HarnessError
from harness.gating import blocks
from harness.gating.blocks import Block, BlockEvaluation
from harness.reports import calibration
from harness.reports.calibration import Calibration
from harness.reports.report import Report, Score
from harness.reports.writer import sample_table
from harness.runs.options import Options
from harness.runs.task_results import identity
from harness.verdicts import compare, gate, pairs, signs
from harness.verdicts.compare import Comparator, Comparison, EarlyStop
from harness.verdicts.gate import Judgement, Outcome, PendingJudgement, Reading, Tests
from harness.verdicts.pairs import IncomparableError, Pairs
from harness.verdicts.policy import Policy, Terms
from harness.verdicts.signs import Sign
from harness.verdicts.stats import bets
from harness.verdicts.stats.bets import SequentialTest
from harness.verdicts.stats.means import Differences, Interval


class GateResult(NamedTuple):
    """What a gate that asks leaves behind."""

    outcome: Outcome
    report: Report
    """Of the documents that were asked."""


def gate_in_blocks(
    candidate: CheckpointReference,
    baseline: Report,
    options: Options,
    policy: Policy,
    *,
    seed: int | None = None,
    calibrations: Sequence[Calibration] = (),
) -> GateResult:
    """Ask `candidate` the tasks of `options` until all verdicts are clear; `seed` draws the order.

    `calibrations` tell how often others differ from themselves; the candidate's own is looked for in `options.output`.

    Raises HarnessError as a run does, and where the baseline was asked something else, as soon as that shows.
    """
    gate.select_scores(baseline, policy)  # a policy that does not fit is told before anything is loaded
    with blocks.open_blocks(candidate, options, seed=seed) as asked:
        own = calibration.find(options.output, asked.lm.checkpoint.fingerprint)
        known = [*calibrations, *([own] if own else ())]
        numbers = _numbers(asked, baseline, policy)
        whole = sum(len(asked.clusters(task)) for task in asked.tasks.tasks)
        with progress.bar(f"gating {asked.lm.checkpoint.name}", whole, "documents") as bar:
            _read(asked, baseline, numbers, bar)
        report, tokens = asked.report(), asked.tokens()
    comparator = Comparator(baseline, report)
    judgements = [
        replace(one, noise=gate.calibrated_noise(one.score, known)) for one in _judgements(numbers, comparator, policy)
    ]
    outcome = gate.combine(comparator, policy, judgements)
    documents = sum(task.documents for task in report.manifest.tasks.values())
    read = max(tokens.fed, tokens.asked)  # the journal's answers were read, too, before an interruption
    return GateResult(replace(outcome, reading=Reading(documents, whole, read, tokens.whole)), report)


@dataclass
class _Number:
    """A task's or an average's number, while its documents come in."""

    score: Score
    """The baseline's."""
    terms: Terms
    judged: bool
    clusters: Mapping[str, Sequence[str | None]]
    """Of all documents of each of its tasks."""
    has_floor: bool = False
    """It has one, or a task that is watched under it."""
    seen: list[Differences] = field(default_factory=list)
    is_mean: bool = True
    is_clear: bool = False
    is_whole: bool = False
    """All its documents were read."""

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Documents of each of its tasks."""
        return {task: len(keys) for task, keys in self.clusters.items()}

    @cached_property
    def watch(self) -> SequentialTest:
        """What its documents tell so far."""
        each = compare.document_weights(self.score, self.sizes)
        units: defaultdict[tuple[str, str | int], float] = defaultdict(float)
        for task, keys in self.clusters.items():
            for place, key in enumerate(keys):
                units[(task, place) if key is None else ("", key)] += each[task]
        return SequentialTest(
            margin=self.terms.margin.of(self.score, self.score.value),
            units=len(units),
            documents=sum(self.sizes.values()),
            heaviest=max(units.values()),
            bound=1.0 if self.score.fraction else self.score.ceiling if self.score.higher_is_better else None,
        )

    def see(self, joined: Sequence[Pairs]) -> None:
        """Take in the documents of a block, of those of its tasks that have some."""
        clean = [one.where(~one.tainted) for one in joined]
        found = compare.weighted_differences(self.score, clean, self.sizes) if any(one.n for one in clean) else None
        if found is None:
            self.is_mean = self.is_mean and not any(one.n for one in clean)
        elif found.differences.n:
            self.seen.append(found.differences)
            self.watch.add(found.differences, found.weights)

    @property
    def tests(self) -> Tests:
        """Its tests so far, which hold whenever one looks."""
        return Tests(self.watch.p_non_inferiority, self.watch.p_loss) if self.is_mean else Tests(1.0, 1.0)

    def decide(self, loss: float) -> None:
        """Say whether its verdict is clear, of a p-value of loss that is corrected for all others."""
        passes = self.tests.p_non_inferiority <= self.terms.alpha
        enough = not self.has_floor and sum(one.n for one in self.seen) >= self.terms.minimum
        self.is_clear = self.is_clear or (enough if passes else loss <= self.terms.alpha)

    def unit(self, comparator: Comparator) -> PendingJudgement | None:
        """Return it as it is judged in the end; None where it was not asked, or cannot be compared and is watched."""
        if self.is_whole:
            found = next(comparator.compare_all([self.score]))
            if not isinstance(found, Comparison):
                if self.judged:
                    raise HarnessError(f"{self.score.task} cannot be judged: {found.reason}")
                return None
        elif self.seen:
            sequence = self.watch.interval()
            if sequence and not self.score.higher_is_better:
                sequence = Interval(-sequence.high, -sequence.low)
            values = bets.concatenated(self.seen)
            stopped = EarlyStop(sequence, sum(self.sizes.values()))
            found = Comparison(self.score, values, values.n, left_out=0, early_stop=stopped)
        else:
            return None
        return PendingJudgement(found, self.terms, self.judged, tuple(self._signs(comparator)))

    def _signs(self, comparator: Comparator) -> list[Sign]:
        asked = [task for task in self.sizes if task in comparator.candidate.manifest.tasks]
        joined = comparator.untainted_pairs(self.score.model_copy(update={"members": asked}))
        return signs.find_in_pairs(joined, judged=self.judged)


def _numbers(asked: BlockEvaluation, baseline: Report, policy: Policy) -> list[_Number]:
    found = gate.select_scores(baseline, policy, asked.units)
    for name in asked.tasks.tasks:
        _require_same_questions(name, asked, baseline)
    numbers = [
        _Number(
            score, policy.terms(score), score in found.judged, {task: asked.clusters(task) for task in score.members}
        )
        for score in (*found.judged, *found.watched)
    ]
    for one in numbers:
        _require_metric(one.score, asked)
        under = [number for number in numbers if not number.judged and _is_in(number, [one])]
        one.has_floor = any(number.terms.floor is not None for number in (one, *under))
    return numbers


def _require_same_questions(name: str, asked: BlockEvaluation, baseline: Report) -> None:
    """Raise HarnessError if the baseline's answers to the task `name` are to other questions."""
    was = baseline.manifest.tasks.get(name)
    for what, now in identity(asked.tasks.tasks[name], asked.tasks.sources.get(name)).items():
        if was is not None and getattr(was, what) != now:
            raise HarnessError(
                f"{name}: different {what}: {now} instead of the baseline's {getattr(was, what)}: "
                "evaluate the baseline again"
            )


def _require_metric(score: Score, asked: BlockEvaluation) -> None:
    """Raise HarnessError if the candidate's answers are not worth anything under the metric of `score`."""
    for name in score.members:
        if (score.metric, score.filter) not in [(one.name, one.filter) for one in asked.tasks.tasks[name].metrics]:
            raise HarnessError(
                f"{name} as it is asked now has no {score.metric} ({score.filter}), which the baseline is judged by: "
                "ask both in the same way, or name another metric in the policy"
            )


def _read(asked: BlockEvaluation, baseline: Report, numbers: Sequence[_Number], bar: Bar) -> None:
    """Ask blocks until the verdicts of all judged `numbers` are clear, or nothing is left."""
    tables: dict[str, pa.Table] = {}
    for size in bets.block_sizes(sum(asked.left(unit) for unit in asked.units)):
        waiting = [number for number in numbers if number.judged and not number.is_clear]
        if not any(asked.left(number.score.task) for number in waiting):
            break
        block = asked.ask([number.score.task for number in waiting], size)
        bar.advance(block.documents)
        _see(block, baseline, [number for number in numbers if _is_in(number, waiting)], tables)
        for number in waiting:
            number.is_whole = not asked.left(number.score.task)
        losses = gate.corrected_p_values(
            [number.tests.p_loss for number in numbers], [number.judged for number in numbers]
        )
        for number, loss in zip(numbers, losses, strict=True):
            number.decide(loss)
    for number in numbers:
        number.is_whole = number.is_whole or _is_in(number, [one for one in numbers if one.judged and one.is_whole])
        if number.is_whole and number.is_mean:
            number.watch.finish()


def _is_in(number: _Number, others: Sequence[_Number]) -> bool:
    """Tell whether all tasks of `number` are tasks of one of `others`."""
    return any(set(number.sizes) <= set(other.sizes) for other in others)


def _see(block: Block, baseline: Report, numbers: Sequence[_Number], tables: dict[str, pa.Table]) -> None:
    """Let `numbers` take in the documents of `block`; `tables` holds the baseline's, once they are read."""
    joined: dict[str, dict[str, Pairs]] = {}
    for task, rows in block.rows.items():
        names = [number.score.metric for number in numbers if task in number.sizes]
        if names:
            if task not in tables:
                tables[task] = pairs.read_samples(baseline, task)
            try:
                joined[task] = pairs.join_tables(task, tables[task], sample_table(rows, list(dict.fromkeys(names))))
            except IncomparableError as error:
                raise IncomparableError(f"{task}: {error}: ask the candidate what the baseline was asked") from error
            lacking = len({row["doc_id"] for row in rows}) - min(one.n for one in joined[task].values())
            if lacking:
                raise IncomparableError(f"{task}: the baseline lacks {lacking:,} of the documents: evaluate it again")
    for number in numbers:
        found = [joined[task][number.score.filter] for task in number.sizes if task in joined]
        if found:
            number.see(found)


def _judgements(numbers: Sequence[_Number], comparator: Comparator, policy: Policy) -> Iterator[Judgement]:
    tests = [number.tests for number in numbers]
    units = [number.unit(comparator) for number in numbers]
    for at, unit in enumerate(units):
        if unit is not None and not numbers[at].is_mean:
            tests[at] = gate.fixed_sample_tests(unit)
    judged = [number.judged for number in numbers]
    losses, shares = gate.corrected_p_values([one.p_loss for one in tests], judged), gate.alpha_shares(judged)
    for unit, test, loss, share in zip(units, tests, losses, shares, strict=True):
        if unit is not None:
            yield gate.judge(unit, test, loss, share, policy=policy)
