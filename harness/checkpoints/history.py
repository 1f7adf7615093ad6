"""How a checkpoint was trained, as its record (`training.json`) states it: for people and reports.

The record may come from others: a value of another type, or far too many of them, makes it none.

Not here: whether an adapter's base is still the recorded one (`harness.checkpoints.ancestry`), and writing the record
(`harness.training.lineage`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.checkpoints import ancestry
from harness.checkpoints.located import Located

Text = Annotated[str, Field(max_length=1000)]
Count = Annotated[int, Field(ge=0, lt=1 << 63)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Point = Annotated[list[Number], Field(min_length=2, max_length=2)]
"""A step, and the loss there."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Corpus(_Strict):
    """A corpus that was learned."""

    name: Text
    sha256: Text
    """Hash of its content."""
    examples: Count
    """Examples that were read; repetitions count."""
    tokens: Count
    """Tokens of these examples, prompts included."""
    epochs: Number
    """How often each example was read, on average."""


class Best(_Strict):
    """The evaluation whose weights were kept."""

    step: Count
    metric: Text
    value: Number


class _Settings(_Strict):
    method: Text


class History(_Strict):
    """How a checkpoint was trained."""

    name: Text
    """Name of the stage."""
    settings: _Settings
    recipe: Text
    """Sha256 of the recipe file."""
    seed: Count
    parent: Text
    """The stage or the checkpoint that it started from."""
    parent_fingerprint: Text
    """The parent's fingerprint, as a run on the machine of the training reports it."""
    corpora: Annotated[list[Corpus], Field(max_length=1000)]
    steps: Count
    """Optimizer steps."""
    tokens: Count
    """Tokens that were read, prompts included, padding left out."""
    loss: Number | None
    """Mean loss over about the last tenth of the steps, in nats per learned token; None for a merge."""
    curve: Annotated[list[Point], Field(max_length=1000)] = []
    """Losses at steps, in order; of long trainings, means over equal stretches that end there."""
    evaluations: Annotated[list[dict[Text, float]], Field(max_length=100_000)] = []
    """Validation losses (`eval_loss`, `eval_<corpus>_loss`) and scores on tasks (`eval_<metric>`), by `step`."""
    best: Best | None = None
    quantize: Text | None = None
    """The quantisation of the weights on which an adapter was trained, as in a checkpoint reference."""
    versions: Annotated[dict[Text, Text], Field(max_length=100)]
    """Versions of the packages that decide what was learned."""

    @property
    def method(self) -> str:
        """What was trained: `full`, `lora`, …, or `merge`."""
        return self.settings.method


def read(folder: Path) -> History | None:
    """Return how the checkpoint in `folder` was trained; None if no record, or none of this version, is there."""
    try:
        return History.model_validate(ancestry.record(folder))
    except ValidationError:
        return None


def of(located: Located) -> History | None:
    """Return how the adapter of `located`, or its base if it has none, was trained; None if no record says so."""
    return read(located.adapter or located.base)


def facts(history: History) -> dict[str, str]:
    """Return the history in words by name, for `harness inspect`."""
    merged = history.method == "merge"
    training = "merged" if merged else f"{history.method}, {history.steps:,} steps, {history.tokens:,} tokens"
    if history.loss is not None:
        training += f", loss {history.loss:.4g}"
    if history.best is not None:
        training += f", best {history.best.metric} {history.best.value:.4g} at step {history.best.step:,}"
    corpora = [f"{corpus.name}: {corpus.tokens:,} tokens, {_epochs(corpus.epochs)}" for corpus in history.corpora]
    lines = {
        "stage": f"{history.name} of the recipe {history.recipe[:12]}, seed {history.seed:,}",
        "started from": f"{history.parent}, fingerprint {history.parent_fingerprint[:12]}",
        "training": training + (f", on {history.quantize} weights" if history.quantize else ""),
        "learned from": "; ".join(corpora),
        "trained with": ", ".join(f"{name} {version}" for name, version in history.versions.items()),
    }
    return {name: line for name, line in lines.items() if line}


def _epochs(number: float) -> str:
    return f"{number:.3g} epochs" if f"{number:.3g}" != "1" else "1 epoch"
