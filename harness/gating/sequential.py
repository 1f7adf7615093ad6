"""A gate that evaluates its candidate block by block, and stops each task as soon as its verdict is clear.

Documents come in random order, with clusters kept whole. After every block, the bets of `harness.verdicts.stats.bets`
show which verdicts are clear; their tasks are not evaluated further. All documents are read for scores whose verdict
does not become clear, and for metrics that are not means (BLEU, micro F1). They are also read if the policy sets a
floor for a score or one of its member tasks, because such a score may pass only at the end. In all of these cases the
tests of complete reports decide too.

An interrupted gate continues where it stopped, because answers are in the run's journal and the same seed draws the
same order.

Not here: evaluating blocks (`harness.gating.blocks`), the bets, or displaying anything.
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
    """The outcome of a gate in blocks, and the report that the gate leaves."""

    outcome: Outcome
    report: Report
    """The report of the evaluated documents."""


def gate_in_blocks(
    candidate: CheckpointReference,
    baseline: Report,
    options: Options,
    policy: Policy,
    *,
    seed: int | None = None,
    calibrations: Sequence[Calibration] = (),
) -> GateResult:
    """Evaluate `candidate` on the tasks of `options` until all verdicts are clear. `seed` draws the order of documents.

    `calibrations` of other checkpoints record on how many documents two evaluations of the same checkpoint differ. The
    candidate's own calibration is looked up in `options.output`.

    Raises HarnessError as a run does, and if the baseline turns out to have been evaluated under other conditions.
    """
    gate.select_scores(baseline, policy)  # reports a policy that does not fit before anything is loaded
    with blocks.open_blocks(candidate, options, seed=seed) as evaluation:
        own = calibration.find(options.output, evaluation.lm.checkpoint.fingerprint)
        known = [*calibrations, *([own] if own else ())]
        running = _running_scores(evaluation, baseline, policy)
        of_documents = sum(len(evaluation.clusters(task)) for task in evaluation.tasks.tasks)
        with progress.bar(f"gating {evaluation.lm.checkpoint.name}", of_documents, "documents") as bar:
            _read(evaluation, baseline, running, bar)
        report, tokens = evaluation.write_report(), evaluation.token_counts()
    comparator = Comparator(baseline, report)
    judgements = [
        replace(item, noise=gate.calibrated_noise(item.score, known))
        for item in _judgements(running, comparator, policy)
    ]
    reading = Reading(
        documents=sum(task.documents for task in report.manifest.tasks.values()),
        of_documents=of_documents,
        # Answers from the journal count as well: they were read before an interruption.
        tokens=max(tokens.fed, tokens.evaluated),
        of_tokens=tokens.all_documents,
    )
    return GateResult(replace(gate.combine(comparator, policy, judgements), reading=reading), report)


@dataclass
class _RunningScore:
    """The score of a task or average while its documents are being evaluated, block by block."""

    score: Score
    """The baseline's score."""
    terms: Terms
    is_judged: bool
    """Whether the score must pass. False for a score that is only watched for a loss (`harness.verdicts.gate`)."""
    clusters: Mapping[str, Sequence[str | None]]
    """The cluster of every document, by task."""
    has_floor: bool = False
    """Whether the policy sets a floor for the score, or for a watched member task that the score covers."""
    blocks: list[Differences] = field(default_factory=list)
    """The differences on the documents of each block so far."""
    is_mean: bool = True
    is_clear: bool = False
    """Whether the verdict is clear, so that no more documents are needed."""
    is_complete: bool = False
    """Whether all documents of the score were evaluated."""

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Number of documents of each task."""
        return {task: len(keys) for task, keys in self.clusters.items()}

    @cached_property
    def sequential_test(self) -> SequentialTest:
        """The sequential test by bets on the documents evaluated so far (`harness.verdicts.stats.bets`)."""
        by_task = compare.document_weights(self.score, self.sizes)
        weights: defaultdict[tuple[str, str | int], float] = defaultdict(float)
        for task, keys in self.clusters.items():
            for doc_id, key in enumerate(keys):
                weights[(task, doc_id) if key is None else ("", key)] += by_task[task]
        return SequentialTest(
            margin=self.terms.margin.of(self.score, self.score.value),
            units=len(weights),
            documents=sum(self.sizes.values()),
            heaviest=max(weights.values()),
            bound=1.0 if self.score.fraction else self.score.ceiling if self.score.higher_is_better else None,
        )

    def add(self, joined: Sequence[Pairs]) -> None:
        """Add the documents of a block that belong to the score's tasks."""
        clean = [task.where(~task.tainted) for task in joined]
        has_documents = any(task.n for task in clean)
        values = compare.weighted_differences(self.score, clean, self.sizes) if has_documents else None
        if values is None:
            self.is_mean = self.is_mean and not has_documents
        elif values.differences.n:
            self.blocks.append(values.differences)
            self.sequential_test.add(values.differences, values.weights)

    @property
    def tests(self) -> Tests:
        """The p-values on the documents evaluated so far, which are valid whenever the gate stops."""
        if not self.is_mean:
            return Tests(p_non_inferiority=1.0, p_loss=1.0)
        return Tests(self.sequential_test.p_non_inferiority, self.sequential_test.p_loss)

    def decide(self, p_loss_corrected: float) -> None:
        """Update `is_clear`. `p_loss_corrected` is the p-value of a loss, corrected for the number of scores."""
        passes = self.tests.p_non_inferiority <= self.terms.alpha
        may_pass = not self.has_floor and sum(block.n for block in self.blocks) >= self.terms.minimum
        self.is_clear = self.is_clear or (may_pass if passes else p_loss_corrected <= self.terms.alpha)

    def pending_judgement(self, comparator: Comparator) -> PendingJudgement | None:
        """Return what the final judgement of the score needs.

        Returns None if nothing was evaluated, or if the score is only watched and cannot be compared. Raises
        HarnessError if a score to be judged cannot be compared.
        """
        comparison = self._comparison(comparator)
        if comparison is None:
            return None
        return PendingJudgement(comparison, self.terms, self.is_judged, tuple(self._signs(comparator)))

    def _comparison(self, comparator: Comparator) -> Comparison | None:
        if self.is_complete:
            result = next(comparator.compare_all([self.score]))
            if isinstance(result, Comparison):
                return result
            if self.is_judged:
                raise HarnessError(f"{self.score.task} cannot be judged: {result.reason}")
            return None
        if not self.blocks:
            return None
        interval = self.sequential_test.interval()
        if interval and not self.score.higher_is_better:
            interval = Interval(-interval.high, -interval.low)
        values = bets.concatenated(self.blocks)
        early_stop = EarlyStop(interval, sum(self.sizes.values()))
        return Comparison(self.score, values, values.n, left_out=0, early_stop=early_stop)

    def _signs(self, comparator: Comparator) -> list[Sign]:
        evaluated = [task for task in self.sizes if task in comparator.candidate.manifest.tasks]
        joined = comparator.untainted_pairs(self.score.model_copy(update={"members": evaluated}))
        return signs.find_in_pairs(joined, judged=self.is_judged)


