"""Two reports → one verdict: `passed`, `regressed` or `inconclusive`.

What was asked for by name is *judged*: it passes only if its loss is shown to be smaller than the margin. The tasks
that a judged average is over are *watched*: they need not pass, but a real loss of one is a regression that the average
may hide. How often a verdict is wrong, at most:

- `regressed` where nothing got worse: alpha over all tasks together. One-sided tests of each, corrected by Holm's
  step-down procedure (Holm 1979), in which what is judged and what is watched have half of alpha each.
- `passed` where a judged number is worse by its margin: alpha. All must pass, each at alpha, which needs no correction
  (intersection-union, Berger 1982).

A real loss that is shown to be smaller than the margin passes: that is what a margin says. Absence of evidence is
`inconclusive`, with the number of documents that would settle it.

Not here: reading samples (`harness.verdicts.compare`), asking a checkpoint, or showing anything.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from harness.errors import HarnessError
from harness.reports import numbers_in_words
from harness.reports.calibration import Calibration
from harness.reports.report import CheckpointInfo, Report, Score
from harness.verdicts import comparable, signs
from harness.verdicts.comparable import Asked
from harness.verdicts.compare import Comparator, Comparison, Refusal
from harness.verdicts.policy import Policy, Terms
from harness.verdicts.signs import Sign

Verdict = Literal["passed", "regressed", "inconclusive"]
EXIT_CODES: dict[Verdict, int] = {"passed": 0, "regressed": 1, "inconclusive": 3}
"""2 is wrong usage, as of every verb."""


class Tests(NamedTuple):
    """One-sided p-values of one number."""

    non_inferiority: float
    """Of "worse by the margin or more"."""
    loss: float
    """Of "no worse"."""


@dataclass(frozen=True)
class Judgement:
    """One number's verdict, and what it rests on."""

    comparison: Comparison
    terms: Terms
    margin: float
    """In the metric's own unit."""
    judged: bool
    """False for what is only watched."""
    tests: Tests
    loss: float
    """The p-value of a real loss, corrected for all others."""
    signs: tuple[Sign, ...]
    verdict: Verdict
    reason: str
    """One sentence on what the verdict rests on, or what is missing."""
    needed: float
    """Documents that would settle it with a power of 80 %, if all goes on as it has."""
    noise: float | None = None
    """The share of documents on which one checkpoint differs from itself; None where nobody calibrated."""

    @property
    def score(self) -> Score:
        """Which number it is."""
        return self.comparison.score


class Reading(NamedTuple):
    """What was read for a verdict, of what there is."""

    documents: int
    of_documents: int
    tokens: int
    """Of prompts, that went through the model, also before an interruption."""
    of_tokens: int
    """That a run over all documents would have fed."""


@dataclass(frozen=True)
class Outcome:
    """A gate's verdict."""

    baseline: CheckpointInfo
    candidate: CheckpointInfo
    policy: Policy
    verdict: Verdict
    judgements: tuple[Judgement, ...]
    """Judged ones first, then watched ones."""
    notes: tuple[str, ...]
    reading: Reading | None = None
    """What a gate that asks until verdicts are clear has read; None where two complete reports were compared."""

    @property
    def exit_code(self) -> int:
        """0 where the build may go on, 1 where it regressed, 3 where nothing is shown."""
        blocking = [one for one in self.judgements if one.judged and one.terms.inconclusive == "block"]
        if self.verdict == "inconclusive" and all(one.verdict == "passed" for one in blocking):
            return 0
        return EXIT_CODES[self.verdict]


class Unit(NamedTuple):
    """A number under judgement, before it is judged."""

    comparison: Comparison
    terms: Terms
    judged: bool
    signs: tuple[Sign, ...] = ()
    noise: float | None = None

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
    """Return the verdict on `candidate`, of the tasks and averages in `only` where that is given.

    `calibrations` tell how often the checkpoints differ from themselves.

    Raises HarnessError if the policy does not fit the baseline, or if any number to be judged cannot be compared: a
    gate that leaves a task out is none.
    """
    comparator = Comparator(baseline, candidate)
    found = list(units(comparator, policy, chosen(baseline, policy, only), calibrations))
    tests = [fixed_tests(unit) for unit in found]
    judged = [unit.judged for unit in found]
    losses = corrected([one.loss for one in tests], judged)
    made = map(judgement, found, itertools.repeat(policy), tests, losses, shares(judged))
    return outcome(comparator, policy, list(made))


