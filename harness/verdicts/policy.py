"""What a gate asks of a candidate: `gate.yaml`.

    margin: 2              # points, hundredths of a share; or 2%, of the baseline's number
    alpha: 0.05            # how often, at most, a gate may be wrong
    inconclusive: block    # or allow: exit code 0 where nothing is shown either way
    tasks:                 # the first rule whose pattern fits decides; what it leaves out is as above
      - match: ceval*
        margin: 1
        floor: 45          # the candidate's own number must not be below this
        minimum: 1000      # fewer documents pass nothing
      - match: adgen
        metric: bleu_zh

Not here: what is done with it (`harness.verdicts.gate`).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from harness.common import validation
from harness.errors import HarnessError
from harness.reports.report import Score, Strict

Inconclusive = Literal["block", "allow"]


class Margin(NamedTuple):
    """How much worse a candidate may be and pass."""

    size: float
    relative: bool = False
    """A share of the baseline's number, not points."""

    def of(self, score: Score, baseline: float) -> float:
        """Return the margin in the unit of `score`, of which `baseline` is the baseline's number.

        Points are hundredths also of what is not known to be a fraction, but is as small: of a share of right answers,
        2 would be more than there is to lose.
        """
        if self.relative:
            return self.size * abs(baseline)
        return self.size / 100 if score.fraction or abs(baseline) <= 1 else self.size


def margin(text: object) -> Margin:
    """Return the margin that `text` writes: `2` is points, `2%` a share of the baseline's number.

    Raises ValueError if it is neither, or not above 0.
    """
    if isinstance(text, Margin):
        return text
    written = str(text).strip()
    try:
        size = float(written.removesuffix("%"))
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf") or isinstance(text, bool):
        raise ValueError(f"'{text}' is no margin: write points above 0, such as 2, or a share, such as 2%")
    return Margin(size / 100, True) if written.endswith("%") else Margin(size)


POINTS, SHARE = Margin(2), Margin(0.02, relative=True)
"""What a candidate may lose where nothing is said: 2 points, or where there are none (perplexity) 2 % of the number."""
LARGE = 10
"""A number above it is taken to be on a scale up to 100, which has points; up to it, on one as of marks from 1 to 5."""

MarginField = Annotated[Margin, BeforeValidator(margin)]
Alpha = Annotated[float, Field(gt=0, lt=0.5)]


class Rule(Strict):
    """What is asked of the tasks and averages that a pattern fits."""

    match: str
    metric: str | None = None
    """In place of the one that stands for the task, of tasks that have it."""
    filter: str | None = None
    margin: MarginField | None = None
    alpha: Alpha | None = None
    floor: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Points, or the metric's own unit; for metrics of which less is better a ceiling."""
    minimum: Annotated[int, Field(ge=1)] | None = None
    inconclusive: Inconclusive | None = None


class Policy(Strict):
    """What is asked of all tasks, and of some by rules."""

    margin: MarginField | None = None
    alpha: Alpha = 0.05
    minimum: int = Field(1, ge=1)
    inconclusive: Inconclusive = "block"
    signs: Literal["look", "ignore"] = "look"
    """`look`: what answers constantly, abstains or breaks off does not pass by itself."""
    tasks: tuple[Rule, ...] = ()

    def terms(self, score: Score) -> Terms:
        """Return what is asked of `score`: of the first rule that fits, and of the policy where that is silent."""
        own = self._fitting(score) or Rule(match="*")
        return Terms(
            margin=own.margin or self.margin or (POINTS if _has_points(score) else SHARE),
            alpha=own.alpha or self.alpha,
            floor=None if own.floor is None else own.floor / 100 if score.fraction else own.floor,
            minimum=own.minimum or self.minimum,
            inconclusive=own.inconclusive or self.inconclusive,
        )

    def chosen(self, scores: Iterable[Score]) -> list[Score]:
        """Return those of `scores` that stand for their task or average: what a rule names, else the primary one.

        What a rule names and one of its tasks lacks is not named for that one; an average over tasks that different
        metrics stand for has no primary one, but a first.

        Raises HarnessError if a rule fits no task, never decides because of rules before it, or names a metric or
        filter that no task it fits has.
        """
        by_task: dict[tuple[str, str | None], list[Score]] = {}
        for score in scores:
            by_task.setdefault((score.task, score.average), []).append(score)
        every = [one for found in by_task.values() for one in found]
        for rule in self.tasks:
            _require_fit(rule, every)
            self._require_say(rule, every)
        return [self._standing(found) for found in by_task.values()]

    def _standing(self, scores: Sequence[Score]) -> Score:
        """Return which of one task's `scores` stands for it."""
        rule = self._fitting(scores[0])
        named = [score for score in scores if rule is None or _names(rule, score)] or scores
        return next((score for score in named if score.primary), named[0])

    def _require_say(self, rule: Rule, scores: Sequence[Score]) -> None:
        """Refuse a rule that never decides; one for all others may find none left."""
        fitting = [score for score in scores if fnmatch.fnmatchcase(score.task, rule.match)]
        first = [self._fitting(score) for score in fitting]
        if rule.match != "*" and all(one is not rule for one in first):
            before = ", ".join(dict.fromkeys(f"'{one.match}'" for one in first if one is not None))
            raise HarnessError(
                f"the policy's rule '{rule.match}' never decides: {before} before it fits all its tasks; put it first"
            )

    def _fitting(self, score: Score) -> Rule | None:
        return next((rule for rule in self.tasks if fnmatch.fnmatchcase(score.task, rule.match)), None)


class Terms(NamedTuple):
    """What is asked of one number."""

    margin: Margin
    alpha: float
    floor: float | None
    """In the metric's own unit."""
    minimum: int
    inconclusive: Inconclusive


def read(file: Path) -> Policy:
    """Return the policy in `file`.

    Raises HarnessError if it cannot be read, is no YAML, or asks for what there is not.
    """
    try:
        raw: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"the policy {file} cannot be read ({error}): check --policy") from error
    except yaml.YAMLError as error:
        raise HarnessError(f"the policy {file} is not valid YAML: {' '.join(str(error).split())}") from error
    if raw is not None and not isinstance(raw, dict):
        raise HarnessError(f"the policy {file} does not hold keys and values: write, for one, 'margin: 2'")
    try:
        return Policy.model_validate(raw or {})
    except ValidationError as error:
        problem = validation.first_problem(error)
        raise HarnessError(f"the policy {file} cannot be used: {problem.path}: {problem.message}") from error


def _require_fit(rule: Rule, scores: Sequence[Score]) -> None:
    fitting = [score for score in scores if fnmatch.fnmatchcase(score.task, rule.match)]
    if not fitting:
        known = ", ".join(dict.fromkeys(score.task for score in scores))
        raise HarnessError(f"the policy's rule '{rule.match}' fits no task of the baseline (it has: {known})")
    if not any(_names(rule, score) for score in fitting):
        known = ", ".join(dict.fromkeys(f"{score.metric} ({score.filter})" for score in fitting))
        raise HarnessError(f"the policy's rule '{rule.match}' names a metric that its tasks lack (they have: {known})")


def _has_points(score: Score) -> bool:
    """Tell whether 2 points of `score` are little: it is a share, or on a scale up to 100."""
    return score.fraction or (score.higher_is_better and (abs(score.value) <= 1 or score.value > LARGE))


def _names(rule: Rule, score: Score) -> bool:
    return rule.metric in (None, score.metric) and rule.filter in (None, score.filter)