def _running_scores(evaluation: BlockEvaluation, baseline: Report, policy: Policy) -> list[_RunningScore]:
    selected = gate.select_scores(baseline, policy, evaluation.headlines)
    for name in evaluation.tasks.tasks:
        _require_same_task(name, evaluation, baseline)
    running = [
        _RunningScore(
            score=score,
            terms=policy.terms(score),
            is_judged=score in selected.judged,
            clusters={task: evaluation.clusters(task) for task in score.members},
        )
        for score in (*selected.judged, *selected.watched)
    ]
    for item in running:
        _require_metric(item.score, evaluation)
        members = [other for other in running if not other.is_judged and _is_covered(other, [item])]
        item.has_floor = any(other.terms.floor is not None for other in (item, *members))
    return running


def _require_same_task(name: str, evaluation: BlockEvaluation, baseline: Report) -> None:
    """Raise HarnessError if the baseline was evaluated on another version or other data of the task `name`."""
    info = baseline.manifest.tasks.get(name)
    for attribute, value in identity(evaluation.tasks.tasks[name], evaluation.tasks.sources.get(name)).items():
        if info is not None and getattr(info, attribute) != value:
            raise HarnessError(
                f"{name}: different {attribute}: {value} instead of the baseline's {getattr(info, attribute)}: "
                "evaluate the baseline again"
            )


