"""Checks before the first stage is trained, so that a mistake in the last one does not cost hours.

Not here: mistakes that the recipe itself shows (`harness.training.recipe`), and corpora (`harness.training.corpora`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.checkpoints import ancestry, placement
from harness.checkpoints.adapters import merging
from harness.checkpoints.located import Located
from harness.errors import HarnessError
from harness.training import arguments, determinism, methods
from harness.training.family import Family, naming
from harness.training.recipe import Stage
from harness.training.sources import Source


def require_settings(family: Family, order: Sequence[str], data: Path | None) -> None:
    """Raise HarnessError, before any stage is trained, if the settings of an unfinished one do not fit together."""
    with determinism.preserved():
        _require_settings(family, order, data)


def _require_settings(family: Family, order: Sequence[str], data: Path | None) -> None:
    for name in order:
        stage = family.recipe.resolved(family.recipe.stages[name])
        with naming(f"stage {name}"):
            if stage.parent is None:
                _require_start(family, name, stage)
        if family.finished(name) is not None or stage.method == "merge":
            continue
        with naming(f"stage {name}"):
            metrics = arguments.metrics(stage.validation, _task_metrics(stage, data))
            on_cpu = placement.device(family.reference(stage).device).type == "cpu"
            arguments.check(stage.arguments, metrics, on_cpu=on_cpu)
            _require_adapter(family, stage)


def _require_start(family: Family, name: str, stage: Stage) -> None:
    """Raise HarnessError if a stage cannot start from the checkpoint, not a stage, that it names."""
    reference = family.reference(stage)
    place = Path(reference.path).resolve()
    others = family.recipe.stages.keys() - {name}
    if place.parent == family.output.resolve() and place.name in others:
        raise HarnessError(
            f"it starts from {reference.path}, the folder of the stage '{place.name}': write from: {place.name}, so "
            "that this stage is trained first"
        )
    located = Source(reference, stage).located
    ancestry.require_same_base(located)
    if stage.method == "merge":
        merging.require_mergeable(located)


def _require_adapter(family: Family, stage: Stage) -> None:
    """Raise HarnessError if PEFT cannot put the stage's new adapter on a model of its base's shape."""
    reference = family.available(stage)
    located = Source(reference, stage, is_start=False).located
    continues = located.adapter_config is not None or _continues(family, stage)
    if stage.method in ("full", "merge") or continues or (model := _shape(located)) is None:
        return
    without_data = {"init_lora_weights", "prompt_tuning_init", "prompt_tuning_init_text"}
    adapter = {name: value for name, value in stage.adapter.items() if name not in without_data}
    methods.prepare(model, stage.model_copy(update={"adapter": adapter}))


def _continues(family: Family, stage: Stage) -> bool:
    """Return whether a stage continues the adapter of another stage."""
    return stage.parent is not None and family.recipe.stages[stage.parent].method == stage.method


def _shape(located: Located) -> Any:
    """Return a model without weights of the checkpoint's architecture; None if transformers builds none."""
    import torch
    from transformers import AutoModelForCausalLM

    if located.layout is not None or located.reference.trust_remote_code:
        return None
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(located.config)
    except Exception:  # of an architecture that is read in another way; the training itself will say what is wrong
        return None


def _task_metrics(stage: Stage, data: Path | None) -> Mapping[str, bool]:
    if not stage.evaluate:
        return {}
    from harness.training import task_scores  # which imports lm-eval

    return task_scores.metrics(stage, data)
