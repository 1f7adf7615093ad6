"""Importing what takes seconds to import.

Torch and transformers make millions of objects that stay for good, and Python goes through all of them again and again
in search of cyclic garbage: a fifth of the time, for nothing.

Not here: what is imported; each module imports what it needs.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
