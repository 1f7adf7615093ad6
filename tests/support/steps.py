"""Counts the decoding steps of an engine and the rows of each; needs no clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from harness.engine.decoding.lanes import Lanes, Row


@contextmanager
def counted() -> Iterator[list[int]]:
    """Yield a list to which every decoding step appends its number of rows while this is open."""
    rows_of_steps: list[int] = []
    step = Lanes.step

    def counting(lanes: Lanes, rows: Sequence[Row], drafts: Sequence[Sequence[int]]) -> torch.Tensor:
        rows_of_steps.append(len(rows))
        return step(lanes, rows, drafts)

    Lanes.step = counting  # type: ignore[method-assign]
    try:
        yield rows_of_steps
    finally:
        Lanes.step = step  # type: ignore[method-assign]