def _require_metric(score: Score, evaluation: BlockEvaluation) -> None:
    """Raise HarnessError if a task of `score` does not compute the metric of `score` for the candidate."""
    for name in score.members:
        known = [(metric.name, metric.filter) for metric in evaluation.tasks.tasks[name].metrics]
        if (score.metric, score.filter) not in known:
            raise HarnessError(
                f"with the present options, {name} does not compute {score.metric} ({score.filter}), by which the "
                "baseline is judged: evaluate both with the same options, or name another metric in the policy"
            )


def _read(evaluation: BlockEvaluation, baseline: Report, running: Sequence[_RunningScore], bar: Bar) -> None:
    """Evaluate blocks until every judged score has a clear verdict or no documents left."""
    baseline_tables: dict[str, pa.Table] = {}
    for size in bets.block_sizes(sum(evaluation.remaining(headline) for headline in evaluation.headlines)):
        waiting = [item for item in running if item.is_judged and not item.is_clear]
        if not any(evaluation.remaining(item.score.task) for item in waiting):
            break
        block = evaluation.evaluate([item.score.task for item in waiting], size)
        bar.advance(block.documents)
        _add_block(block, baseline, [item for item in running if _is_covered(item, waiting)], baseline_tables)
        for item in waiting:
            item.is_complete = not evaluation.remaining(item.score.task)
        corrected = gate.corrected_p_values(
            [item.tests.p_loss for item in running], [item.is_judged for item in running]
        )
        for item, p_loss_corrected in zip(running, corrected, strict=True):
            item.decide(p_loss_corrected)
    for item in running:
        complete = [other for other in running if other.is_judged and other.is_complete]
        item.is_complete = item.is_complete or _is_covered(item, complete)
        if item.is_complete and item.is_mean:
            item.sequential_test.finish()


def _is_covered(item: _RunningScore, others: Sequence[_RunningScore]) -> bool:
    """Return whether one of the scores `others` covers all tasks of the score `item`."""
    return any(set(item.sizes) <= set(other.sizes) for other in others)


def _add_block(
    block: Block, baseline: Report, running: Sequence[_RunningScore], baseline_tables: dict[str, pa.Table]
) -> None:
    """Add the documents of `block` to the `running` scores. `baseline_tables` caches the baseline's samples by task."""
    joined: dict[str, dict[str, Pairs]] = {}
    for task, rows in block.rows.items():
        metric_names = list(dict.fromkeys(item.score.metric for item in running if task in item.sizes))
        if metric_names:
            if task not in baseline_tables:
                baseline_tables[task] = pairs.read_samples(baseline, task)
            try:
                joined[task] = pairs.join_tables(task, baseline_tables[task], sample_table(rows, metric_names))
            except IncomparableError as error:
                raise IncomparableError(
                    f"{task}: {error}: evaluate the candidate as the baseline was evaluated"
                ) from error
            missing = len({row["doc_id"] for row in rows}) - min(by_filter.n for by_filter in joined[task].values())
            if missing:
                raise IncomparableError(f"{task}: the baseline lacks {missing:,} of the documents: evaluate it again")
    for item in running:
        of_score = [joined[task][item.score.filter] for task in item.sizes if task in joined]
        if of_score:
            item.add(of_score)


def _judgements(running: Sequence[_RunningScore], comparator: Comparator, policy: Policy) -> Iterator[Judgement]:
    pending = [item.pending_judgement(comparator) for item in running]
    tests = [
        gate.fixed_sample_tests(score) if score is not None and not item.is_mean else item.tests
        for item, score in zip(running, pending, strict=True)
    ]
    is_judged = [item.is_judged for item in running]
    corrected, alpha_shares = (
        gate.corrected_p_values([test.p_loss for test in tests], is_judged),
        gate.alpha_shares(is_judged),
    )
    for score, test, p_loss_corrected, share in zip(pending, tests, corrected, alpha_shares, strict=True):
        if score is not None:
            yield gate.judge(score, test, p_loss_corrected, share, policy=policy)