def outcome(comparator: Comparator, policy: Policy, judgements: Sequence[Judgement]) -> Outcome:
    """Return the verdict that `judgements` make together."""
    return Outcome(
        baseline=comparator.baseline.manifest.checkpoint,
        candidate=comparator.candidate.manifest.checkpoint,
        policy=policy,
        verdict=together(judgements),
        judgements=tuple(judgements),
        notes=tuple(_notes(comparator, judgements)),
    )


def together(judgements: Iterable[Judgement]) -> Verdict:
    """Return the verdict on all: `regressed` if one did, `passed` if all that are judged did."""
    every = list(judgements)
    if any(one.verdict == "regressed" for one in every):
        return "regressed"
    return "passed" if all(one.verdict == "passed" for one in every if one.judged) else "inconclusive"


class Chosen(NamedTuple):
    """Numbers of a baseline."""

    judged: list[Score]
    watched: list[Score]


def chosen(baseline: Report, policy: Policy, only: Collection[str] | None = None) -> Chosen:
    """Return what is judged, and what is watched because a judged average is over it.

    Tasks that no judged number is over, as where an average that was asked for could not be computed, are judged
    themselves: a gate that leaves a task out is none.

    Raises HarnessError if the policy does not fit, or if the baseline lacks one of `only`, or any score.
    """
    scores = policy.chosen(baseline.manifest.scores)
    judged = [score for score in scores if (score.headline if only is None else score.task in only)]
    if only is None:
        covered = {task for score in judged for task in score.members}
        judged += [score for score in scores if score.average is None and score.task not in covered]
    named = {score.task for score in judged}
    lacking = sorted(set(only or ()) - named)
    if lacking or not judged:
        what = ", ".join(lacking) or "anything"
        raise HarnessError(f"the baseline {baseline.folder} has no score of {what}: evaluate it on the same tasks")
    members = {task for score in judged if score.average for task in score.members} - named
    return Chosen(judged, [score for score in scores if score.task in members and score.average is None])


def units(
    comparator: Comparator, policy: Policy, numbers: Chosen, calibrations: Sequence[Calibration] = ()
) -> Iterator[Unit]:
    """Yield what is to be judged, then what is watched, as far as it can be compared.

    Raises HarnessError if a number to judge cannot be, naming all such.
    """
    found = list(comparator.all(numbers.judged))
    refused = [one for one in found if isinstance(one, Refusal)]
    if refused:
        raise HarnessError(_refusal(comparator, refused))
    for comparison in (*found, *comparator.all(numbers.watched)):
        if isinstance(comparison, Comparison):
            judged = comparison.score in numbers.judged
            named = signs.of(comparator.clean(comparison.score), judged=judged)
            noise = noise_of(comparison.score, calibrations)
            yield Unit(comparison, policy.terms(comparison.score), judged, tuple(named), noise)


def noise_of(score: Score, calibrations: Iterable[Calibration]) -> float | None:
    """Return the share of documents on which a checkpoint's `score` differs from its own; the largest that is known."""
    found = []
    for one in calibrations:
        rates = [one.of(task, score.metric, score.filter) for task in score.members]
        known = [rate for rate in rates if rate is not None and rate.n]
        if len(known) == len(rates):
            found.append(sum(rate.changed for rate in known) / sum(rate.n for rate in known))
    return max(found, default=None)


def fixed_tests(unit: Unit) -> Tests:
    """Return the tests of a number whose documents are all there."""
    values = unit.comparison.values
    return Tests(values.non_inferiority(unit.margin), values.loss)


def shares(judged: Sequence[bool]) -> list[float]:
    """Return each loss's share of alpha: what is judged and what is watched have half of it, where there are both."""
    count = sum(judged)
    kinds = 2 if 0 < count < len(judged) else 1
    return [1 / kinds / (count if is_judged else len(judged) - count) for is_judged in judged]


def corrected(losses: Sequence[float], judged: Sequence[bool]) -> list[float]:
    """Return p-values of real losses, corrected for being many."""
    return holm(losses, shares(judged))


