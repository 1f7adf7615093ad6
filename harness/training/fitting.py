"""What goes into the training loop, and what comes out of it.

Data only. Not here: the loop (`harness.training.loop`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch

from harness.checkpoints.types import Model
from harness.training.batches import Rows


class DivergedError(Exception):
    """A loss, a gradient or a weight that is not a finite number."""

    def __init__(self, what: str, step: int, rows: tuple[int, int]) -> None:
        super().__init__(f"{what} of step {step:,} is not a finite number")
        self.step = step
        """The step, counted from 1."""
        self.rows = rows
        """The first row of the batch it was computed from, and the one behind its last."""


class Best(NamedTuple):
    """The evaluation whose weights were kept."""

    step: int
    metric: str
    value: float


@dataclass
class Fitted:
    """What a training measured."""

    losses: list[float] = field(default_factory=list)
    """The loss of each step, in nats per learned token."""
    evaluations: list[dict[str, float]] = field(default_factory=list)
    """What each evaluation measured, with its `step`."""
    best: Best | None = None
    """The evaluation whose weights were loaded at the end; None if the last step's weights stay."""
    resumed_at: int = 0
    """Step after which an interrupted training was continued; 0 if it was not interrupted."""
    state: dict[str, torch.Tensor] | None = None
    """The weights, gathered from the devices they are spread over; None if the model itself holds them."""

    @property
    def loss(self) -> float:
        """Mean loss over about the last tenth of the steps."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(last) / len(last)


class Tasks(Protocol):
    """Tasks whose scores are measured during a training (`harness.training.task_scores`)."""

    metrics: Mapping[str, bool]
    """What is measured, and whether more of it is better."""

    def measure(self, model: Model, advance: Callable[[int], None]) -> dict[str, float]:
        """Return the scores of `model`; `advance` is called with the number of new answers."""


@dataclass(frozen=True)
class Data:
    """What a training learns from, and what it is measured on."""

    train: Rows
    validation: Mapping[str, Rows]
    """Rows whose loss is measured, by the name of their corpus."""
    pad: int
    """Token id that fills rows up."""
    epoch_steps: int
    """Steps in which as many examples are read as the corpora have."""
    tasks: Tasks | None = None
