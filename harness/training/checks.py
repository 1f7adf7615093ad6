"""Checks before the first stage is trained, so that a mistake in the last one does not cost hours.

Not here: mistakes that the recipe itself shows (`harness.training.recipe`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.checkpoints import placement
from harness.training import arguments
from harness.training.family import Family, naming
from harness.training.recipe import Stage


def require_settings(family: Family, order: Sequence[str], data: Path | None) -> None:
    """Raise HarnessError, before any stage is trained, if the settings of an unfinished one do not fit together."""
    for name in order:
        stage = family.recipe.resolved(family.recipe.stages[name])
        if stage.method == "merge" or family.finished(name) is not None:
            continue
        with naming(f"stage {name}"):
            metrics = arguments.metrics(stage.validation, _task_metrics(stage, data))
            on_cpu = placement.device(family.reference(stage).device).type == "cpu"
            arguments.check(stage.arguments, metrics, on_cpu=on_cpu)


def _task_metrics(stage: Stage, data: Path | None) -> Mapping[str, bool]:
    if not stage.evaluate:
        return {}
    from harness.training import task_scores  # which imports lm-eval

    return task_scores.metrics(stage, data)