def holm(p_values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return `p_values` corrected for being many, so that each may be compared with alpha (Holm 1979).

    Hypotheses with more of the `weights` get more of alpha; equal weights make the procedure that is commonly meant.
    """
    p, w = np.asarray(p_values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    order = np.argsort(p / w, kind="stable")
    left = w[order][::-1].cumsum()[::-1]
    corrected = np.maximum.accumulate(p[order] / w[order] * left)
    found = np.empty_like(corrected)
    found[order] = np.minimum(corrected, 1.0)
    return [float(value) for value in found]


def judgement(unit: Unit, policy: Policy, tests: Tests, loss: float, share: float = 1) -> Judgement:
    """Return the verdict on `unit`, whose tests may be of all its documents or of those read so far.

    `loss` is the p-value of a real loss, corrected for all others, which leave it a `share` of alpha.
    """
    values, terms = unit.comparison.values, unit.terms
    verdict, reason = _verdict(unit, policy, tests, loss)
    needed = values.needed_to_pass(unit.margin, alpha=terms.alpha)
    if values.difference < 0:  # which shows a loss sooner
        needed = min(needed, values.needed_to_tell(alpha=2 * terms.alpha * share))
    judged = (unit.comparison, terms, unit.margin, unit.judged, tests, loss, unit.signs)
    return Judgement(*judged, verdict, reason, needed, unit.noise)


def _verdict(unit: Unit, policy: Policy, tests: Tests, loss: float) -> tuple[Verdict, str]:
    comparison, terms = unit.comparison, unit.terms
    if is_beyond_floor(comparison, terms):
        line = "below its floor" if comparison.score.higher_is_better else "above its ceiling"
        percent = " %" if comparison.score.fraction else ""
        return "regressed", f"{line} of {numbers_in_words.short_bound(terms.floor or 0.0, comparison.score)}{percent}"
    shown = tests.non_inferiority <= terms.alpha
    if not shown and loss <= terms.alpha:
        return "regressed", "a real loss"
    if not unit.judged:
        small = shown and loss <= terms.alpha
        return "inconclusive", "a real loss, but smaller than the margin" if small else "no real loss is shown"
    if not shown:
        return "inconclusive", "a loss of the margin is not ruled out"
    if comparison.documents < terms.minimum:
        return "inconclusive", f"fewer than {terms.minimum:,} documents"
    if unit.signs and policy.signs == "look":
        return "inconclusive", unit.signs[0].text
    if loss <= terms.alpha:
        return "passed", "a real loss, but smaller than the margin"
    return "passed", "a loss of the margin is ruled out"


def is_beyond_floor(comparison: Comparison, terms: Terms) -> bool:
    """Tell whether the candidate's own number is beyond what the policy allows; one that was stopped has none."""
    if terms.floor is None or comparison.stopped is not None:
        return False
    candidate = comparison.candidate
    return candidate < terms.floor if comparison.score.higher_is_better else candidate > terms.floor


def _refusal(comparator: Comparator, refused: Sequence[Refusal]) -> str:
    names = [one.manifest.checkpoint.name for one in (comparator.candidate, comparator.baseline)]
    what = "; ".join(f"{one.score.task}: {one.reason}" for one in refused)
    return f"{names[0]} cannot be judged against {names[1]}. {what}"


def _notes(comparator: Comparator, judgements: Sequence[Judgement]) -> list[str]:
    both = [one.manifest.checkpoint.fingerprint for one in (comparator.baseline, comparator.candidate)]
    notes = ["the candidate is the baseline: weights and all are the same"] if both[0] == both[1] else []
    left_out = {one.score.task: one.comparison.left_out for one in judgements if one.judged and one.comparison.left_out}
    if left_out:
        count = numbers_in_words.counted(sum(left_out.values()), "document")
        notes.append(f"{', '.join(left_out)}: {count} left out, which only one of both answered")
    judged = {one.score.task for one in judgements if one.judged}
    lacking = [s.task for s in comparator.baseline.manifest.scores if s.headline and s.task not in judged]
    if lacking:
        notes.append(f"not judged, since the candidate was not asked them: {', '.join(dict.fromkeys(lacking))}")
    extra = [s.task for s in comparator.candidate.manifest.scores if s.headline]
    known = {s.task for s in comparator.baseline.manifest.scores}
    surplus = [task for task in dict.fromkeys(extra) if task not in known]
    if surplus:
        notes.append(f"not judged, since the baseline lacks them: {', '.join(surplus)}")
    return notes + _cuts(comparator, judgements)


def _cuts(comparator: Comparator, judgements: Iterable[Judgement]) -> list[str]:
    """Return what is to be said where prompts were cut in one report that were whole in the other."""
    was, now = comparator.baseline.manifest, comparator.candidate.manifest
    judged = {task for one in judgements if one.judged for task in one.score.members}
    whole = [
        t for t in was.tasks if t in judged & now.tasks.keys() and was.tasks[t].documents == now.tasks[t].documents
    ]
    asked = [Asked({task: one.tasks[task] for task in whole}, one.protocol) for one in (now, was)]
    return [one.reason for one in comparable.differences(*asked) if one.label == comparable.CUT]
