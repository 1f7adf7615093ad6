"""Importing what takes seconds to import.

Torch and transformers make millions of objects that stay for good, and Python goes through all of them again and again
in search of cyclic garbage: a fifth of the time that importing takes, and a fifth of a second whenever it looks later.

Not here: what is imported; each module imports what it needs.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_ours = False


@contextmanager
def importing() -> Iterator[None]:
    """Let Python look for no cyclic garbage while the block imports libraries."""
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looked:
            gc.enable()


def keep() -> None:
    """Let Python never look for cyclic garbage among what is alive now: for a process that is all ours.

    It is done once a process at most, so that what it keeps from being found is bounded. In somebody else's process it
    might be a model of theirs.
    """
    if _ours and not gc.get_freeze_count():
        gc.freeze()


def own_process() -> None:
    """Tell that this process does nothing but one command of ours."""
    global _ours
    _ours = True
