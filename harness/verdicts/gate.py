"""The verdict of a gate on two reports: `passed`, `regressed` or `inconclusive`.

Tasks and averages that were requested by name are *judged*: such a score passes only if a loss as large as the margin
is ruled out. The member tasks of a judged average are *watched*: they need not pass, but a real loss of a member task
is a regression that the average may hide. The probability of a wrong verdict is at most:

- alpha, over all tasks together, for `regressed` although nothing got worse. The one-sided tests of all scores are
  corrected by Holm's step-down procedure (Holm 1979); half of alpha is for judged scores, half for watched scores.
- alpha for `passed` although a judged score is worse by its margin. All judged scores must pass, each at level alpha.
  This needs no correction (intersection-union test, Berger 1982).

A real loss that is shown to be smaller than the margin passes: that is the meaning of a margin. Without evidence either
way, the verdict is `inconclusive`, with the number of documents that would settle it.

Not here: reading samples (`harness.verdicts.compare`), evaluating a checkpoint, or displaying anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from harness.errors import HarnessError
from harness.reports import numbers_in_words
from harness.reports.calibration import Calibration
from harness.reports.checkpoint_info import CheckpointInfo
from harness.reports.report import Report, Score
from harness.verdicts import notes, signs
from harness.verdicts.compare import Comparator, Comparison, Refusal
from harness.verdicts.policy import Policy, Terms
from harness.verdicts.signs import Sign

Verdict = Literal["passed", "regressed", "inconclusive"]
EXIT_CODES: dict[Verdict, int] = {"passed": 0, "regressed": 1, "inconclusive": 3}
"""The exit code of `harness gate` for each verdict; 2 means wrong usage, as for every command."""


class Tests(NamedTuple):
    """One-sided p-values of one score."""

    p_non_inferiority: float
    """The p-value of the hypothesis "worse by the margin or more"."""
    p_loss: float
    """The p-value of the hypothesis "no worse"."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on one score, and what it rests on."""

    comparison: Comparison
    terms: Terms
    margin: float
    """The margin in the metric's own unit."""
    is_judged: bool
    """Whether the score must pass. False for a member task of a judged average, which is only watched for a loss."""
    tests: Tests
    p_loss_corrected: float
    """The p-value `tests.p_loss`, corrected for the number of scores."""
    signs: tuple[Sign, ...]
    verdict: Verdict
    reason: str
    """What the verdict rests on, or what is missing, in one phrase."""
    documents_needed: float
    """Number of documents that would settle the verdict with a power of 80 %, if the observed rates persist."""
    noise: float | None = None
    """Share of documents on which two evaluations of one checkpoint differ; None without a calibration."""

    @property
    def score(self) -> Score:
        """The baseline's score that is judged or watched."""
        return self.comparison.score


class Reading(NamedTuple):
    """How much of the tasks a gate in blocks read."""

    documents: int
    of_documents: int
    tokens: int
    """Prompt tokens that went through the model, including tokens before an interruption of the gate."""
    of_tokens: int
    """Prompt tokens that a run over all documents would have fed to the model."""


@dataclass(frozen=True)
class Outcome:
    """The verdict of a gate, with all judgements behind it."""

    baseline: CheckpointInfo
    candidate: CheckpointInfo
    policy: Policy
    verdict: Verdict
    judgements: tuple[Judgement, ...]
    """All judgements: those of judged scores first, then those of watched scores."""
    notes: tuple[str, ...]
    reading: Reading | None = None
    """How much of the tasks a gate in blocks read; None for a gate on two complete reports."""

    @property
    def exit_code(self) -> int:
        """0 if the build may continue, 1 for the verdict `regressed`, 3 for `inconclusive` if the policy blocks it."""
        blocking = [item for item in self.judgements if item.is_judged and item.terms.inconclusive == "block"]
        if self.verdict == "inconclusive" and all(item.verdict == "passed" for item in blocking):
            return 0
        return EXIT_CODES[self.verdict]


