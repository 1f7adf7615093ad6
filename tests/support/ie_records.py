"""Formats, records and a measure of work for the tests of extraction."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.metrics.extraction.records import Argument, Entity, Event, Record, Relation
from harness.metrics.extraction.templates import FORMATS

ALL_FORMATS = [(kind, language, format) for (kind, language), formats in FORMATS.items() for format in formats]
"""Every kind and language with each of its formats."""
FORMATS_BY_NUMBER = {
    **{(kind, "zh"): ("tuples", "sentences", "key_value", "json") for kind in ("ner", "re", "ee")},
    **{(kind, "en"): ("tuples", "json") for kind in ("ner", "re", "ee")},
}
"""The formats of zjunlp/DeepKE, in its order."""


def record_of(kind: str, items: Any) -> Record:
    """Return the record with these items; an event's are its trigger, its type and pairs of name and role."""
    if kind == "ner":
        return Entity(*items)
    if kind == "re":
        return Relation(*items)
    return Event(items[0], items[1], tuple(Argument(*argument) for argument in items[2]))


class Watched(str):
    """A text that counts the characters copied out of it."""

    copied = 0

    def __getitem__(self, key: Any) -> str:
        part = str.__getitem__(self, key)
        Watched.copied += len(part)
        return part


def steps(parse: Callable[[str], Any], text: str, modules: tuple[Any, ...]) -> int:
    """Return the work of parsing `text`: instructions executed in `modules` plus characters copied out of the text."""
    files = {str(Path(module.__file__)) for module in modules}
    executed, Watched.copied = 0, 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal executed
        if frame.f_code.co_filename not in files:
            return None
        frame.f_trace_opcodes = True
        executed += event == "opcode"
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        parse(Watched(text))
    finally:
        sys.settrace(previous)
    return executed + Watched.copied
