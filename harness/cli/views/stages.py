"""How a trained stage looks in a terminal."""

from __future__ import annotations

from pathlib import Path

from harness.reports import numbers_in_words
from harness.training.stages import Trained

_METHODS = {"full": "", "lora": "LoRA, ", "prefix": "prefix, "}


def stage_line(trained: Trained) -> str:
    """Return one line on a stage: its name, origin, method, size, loss, and time, or "kept" if not trained now."""
    stage = trained.stage
    line = f"{trained.name:10} from {Path(stage.start).name:10} {_METHODS[stage.method]}{stage.steps:,} steps, "
    line += f"{trained.tokens:,} tokens, {trained.learning:,} parameters, loss {trained.loss:.2f}"
    return line + (", kept" if trained.reused else f", {numbers_in_words.duration(trained.seconds)}")