class PendingJudgement(NamedTuple):
    """A score that is to be judged or watched, before its verdict."""

    comparison: Comparison
    terms: Terms
    is_judged: bool
    """Whether the score must pass. False for a member task of a judged average, which is only watched for a loss."""
    signs: tuple[Sign, ...] = ()
    noise: float | None = None
    """Share of documents on which two evaluations of one checkpoint differ; None without a calibration."""

    @property
    def margin(self) -> float:
        """The margin in the metric's own unit."""
        return self.terms.margin.of(self.comparison.score, self.comparison.score.value)


def gate(
    baseline: Report,
    candidate: Report,
    policy: Policy,
    only: Collection[str] | None = None,
    calibrations: Sequence[Calibration] = (),
) -> Outcome:
    """Return the verdict on `candidate`, limited to the tasks and averages in `only` if it is not None.

    `calibrations` record on how many documents two evaluations of the same checkpoint differ.

    Raises HarnessError if the policy does not fit the baseline, or if any score to be judged cannot be compared,
    because a gate must not silently leave a task out.
    """
    comparator = Comparator(baseline, candidate)
    pending = list(pending_judgements(comparator, policy, select_scores(baseline, policy, only), calibrations))
    return combine(comparator, policy, judge_all(pending, policy, [fixed_sample_tests(item) for item in pending]))


def judge_all(pending: Sequence[PendingJudgement], policy: Policy, tests: Sequence[Tests]) -> list[Judgement]:
    """Return the judgement of each pending score by its tests. P-values of losses are corrected for their number."""
    is_judged = [item.is_judged for item in pending]
    corrected = corrected_p_values([item.p_loss for item in tests], is_judged)
    return [
        judge(*arguments, policy=policy)
        for arguments in zip(pending, tests, corrected, alpha_shares(is_judged), strict=True)
    ]


def combine(comparator: Comparator, policy: Policy, judgements: Sequence[Judgement]) -> Outcome:
    """Return the outcome of a gate with the given `judgements`."""
    return Outcome(
        baseline=comparator.baseline.manifest.checkpoint,
        candidate=comparator.candidate.manifest.checkpoint,
        policy=policy,
        verdict=combined_verdict(judgements),
        judgements=tuple(judgements),
        notes=tuple(notes.of(comparator, [item.comparison for item in judgements if item.is_judged])),
    )


def combined_verdict(judgements: Iterable[Judgement]) -> Verdict:
    """Return `regressed` if any score regressed, `passed` if all judged scores passed, else `inconclusive`."""
    items = list(judgements)
    if any(item.verdict == "regressed" for item in items):
        return "regressed"
    return "passed" if all(item.verdict == "passed" for item in items if item.is_judged) else "inconclusive"


# --- which scores are judged ------------------------------------------------------------------------------------------


class SelectedScores(NamedTuple):
    """The scores of a baseline that a gate looks at."""

    judged: list[Score]
    watched: list[Score]


def select_scores(baseline: Report, policy: Policy, only: Collection[str] | None = None) -> SelectedScores:
    """Return the scores that are judged, and the member tasks of judged averages, which are watched.

    If `only` is None, tasks that no judged score covers (perhaps because a requested average could not be computed) are
    judged, too, because a gate must not silently leave a task out.

    Raises HarnessError if the policy does not fit, if the baseline has no score at all, or if it has none for an item
    of `only`.
    """
    scores = policy.select(baseline.manifest.scores)
    judged = [score for score in scores if (score.headline if only is None else score.task in only)]
    if only is None:
        covered = {task for score in judged for task in score.members}
        judged += [score for score in scores if score.average is None and score.task not in covered]
    names = {score.task for score in judged}
    missing = sorted(set(only or ()) - names)
    if missing or not judged:
        tasks = ", ".join(missing) or "anything"
        raise HarnessError(f"the baseline {baseline.folder} has no score of {tasks}: evaluate it on the same tasks")
    members = {task for score in judged if score.average for task in score.members} - names
    return SelectedScores(judged, [score for score in scores if score.task in members and score.average is None])


