"""Records for the tests of extraction, and the work that reading a text takes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.metrics.extraction.records import Argument, Entity, Event, Record, Relation
from harness.metrics.extraction.templates import FORMATS

ASKED = [(kind, language, format) for (kind, language), formats in FORMATS.items() for format in formats]
FORMATS_BY_NUMBER = {
    **{(kind, "zh"): ("tuples", "sentences", "key_value", "json") for kind in ("ner", "re", "ee")},
    **{(kind, "en"): ("tuples", "json") for kind in ("ner", "re", "ee")},
}
"""The formats of zjunlp/DeepKE, in its order."""


def record(kind: str, listed: Any) -> Record:
    """Return the record that `listed` spells."""
    if kind == "ner":
        return Entity(*listed)
    if kind == "re":
        return Relation(*listed)
    return Event(listed[0], listed[1], tuple(Argument(*one) for one in listed[2]))


class Watched(str):
    """A text that counts the characters copied out of it, and those that its parts copy."""

    copied = 0

    def __getitem__(self, key: Any) -> str:
        part = str.__getitem__(self, key)
        Watched.copied += len(part)
        return part


def steps(read: Callable[[str], Any], text: str, modules: tuple[Any, ...]) -> int:
    """Return how many instructions of `modules` reading `text` takes, and the characters that they copy."""
    files = {str(Path(module.__file__)) for module in modules}
    executed, Watched.copied = 0, 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal executed
        if frame.f_code.co_filename not in files:
            return None
        frame.f_trace_opcodes = True
        executed += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        read(Watched(text))
    finally:
        sys.settrace(before)
    return executed + Watched.copied
