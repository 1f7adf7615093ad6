"""The `metadata` of a task's or group's YAML, checked and typed.

Not here: the rest of a task's configuration, which stays lm-eval's.
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from harness.common.validation import first_problem
from harness.errors import HarnessError
from harness.metrics.stats.estimates import Weight
from harness.tasks.understanding import UnderstoodRule

_FACTS = ("source", "licence", "labels", "documents", "contamination")


class AverageRule(BaseModel):
    """One entry of `metadata.averages` in a group's YAML: an average over those of its tasks that have a tag."""

    model_config = ConfigDict(frozen=True, extra="allow", coerce_numbers_to_str=True)

    weight: Weight
    """What has equal weight in the average: each `task`, or each `sample`."""
    tag: str = ""
    """The tag of the tasks to average."""
    tasks: tuple[str, ...] = ()
    """The tasks to average, if the rule lists them instead of naming a tag."""

    @field_validator("tag", "tasks", mode="before")
    @classmethod
    def _empty(cls, value: object, info: ValidationInfo) -> object:
        """Replace an empty YAML value by the key's default."""
        return cls.model_fields[str(info.field_name)].default if value is None else value


class TaskMetadata(BaseModel):
    """The keys of `metadata` that the project reads; all other keys are kept as pydantic's extras.

    `source`, `licence`, `labels`, `documents` and `contamination` are extras, which descriptions show (`facts`).
    """

    model_config = ConfigDict(frozen=True, extra="allow", coerce_numbers_to_str=True)

    protocol: str | None = None
    """One sentence that says how the task prompts and scores."""
    primary: str | None = None
    """The metric that represents the task where only one metric is shown, as `metric,filter`."""
    fractions: tuple[str, ...] = ()
    """Metrics of the task's own whose values lie in [0, 1]."""
    chance: object = None
    """The score of uniform guessing, in the primary metric's unit; `harness.tasks.bounds` checks the value."""
    ceiling: object = None
    """The score if every answer is right, in the primary metric's unit; `harness.tasks.bounds` checks the value."""
    cluster: str | None = None
    """A template over a document; documents for which the template renders the same text are one cluster."""
    reads: str | None = None
    """`last_position_logits` for a task that scores answer letters by the logits of the last position."""
    understood: UnderstoodRule | None = None
    """The rule that decides whether anything in an answer was understood; None if the filter's result shows it."""
    averages: dict[str, AverageRule] = {}
    """The averages that a group defines, by name."""
    file_notes: tuple[str, ...] = ()
    """What a reader of the scores should know about the documents, such as what was left out of a file."""

    @classmethod
    def of(cls, stated: object, owner: str) -> Self:
        """Return the metadata that a YAML states, or the defaults if `stated` is not a mapping.

        `owner` names the task or group in errors. Raises HarnessError if a value has a wrong type.
        """
        keys = {key: value for key, value in stated.items() if isinstance(key, str)} if isinstance(stated, dict) else {}
        try:
            return cls.model_validate(keys)
        except ValidationError as error:
            problem = first_problem(error)
            raise HarnessError(f"{owner}: metadata.{problem.path} is wrong ({problem.message}): correct it") from error

    @field_validator("*", mode="before")
    @classmethod
    def _empty(cls, value: object, info: ValidationInfo) -> object:
        """Replace an empty YAML value by the key's default."""
        is_empty = value is None or value is False or value == ""
        return cls.model_fields[str(info.field_name)].default if is_empty and info.field_name else value

    @property
    def facts(self) -> dict[str, str]:
        """The keys that describe the data, in the order of the YAML."""
        return {key: str(value) for key, value in (self.model_extra or {}).items() if key in _FACTS}


class ProtocolMetadata(TaskMetadata):
    """The metadata of a task whose class is in `harness.tasks.protocols`, with the keys that these classes read."""

    metrics: tuple[str, ...] = ()
    """The metrics by which tasks of the class `Answers` compare answers."""
    stops_after_shots: tuple[str, ...] = ()
    """For the class `Answers`: further strings that end an answer if the prompt has few-shot examples."""
    then: tuple[str, str] | None = None
    """For the class `ThinkThenChoose`: the templates of the second prompt, before and after the chain of thought."""
    lengths: dict[str, int] | None = None
    """For the class `ChatGLMPredict`: the limits on prompt, reference and total length, in tokens."""
    articles: int | None = None
    """For the class `Consultation`: the number of articles of law in a prompt."""
    given: str | None = None
    """For the class `Consultation`: the column with the articles for the prompt; None for prompts without them."""
    stride: int | None = None
    """For the class `BitsPerCharacter`: by how many tokens the windows of a text move. A run sets it."""
    retrieved: dict[str, str] | None = None
    """The name and sha256 of the file with retrieved articles, if prompts contain such articles. A run sets it."""
