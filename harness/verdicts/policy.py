"""What a gate requires of a candidate: the policy file `gate.yaml`.

    margin: 2              # allowed loss: points (hundredths), or 2% of the baseline's score
    alpha: 0.05            # highest probability of a wrong verdict
    inconclusive: block    # or allow: exit code 0 if neither a loss nor its absence is shown
    tasks:                 # the first rule whose pattern matches applies; keys it omits are taken from above
      - match: ceval*
        margin: 1
        floor: 45          # the candidate's own score must not be lower
        minimum: 1000      # with fewer documents the task cannot pass
      - match: adgen
        metric: bleu_zh

Not here: applying the policy (`harness.verdicts.gate`).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field, ValidationError

from harness.common import safe_load, validation
from harness.common.validation import Strict
from harness.errors import HarnessError
from harness.reports.report import Score

Inconclusive = Literal["block", "allow"]


class Margin(NamedTuple):
    """How much worse a candidate may be and still pass."""

    size: float
    relative: bool = False
    """Whether `size` is a fraction of the baseline's score instead of a number of points."""

    def of(self, score: Score, baseline: float) -> float:
        """Return the margin in the unit of `score`; `baseline` is the value of the score in the baseline's report.

        A point is one hundredth. This also holds for a score within -1 to 1 that is not declared a fraction: it may be
        a share of right answers, which cannot fall by 2.
        """
        if self.relative:
            return self.size * abs(baseline)
        return self.size / 100 if score.fraction or abs(baseline) <= 1 else self.size


def parse_margin(text: object) -> Margin:
    """Return the margin that `text` denotes: `2` is points, `2%` a fraction of the baseline's score.

    Raises ValueError if `text` is neither, or not above 0.
    """
    if isinstance(text, Margin):
        return text
    stripped = str(text).strip()
    try:
        size = float(stripped.removesuffix("%"))
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf") or isinstance(text, bool):
        raise ValueError(f"'{text}' is not a margin: write points above 0, such as 2, or a percentage, such as 2%")
    return Margin(size / 100, True) if stripped.endswith("%") else Margin(size)


POINTS, SHARE = Margin(2), Margin(0.02, relative=True)
"""The default margins: 2 points, or 2 % of the baseline's score for scores that have no points (perplexity)."""
LARGE = 10
"""A score above this is taken to be on a scale up to 100, which has points; a lower one may be, for example, a mark
from 1 to 5."""

MarginField = Annotated[Margin, BeforeValidator(parse_margin)]
Alpha = Annotated[float, Field(gt=0, lt=0.5)]


class Rule(Strict):
    """What the policy requires of the tasks and averages whose name matches a pattern."""

    match: str
    metric: str | None = None
    """The metric to judge instead of the primary metric, for tasks that have this metric."""
    filter: str | None = None
    """The answer filter to judge, for metrics with several filters."""
    margin: MarginField | None = None
    alpha: Alpha | None = None
    floor: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Lowest allowed score (highest if less is better), in points or in the metric's own unit."""
    minimum: Annotated[int, Field(ge=1)] | None = None
    """Number of documents below which the task cannot pass."""
    inconclusive: Inconclusive | None = None


