"""No reader of a text or file from outside takes more than linear time, whatever the content.

Functions of `harness.metrics` are timed in tests/metrics/test_linear_time.py.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.fuzz_checks import accepting, require_value_or_error
from support.fuzz_readers import GROUPS, Read

SIZES = {
    "typed texts": 1_500,
    "JSON and YAML": 2_500,
    "files of settings and results": 1_500,
    "files of rows": 2_500,
}
"""Characters or bytes of the shorter input by group; the longer one has four times as many."""
SIZE = 5_000
"""The same for other groups."""
STEP = 12
"""`make test` tries every twelfth shape with each reader, and other ones with the next; `make soak` tries all."""
FLOOR = 0.015
"""Seconds of processor time below which a measurement is noise; a linear reader takes less for most inputs."""
STEEPEST = 8.0
"""Largest ratio of the times for both inputs: 4 is linear, and quadratic is 16."""

TEXTS = (
    *(
        "a",
        "1",
        "甲",
        "(",
        "[",
        "<",
        '"',
        '""',
        "'",
        ",",
        ", ",
        ",a=",
        ",think=",
        "=",
        ".",
        "..",
        "/",
        "~",
        "~/",
        "\\",
        ":",
    ),
    *(
        "*",
        "[a]",
        "?",
        "%",
        " ",
        "\n",
        " \n",
        "\t",
        "\u200b",
        "\ud800",
        "\x1b[",
        "👩\u200d🔬",
        "ppl:",
        "file:",
        "1. ",
        "A. ",
        "(1)",
    ),
    *(
        "问题：",
        "\nA. ",
        "**1**",
        "①",
        "2!",
        "“",
        "/home/a",
        "a/b,",
        "https://",
        "<think>",
        "</think>",
        "<think></think>",
    ),
    *(
        "</think> ",
        "</think>\n\n",
        "[THINK][/THINK]",
        "<|channel|>",
        "<|channel|> final <|message|>",
        "<|channel|>final ",
    ),
    *("<|begin_of_thought|><|end_of_thought|><|begin_of_solution|>", "</reason>", "<reason>", "◁think▷"),
)
"""Pieces that a text repeats."""


def files() -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """Yield shapes of files by name, each a function of their size."""
    shapes: dict[str, tuple[bytes, bytes, bytes]] = {  # beginning, what is repeated, end
        "objects in a list": (b"[", b'{"question": "a", "answer": "1"},', b'{"question": "a", "answer": "1"}]'),
        "lines": (b"", b'{"question": "a", "answer": "1"}\n', b""),
        "wrapped rows": (b'{"data": [', b'{"text": "a"},', b'{"text": "a"}]}'),
        "empty lines": (b"", b"\n", b"{}"),
        "carriage returns": (b"question,answer", b"\r", b""),
        "a long text": (b'{"text": "', b"a", b'"}'),
        "escapes": (b'{"text": "', b"\\u200b", b'"}'),
        "marks": (b"", b"\xef\xbb\xbf", b""),
        "an open text": (b'{"text": "', b"\\\\", b""),
        "brackets": (b"", b"[", b""),
        "pairs of brackets": (b"[", b"[],", b"[]]"),
        "braces": (b"", b'{"a":', b""),
        "digits": (b'{"a": ', b"9", b"}"),
        "cells": (b"question,answer\na,1\n", b"a,1\n", b""),
        "columns": (b"", b"a,", b"\n"),
        "quotes": (b"question,answer\n", b'"', b""),
        "quoted cells": (b"question,answer\n", b'"a ""b""",1\n', b""),
        "open quotes": (b"question\tanswer\n", b'"a\t1\n', b""),
        "quotes in cells": (b"question\tanswer\n", b'a "b"\t1\n', b""),
        "a YAML list": (b"", b"- a\n", b""),
        "YAML keys": (b"margin: 2\n", b"? a\n", b""),
        "YAML aliases": (b"a: &a 1\nb: [", b"*a,", b"*a]"),
        "a YAML text": (b"a: '", b"a ", b"'"),
        "a card": (b"---\ntags:\n", b"- a\n", b"---\n"),
        "sums": (b"", b"a" * 64 + b"  samples/x\n", b""),
        "statutes": (b'{"text": "', "第一条 甲".encode(), b'"}'),
    }
    for name, (start, piece, end) in shapes.items():
        yield name, lambda size, start=start, piece=piece, end=end: start + piece * (size // len(piece)) + end
    for name, last in (("different keys", b'"z": 0}'), ("a key twice at the end", b'"k0": 0, "k0": 0}')):
        yield name, lambda size, last=last: b"{" + b"".join(b'"k%d": 0,' % i for i in range(size // 10)) + last


def inputs(name: str) -> Iterator[tuple[str, Callable[[int], Any]]]:
    if isinstance(GROUPS[name].samples[0], bytes):
        yield from files()
    else:
        yield from ((repr(piece), lambda size, piece=piece: piece * (size // len(piece))) for piece in TEXTS)


def seconds(name: str, read: Read, value: Any, folder: Path, repeats: int) -> float:
    """Return the least processor time that a reader takes for an input."""
    least = math.inf
    for _ in range(repeats):
        started = time.process_time()
        require_value_or_error(name, read, value, folder)
        least = min(least, time.process_time() - started)
    return least


def ratio(name: str, read: Read, shape: Callable[[int], Any], size: int, folder: Path) -> float:
    """Return how many times longer a reader takes for four times the input; 0 if both take no time to speak of."""
    if seconds(name, read, shape(4 * size), folder, 1) < FLOOR:
        return 0.0
    longer = seconds(name, read, shape(4 * size), folder, 3)
    return longer / max(seconds(name, read, shape(size), folder, 3), FLOOR / STEEPEST)


TIMED = [name for name in GROUPS if name not in ("answers", "binary files", "journals")]


def require_linear(name: str, folder: Path, step: int) -> None:
    """Fail if a reader of the group `name` takes more than linear time for one of every `step` shapes."""
    size = SIZES.get(name, SIZE)
    accepting(GROUPS[name])
    gc.disable()
    try:
        for place, (reader, read) in enumerate(GROUPS[name].readers.items()):
            for label, shape in list(inputs(name))[place % step :: step]:
                steepest = ratio(reader, read, shape, size, folder)
                for _ in range(2):
                    if steepest <= STEEPEST:
                        break
                    steepest = min(steepest, ratio(reader, read, shape, size, folder))
                assert steepest <= STEEPEST, f"{reader} takes {steepest:.0f} times as long for four times {label}"
    finally:
        gc.enable()


@pytest.mark.parametrize("name", TIMED)
def test_time_grows_no_faster_than_the_input(name: str, tmp_path: Path) -> None:
    require_linear(name, tmp_path, STEP)


@pytest.mark.soak
@pytest.mark.parametrize("name", TIMED)
def test_time_grows_no_faster_than_any_input(name: str, tmp_path: Path) -> None:
    require_linear(name, tmp_path, 1)
