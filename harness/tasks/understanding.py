"""Whether a task's filters and scorer understood anything in an answer.

A task's YAML states its rule beside the filters, as `metadata.understood`. Something was understood if:

- `{pattern: "[A-D]"}`: the filtered answer as a whole matches the regular expression or, with `columns: [A, B, C, D]`,
  equals the document's text in one of these columns;
- `{number: true}`: a number can be read from the filtered answer;
- `{unless: [abstention_repaired, abstention]}`: the first of these metrics that the task's scorer returns is 0. If it
  is 0 even for an empty answer, as LawBench's abstention is for texts compared by ROUGE, the task has no notion of
  understanding; the task's first document decides this.

lm-eval's filters that search by a regular expression need no rule: an answer is not understood if the filter returned
its fallback (`[invalid]`). A task whose class compares numbers (`Answers`) has the rule in its class. Tasks without a
rule, such as tasks that compare texts by ROUGE, have no notion of understanding.

Not here: counting. By most rules nothing is understood in an empty answer; tasks that extract lists read it as an empty
list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from harness.errors import HarnessError
from harness.metrics.answers.numbers import last_number

Values = Callable[[], Mapping[str, Any]]
"""Returns the value of a document under each metric, for its filtered answer; only some rules call it."""


class UnderstoodRule(BaseModel):
    """`metadata.understood` of a task: exactly one of its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pattern: str | None = None
    """A regular expression that a filtered answer matches as a whole if something was understood in it."""
    columns: tuple[str, ...] = ()
    """Columns of a document; a filtered answer that equals the text in one of these columns is understood, too."""
    number: bool = False
    """Whether a filtered answer is understood if a number can be read from it."""
    unless: tuple[str, ...] = ()
    """Metrics of abstention: the first one that the scorer returns is not 0 if nothing was understood in the answer."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"'{pattern}' is no regular expression: {error}") from error
        return pattern

    @model_validator(mode="after")
    def _states_one(self) -> Self:
        if sum((self.pattern is not None, self.number, bool(self.unless))) != 1:
            raise ValueError("state one of pattern, number and unless")
        return self

    def is_met(self, answer: str, document: Mapping[str, Any], values: Values) -> bool:
        """Return whether something was understood in a filtered answer."""
        if self.pattern is not None:
            matches = re.fullmatch(self.pattern, answer, re.DOTALL) is not None
            return matches or any(answer == str(document[column]) for column in self.columns)
        if self.number:
            return last_number(answer) is not None
        return not self.is_abstention(values())

    def is_abstention(self, values: Mapping[str, Any]) -> bool:
        """Return whether the first metric of `unless` among `values` is not 0."""
        return next((bool(values[name]) for name in self.unless if name in values), False)


class Understanding:
    """Tells, for answers to one lm-eval task, whether the task's filters and scorer understood anything in them."""

    def __init__(self, task: Any, rule: UnderstoodRule | None) -> None:
        """Take the lm-eval task object `task` and the `rule` of its metadata."""
        self._task, self._rule = task, rule
        self._has_abstentions: bool | None = None

    def of(
        self, document: Mapping[str, Any], answer: str, filter: str, values: Mapping[str, Any] | None
    ) -> bool | None:
        """Return whether something was understood in `answer`, which the task's `filter` has left of a generated text.

        `values` are the metrics' values for the answer, or None to compute them. Return None if the task has no notion
        of understanding. A scorer that fails on the answer understood nothing.
        """
        if self._task.OUTPUT_TYPE != "generate_until":
            return None
        try:
            return self._judged(document, answer, filter, values)
        except (HarnessError, MemoryError):
            raise
        except Exception:  # whatever a person's own scorer raises
            return False

    def _judged(
        self, document: Mapping[str, Any], answer: str, filter: str, values: Mapping[str, Any] | None
    ) -> bool | None:
        if hasattr(self._task, "understood"):
            result: bool | None = self._task.understood(document, answer)
            return result
        rule, fallbacks = self._rule, self.fallbacks(filter)
        if rule and rule.unless and not self._knows_abstentions(rule, document):
            return None
        if any(answer.strip().casefold() == fallback.strip().casefold() for fallback in fallbacks):
            return False
        if rule is None:
            return True if fallbacks else None
        return rule.is_met(answer, document, lambda: self._score(document, answer) if values is None else values)

    def _score(self, document: Mapping[str, Any], answer: str) -> Mapping[str, Any]:
        values: Mapping[str, Any] = self._task.process_results(document, [answer])
        return values

    def _knows_abstentions(self, rule: UnderstoodRule, document: Mapping[str, Any]) -> bool:
        """Return whether the scorer counts an empty answer as an abstention; it does so for all documents or none."""
        if self._has_abstentions is None:
            self._has_abstentions = rule.is_abstention(self._score(document, ""))
        return self._has_abstentions

    def fallbacks(self, filter: str) -> list[str]:
        """Return the texts that the regular expressions in the task's `filter` return if they find nothing."""
        ensembles = [ensemble for ensemble in getattr(self._task, "_filters", []) if ensemble.name == filter]
        steps = [build() for ensemble in ensembles for build in ensemble.filters]
        return [step.fallback for step in steps if isinstance(getattr(step, "fallback", None), str)]