class Policy(Strict):
    """What a gate requires of all tasks and, by rules, of particular tasks."""

    margin: MarginField | None = None
    alpha: Alpha = 0.05
    minimum: int = Field(1, ge=1)
    inconclusive: Inconclusive = "block"
    signs: Literal["look", "ignore"] = "look"
    """`look`: a task with a sign of broken answers (`harness.verdicts.signs`) does not pass until someone looks."""
    tasks: tuple[Rule, ...] = ()

    def terms(self, score: Score) -> Terms:
        """Return the requirements on `score`. What the first matching rule omits is taken from the whole policy."""
        rule = self._matching_rule(score) or Rule(match="*")
        return Terms(
            margin=rule.margin or self.margin or (POINTS if _has_points(score) else SHARE),
            alpha=rule.alpha or self.alpha,
            floor=None if rule.floor is None else rule.floor / 100 if score.fraction else rule.floor,
            minimum=rule.minimum or self.minimum,
            inconclusive=rule.inconclusive or self.inconclusive,
        )

    def select(self, scores: Iterable[Score]) -> list[Score]:
        """Return the score that represents each task and average: the score that a rule names, or the primary one.

        If a rule names a metric that a matching task lacks, this task keeps its primary metric. An average over tasks
        with different primary metrics has no primary score, so its first score represents it.

        Raises HarnessError if a rule matches no task, never applies because of earlier rules, or names a metric or
        filter that none of the matching tasks has.
        """
        by_task: dict[tuple[str, str | None], list[Score]] = {}
        for score in scores:
            by_task.setdefault((score.task, score.average), []).append(score)
        all_scores = [score for group in by_task.values() for score in group]
        for rule in self.tasks:
            _require_match(rule, all_scores)
            self._require_effect(rule, all_scores)
        return [self._representative(group) for group in by_task.values()]

    def _representative(self, scores: Sequence[Score]) -> Score:
        """Return which of the `scores` of a task or average represents the task or average."""
        rule = self._matching_rule(scores[0])
        named = [score for score in scores if rule is None or _names(rule, score)] or scores
        return next((score for score in named if score.primary), named[0])

    def _require_effect(self, rule: Rule, scores: Sequence[Score]) -> None:
        """Raise HarnessError if `rule` never applies. A rule for `*` is allowed to have no task left."""
        matching = [score for score in scores if fnmatch.fnmatchcase(score.task, rule.match)]
        applied = [self._matching_rule(score) for score in matching]
        if rule.match != "*" and all(other is not rule for other in applied):
            earlier = ", ".join(dict.fromkeys(f"'{other.match}'" for other in applied if other is not None))
            raise HarnessError(
                f"the policy's rule '{rule.match}' never applies: earlier rules ({earlier}) match all its tasks; "
                "put it first"
            )

    def _matching_rule(self, score: Score) -> Rule | None:
        return next((rule for rule in self.tasks if fnmatch.fnmatchcase(score.task, rule.match)), None)


class Terms(NamedTuple):
    """What the policy requires of one score."""

    margin: Margin
    alpha: float
    floor: float | None
    """Lowest allowed score (highest if less is better), in the metric's own unit; None for no limit."""
    minimum: int
    """Number of documents below which the task cannot pass."""
    inconclusive: Inconclusive


def read(file: Path) -> Policy:
    """Return the policy in `file`.

    Raises HarnessError if the file cannot be read, is not YAML, or has an unknown key or an invalid value.
    """
    content = safe_load.settings_file(file, "policy", "--policy")
    if content is not None and not isinstance(content, dict):
        raise HarnessError(f"the policy {file} does not hold keys and values: write, for example, 'margin: 2'")
    try:
        return Policy.model_validate(content or {})
    except ValidationError as error:
        problem = validation.first_problem(error)
        raise HarnessError(f"the policy {file} cannot be used: {problem.path}: {problem.message}") from error


def _require_match(rule: Rule, scores: Sequence[Score]) -> None:
    matching = [score for score in scores if fnmatch.fnmatchcase(score.task, rule.match)]
    if not matching:
        known = ", ".join(dict.fromkeys(score.task for score in scores))
        raise HarnessError(f"the policy's rule '{rule.match}' matches no task of the baseline (it has: {known})")
    if not any(_names(rule, score) for score in matching):
        known = ", ".join(dict.fromkeys(f"{score.metric} ({score.filter})" for score in matching))
        raise HarnessError(f"the policy's rule '{rule.match}' names a metric that its tasks lack (they have: {known})")


def _has_points(score: Score) -> bool:
    """Return whether 2 points of `score` are a small change, because it is a fraction or on a scale up to 100."""
    return score.fraction or (score.higher_is_better and (abs(score.value) <= 1 or score.value > LARGE))


def _names(rule: Rule, score: Score) -> bool:
    return rule.metric in (None, score.metric) and rule.filter in (None, score.filter)
