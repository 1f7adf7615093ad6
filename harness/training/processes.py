"""The processes that train together, started by `accelerate launch` or `torchrun`, and what only the first one does.

The first process encodes corpora, writes folders and prints. The others wait for it; if it fails, they end, too.

Not here: how gradients are exchanged, which is accelerate's part.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from harness.common import signals

T = TypeVar("T")

_PATIENCE = timedelta(days=1)
"""How long a process waits for the others, of which one may be encoding a large corpus."""


def count() -> int:
    """Return the number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1")) if int(os.environ.get("LOCAL_RANK", "-1")) >= 0 else 1


def is_first() -> bool:
    """Return whether this is the first process, or the only one."""
    return count() == 1 or int(os.environ.get("RANK", "0")) == 0


@contextmanager
def connected() -> Iterator[None]:
    """Connect the processes while the block runs; a single process has nothing to connect."""
    if count() == 1:
        yield
        return
    import torch
    from accelerate import PartialState

    PartialState(cpu=not torch.accelerator.is_available(), timeout=_PATIENCE)
    yield  # after an error the launcher ends all processes
    wait()
    torch.distributed.destroy_process_group()


@contextmanager
def quiet() -> Iterator[None]:
    """Print nothing while the block runs, unless this is the first process."""
    if is_first():
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


class _Outcome(NamedTuple):
    """What a function returned in the first process, or the code with which the others end after its error."""

    value: Any = None
    exit_code: int | None = None


def first(function: Callable[[], T]) -> T:
    """Call `function` in the first process only, and return its result in all of them.

    An exception is raised in the first process; the others then exit without a message.
    """
    if count() == 1:
        return function()
    if not is_first():
        outcome: _Outcome = _shared(_Outcome())
        if outcome.exit_code is not None:
            sys.exit(outcome.exit_code)
        value: T = outcome.value
        return value
    try:
        value = function()
    except BaseException as error:
        _shared(_Outcome(exit_code=signals.exit_code() if isinstance(error, KeyboardInterrupt) else 1))
        raise
    _shared(_Outcome(value))
    return value


def in_turn(function: Callable[[], T]) -> T:
    """Call `function` in the first process, then in all others; return what it returned in this one."""
    if count() == 1:
        return function()
    results: list[T] = []
    first(lambda: results.append(function()))
    return results[0] if is_first() else function()


def wait() -> None:
    """Wait until all processes have come this far."""
    if count() > 1:
        import torch

        torch.distributed.barrier()


def _shared(outcome: _Outcome) -> _Outcome:
    """Return the first process's `outcome`."""
    import torch

    holder = [outcome]
    torch.distributed.broadcast_object_list(holder, src=0)
    return holder[0]
