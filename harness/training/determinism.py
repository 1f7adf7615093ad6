"""A training depends on nothing but its recipe: random states and numbers of threads, set and restored.

Not here: the order of examples, which has a generator of its own (`harness.training.mixture`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def random_state(seed: int) -> Iterator[None]:
    """Seed torch with `seed`; afterwards restore the random states of Python, numpy and torch."""
    import torch

    with preserved():
        torch.manual_seed(seed)
        yield


@contextmanager
def preserved() -> Iterator[None]:
    """Restore the random states of Python, numpy and torch when the block ends."""
    import random

    import numpy as np
    import torch

    python_state, numpy_state = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with `count` CPU threads (None: as many as before), and restore the previous number afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