def pending_judgements(
    comparator: Comparator, policy: Policy, scores: SelectedScores, calibrations: Sequence[Calibration] = ()
) -> Iterator[PendingJudgement]:
    """Yield the scores to judge, then those watched scores that can be compared.

    Raises HarnessError if scores to judge cannot be compared. The error names all of them.
    """
    judged = list(comparator.compare_all(scores.judged))
    refusals = [item for item in judged if isinstance(item, Refusal)]
    if refusals:
        raise HarnessError(_refusal_message(comparator, refusals))
    for comparison in (*judged, *comparator.compare_all(scores.watched)):
        if isinstance(comparison, Comparison):
            is_judged = comparison.score in scores.judged
            yield pending_judgement(comparator, policy, comparison, calibrations, is_judged=is_judged)


def pending_judgement(
    comparator: Comparator,
    policy: Policy,
    comparison: Comparison,
    calibrations: Sequence[Calibration] = (),
    *,
    is_judged: bool = True,
) -> PendingJudgement:
    """Return a score that is to be judged or watched, with the signs of broken answers in its documents."""
    score = comparison.score
    return PendingJudgement(
        comparison=comparison,
        terms=policy.terms(score),
        is_judged=is_judged,
        signs=(
            *_failed_documents(comparator, score),
            *signs.find_in_pairs(comparator.untainted_pairs(score), judged=is_judged),
        ),
        noise=calibrated_noise(score, calibrations),
    )


def _failed_documents(comparator: Comparator, score: Score) -> Iterator[Sign]:
    """Yield a sign if more documents failed for the candidate than for the baseline."""
    baseline, candidate = (
        sum(report.manifest.failed_documents.get(task, 0) for task in score.members)
        for report in (comparator.baseline, comparator.candidate)
    )
    if candidate > baseline:
        documents = numbers_in_words.counted(candidate, "document")
        text = f"fails on {documents}, left out here (baseline: {baseline:,})"
        yield Sign("failed documents", text)


def calibrated_noise(score: Score, calibrations: Iterable[Calibration]) -> float | None:
    """Return the largest recorded share of documents on which two evaluations of one checkpoint differ in `score`."""
    shares = []
    for calibration in calibrations:
        rates = [calibration.rate(task, score.metric, score.filter) for task in score.members]
        known = [rate for rate in rates if rate is not None and rate.n]
        if len(known) == len(rates):
            shares.append(sum(rate.changed for rate in known) / sum(rate.n for rate in known))
    return max(shares, default=None)


# --- p-values ---------------------------------------------------------------------------------------------------------


def fixed_sample_tests(pending: PendingJudgement) -> Tests:
    """Return the tests of a pending score of which all documents were read."""
    values = pending.comparison.values
    return Tests(values.p_non_inferiority(pending.margin), values.p_loss)


def alpha_shares(is_judged: Sequence[bool]) -> list[float]:
    """Return the share of alpha that each score's test of a loss gets.

    If there are both judged and watched scores, each of the two kinds has half of alpha.
    """
    count = sum(is_judged)
    kinds = 2 if 0 < count < len(is_judged) else 1
    return [1 / kinds / (count if judged else len(is_judged) - count) for judged in is_judged]


def corrected_p_values(p_losses: Sequence[float], is_judged: Sequence[bool]) -> list[float]:
    """Return the p-values of losses, corrected for the number of scores."""
    return holm(p_losses, alpha_shares(is_judged))


