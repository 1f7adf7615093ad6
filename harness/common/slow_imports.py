"""Faster imports of large libraries, by keeping Python's garbage collector away from their objects.

Importing torch and transformers creates millions of objects that live until the process ends. The collector searches
all of them for reference cycles again and again: a fifth of the import time, and a fifth of a second at every later
full collection.

Not here: the imports themselves; each module imports what it needs.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_is_own_process = False


@contextmanager
def importing() -> Iterator[None]:
    """Disable garbage collection while the block imports libraries."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def freeze() -> None:
    """Exclude all objects alive now from garbage collection for good, if this process is our own command.

    This has an effect only once per process, so that the memory withheld from collection is bounded. In a process of
    another program, the objects could be models of that program.
    """
    if _is_own_process and not gc.get_freeze_count():
        gc.freeze()


def declare_own_process() -> None:
    """Declare that this process runs one command of ours and nothing else."""
    global _is_own_process
    _is_own_process = True
