"""What documents share: questions on one passage are answered together, and count as one draw where chance is judged.

A task says it by a template over its documents, `metadata: {cluster: "{{passage}}"}`. Documents for which it says the
same are a cluster, in one task or in several. What is known of the data sets of lm-eval's own tasks is stated here.

Not here: what follows of it for a difference's error (`harness.verdicts`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from harness.data.sources import DataSource
from harness.errors import HarnessError
from harness.tasks.task import Task

Key = Callable[[Mapping[str, Any]], str | None]
"""A document's cluster; None where it is not known to share anything."""

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
"""By data set of the hub, and by its configuration where these are data sets of their own."""


def key(task: Task, source: DataSource | None) -> Key:
    """Return what tells a document of `task` its cluster.

    The key raises HarnessError where a task's own template asks for what a document lacks.
    """
    if template := task.metadata.cluster:
        return _rendered(template, f"metadata.cluster of task {task.name}")
    if source is None:
        return lambda document: None
    known = SHARED.get((source.dataset, source.config)) or SHARED.get((source.dataset, None))
    return _rendered(known) if known else lambda document: None


def _rendered(template: str, where: str | None = None) -> Key:
    from jinja2 import Environment, StrictUndefined, TemplateError

    def told(error: Exception) -> HarnessError:
        return HarnessError(f"{where} cannot be rendered ({error}): correct the template")

    try:
        compiled = Environment(undefined=StrictUndefined).from_string(template)
    except TemplateError as error:
        raise told(error) from error

    def of(document: Mapping[str, Any]) -> str | None:
        try:
            text = compiled.render(**document).strip()
        except (TemplateError, TypeError, ValueError, LookupError) as error:
            if where is None:  # a data set of the name that we know, and of other columns
                return None
            raise told(error) from error
        return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16] if text else None

    return of