def holm(p_values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return `p_values` corrected for their number, so that each may be compared with alpha (Holm 1979).

    Hypotheses with larger `weights` get a larger share of alpha; equal weights give the usual procedure.
    """
    p, w = np.asarray(p_values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    order = np.argsort(p / w, kind="stable")
    remaining = w[order][::-1].cumsum()[::-1]
    corrected = np.maximum.accumulate(p[order] / w[order] * remaining)
    result = np.empty_like(corrected)
    result[order] = np.minimum(corrected, 1.0)
    return [float(value) for value in result]


# --- one verdict ------------------------------------------------------------------------------------------------------


def judge(
    pending: PendingJudgement, tests: Tests, p_loss_corrected: float, alpha_share: float = 1, *, policy: Policy
) -> Judgement:
    """Return the verdict on one score; `tests` may cover all of its documents or only those read so far.

    `p_loss_corrected` is `tests.p_loss` corrected for the number of scores; `alpha_share` is the score's share of
    alpha.
    """
    values, terms = pending.comparison.values, pending.terms
    verdict, reason = _verdict(pending, policy, tests, p_loss_corrected)
    documents_needed = values.needed_to_pass(pending.margin, alpha=terms.alpha)
    if values.difference < 0:  # a loss may be shown with fewer documents than a pass
        documents_needed = min(documents_needed, values.needed_to_tell(alpha=2 * terms.alpha * alpha_share))
    return Judgement(
        comparison=pending.comparison,
        terms=terms,
        margin=pending.margin,
        is_judged=pending.is_judged,
        tests=tests,
        p_loss_corrected=p_loss_corrected,
        signs=pending.signs,
        verdict=verdict,
        reason=reason,
        documents_needed=documents_needed,
        noise=pending.noise,
    )


class _VerdictReason(NamedTuple):
    verdict: Verdict
    reason: str


def _verdict(pending: PendingJudgement, policy: Policy, tests: Tests, p_loss_corrected: float) -> _VerdictReason:
    comparison, terms = pending.comparison, pending.terms
    if is_beyond_floor(comparison, terms):
        bound = "below its floor" if comparison.score.higher_is_better else "above its ceiling"
        percent = " %" if comparison.score.fraction else ""
        value = numbers_in_words.short_bound(terms.floor or 0.0, comparison.score)
        return _VerdictReason("regressed", f"{bound} of {value}{percent}")
    margin_ruled_out = tests.p_non_inferiority <= terms.alpha
    loss_is_real = p_loss_corrected <= terms.alpha
    small_loss = "a real loss, but smaller than the margin"
    if not margin_ruled_out and loss_is_real:
        return _VerdictReason("regressed", "a real loss")
    if not pending.is_judged:
        return _VerdictReason("inconclusive", small_loss if loss_is_real else "no real loss is shown")
    if not margin_ruled_out:
        return _VerdictReason("inconclusive", "a loss as large as the margin is not ruled out")
    if comparison.documents < terms.minimum:
        return _VerdictReason("inconclusive", f"fewer than {terms.minimum:,} documents")
    if pending.signs and policy.signs == "look":
        return _VerdictReason("inconclusive", pending.signs[0].text)
    return _VerdictReason("passed", small_loss if loss_is_real else "a loss as large as the margin is ruled out")


def is_beyond_floor(comparison: Comparison, terms: Terms) -> bool:
    """Return whether the candidate's score is worse than its floor. The result is False after an early stop."""
    if terms.floor is None or comparison.early_stop is not None:
        return False
    candidate = comparison.candidate
    return candidate < terms.floor if comparison.score.higher_is_better else candidate > terms.floor


# --- messages ---------------------------------------------------------------------------------------------------------


def _refusal_message(comparator: Comparator, refusals: Sequence[Refusal]) -> str:
    names = [report.manifest.checkpoint.name for report in (comparator.candidate, comparator.baseline)]
    reasons = "; ".join(f"{refusal.score.task}: {refusal.reason}" for refusal in refusals)
    return f"{names[0]} cannot be judged against {names[1]}. {reasons}"
