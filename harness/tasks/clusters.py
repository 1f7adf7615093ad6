"""Clusters: documents that share a passage, a case or a sentence, so that a comparison's error counts them as one draw.

A task names the shared text by a template over its documents, `metadata: {cluster: "{{passage}}"}`. Documents for which
the template renders the same text are one cluster, within one task or across several. For the data sets of lm-eval's
own tasks, the templates are in `SHARED`.

Not here: the effect of clusters on the error of a difference (`harness.verdicts`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from harness.data.sources import DataSource
from harness.errors import HarnessError
from harness.tasks.task import Task

Key = Callable[[Mapping[str, Any]], str | None]
"""Returns a document's cluster as 16 hexadecimal digits, or None if no shared text is known."""

_HISTORY = "{{question.rsplit('\n', 1)[0]}}"  # a passage, and a question on it in the last line
_AGIEVAL = "{{query.rsplit('Q: ', 1)[0]}}"  # AGIEval's prompt: a passage, and a question after `Q: `

SHARED: dict[tuple[str, str | None], str] = {
    ("cais/mmlu", "high_school_european_history"): _HISTORY,
    ("cais/mmlu", "high_school_us_history"): _HISTORY,
    ("cais/mmlu", "high_school_world_history"): _HISTORY,
    ("hails/agieval-lsat-rc", None): _AGIEVAL,
    ("hails/agieval-lsat-ar", None): _AGIEVAL,
    ("hails/agieval-sat-en", None): _AGIEVAL,
    ("hails/agieval-gaokao-english", None): _AGIEVAL,
    ("hails/agieval-gaokao-chinese", None): "{{query.rsplit('问题：', 1)[0]}}",
    ("EleutherAI/drop", None): "{{passage}}",
    ("aps/super_glue", "multirc"): "{{paragraph}}",
    ("aps/super_glue", "record"): "{{passage}}",
    ("facebook/belebele", None): "{{flores_passage}}",
    ("facebook/mlqa", None): "{{context}}",
    ("google/xquad", None): "{{context}}",
    ("facebook/anli", None): "{{premise}}",
    ("nyu-mll/glue", "mnli"): "{{premise}}",
}
"""(hub data set, configuration) → template of the shared text; the configuration None means all configurations."""


def key(task: Task, source: DataSource | None) -> Key:
    """Return the function that returns the cluster of each document of `task`, whose documents come from `source`.

    A task's own template takes precedence over `SHARED`. Raises HarnessError if that template cannot be compiled; the
    returned function raises HarnessError if the template cannot be rendered.
    """
    if template := task.metadata.cluster:
        return _rendering(template, f"metadata.cluster of task {task.name}")
    if source is None:
        return lambda document: None
    known = SHARED.get((source.dataset, source.config)) or SHARED.get((source.dataset, None))
    return _rendering(known) if known else lambda document: None


def _rendering(template: str, owner: str | None = None) -> Key:
    """Return the `Key` that renders `template`; `owner`, for a task's own template, names the task in errors."""
    from jinja2 import Environment, StrictUndefined, TemplateError

    def failure(error: Exception) -> HarnessError:
        return HarnessError(f"{owner} cannot be rendered ({error}): correct the template")

    try:
        compiled = Environment(undefined=StrictUndefined).from_string(template)
    except TemplateError as error:
        raise failure(error) from error

    def cluster(document: Mapping[str, Any]) -> str | None:
        try:
            text = compiled.render(**document).strip()
        except (TemplateError, TypeError, ValueError, LookupError) as error:
            if owner is None:  # a data set of a known name, but with other columns
                return None
            raise failure(error) from error
        return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16] if text else None

    return cluster
