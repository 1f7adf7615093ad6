"""Attributes of one lm-eval task object, replaced for the length of a `with` block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def patched(task: Any, replacements: Mapping[str, Any]) -> Iterator[None]:
    """Give the object `task` the attributes `replacements` until the block ends; its class stays as it is."""
    attributes = task.__dict__
    before = {name: attributes[name] for name in replacements if name in attributes}
    attributes.update(replacements)
    try:
        yield
    finally:
        for name in replacements:
            attributes.pop(name, None)
        attributes.update(before)
