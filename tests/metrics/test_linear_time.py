"""No public function of `harness.metrics` that reads an answer takes more than linear time, whatever the answer.

Every function that takes a text is listed here, timed or with the reason why not: a new one fails the test until it is.
A model that repeats itself writes thousands of 答案是, brackets or digits; a quadratic pattern then takes minutes.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import json
import math
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import harness.metrics
from support import answer_readers
from support.answer_readers import NOT_ANSWERS, READERS, TABLES, Reader

LENGTHS = (200, 800, 3_200, 12_800)
"""Characters of the timed answers; a slow function gets a fraction of them."""
STEEPEST = 1.4
"""The largest exponent of time over length; noise is below, and quadratic is 2."""
FLOOR = 0.004
"""Seconds of processor time below which a measurement is noise."""
TARGET = 0.0008
"""Seconds that an ordinary answer of the greatest length should take; a slower function gets shorter answers."""
SHORTEST = 0.1
"""The smallest fraction of LENGTHS."""
BUDGET = 0.12
"""Seconds in which a function should be timed; a slower function is timed on every second, third … answer."""

PIECES: list[str] = json.loads((Path(__file__).parent / "repeated_pieces.json").read_text(encoding="utf-8"))
"""Pieces that the timed answers repeat."""
STARTS = ("答案是", "(", "[{'entity': '", '{"', "《", "第", "1")
"""Beginnings that nothing ends: a letter or a space is repeated after them."""


def answers() -> Iterator[tuple[str, str]]:
    """Yield the beginning and the repeated piece of every answer."""
    yield from (("", piece) for piece in PIECES)
    yield from ((start, piece) for start in STARTS for piece in ("a", " "))


def public_functions() -> Iterator[tuple[str, Callable[..., object]]]:
    """Yield every public function and method of `harness.metrics` with its name in the package."""
    package = harness.metrics
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(found.name)
        room = found.name.removeprefix(f"{package.__name__}.")
        for name, item in vars(module).items():
            if name.startswith("_") or getattr(item, "__module__", None) != found.name:
                continue
            if inspect.isclass(item):
                methods = ((key, value) for key, value in vars(item).items() if inspect.isfunction(value))
                yield from ((f"{room}.{name}.{key}", value) for key, value in methods if not key.startswith("_"))
            elif callable(item) and (inspect.isfunction(item) or hasattr(item, "__wrapped__")):
                yield f"{room}.{name}", item


def takes_text(function: Callable[..., object]) -> bool:
    annotations = [str(parameter.annotation) for parameter in inspect.signature(function).parameters.values()]
    return any(re.search(r"\b(?:str|Text|Format|References)\b", annotation) for annotation in annotations)


def test_every_function_that_takes_a_text_is_listed() -> None:
    functions = dict(public_functions())
    in_tables = {
        f"{room}.{getattr(function, '__name__', '')}" for room, table in TABLES.items() for function in table.values()
    }
    expected = {name for name, function in functions.items() if takes_text(function)} - in_tables
    listed = {name for name in READERS if name.rpartition(".")[2].upper() != name.rpartition(".")[2]}
    assert expected - listed - NOT_ANSWERS.keys() == set(), "list how it reads an answer in READERS, or why not"
    assert (listed | NOT_ANSWERS.keys()) - functions.keys() == set(), "remove what no longer exists"
    assert listed & NOT_ANSWERS.keys() == set()


def seconds(function: Reader, answer: str, repeats: int = 1) -> float:
    """Return the least processor time that the function takes for an answer."""
    least = math.inf
    for _ in range(repeats):
        started = time.process_time()
        function(answer)
        least = min(least, time.process_time() - started)
    return least


def answer_of(start: str, piece: str, length: int) -> str:
    """Return an answer of about `length` characters, which no function has seen: results may be cached."""
    return start + piece * (length // len(piece))


def steepest(function: Reader, start: str, piece: str, scale: float) -> float:
    """Return the largest exponent of growth between two lengths, or 0 if the times are too short to tell."""
    largest, before = 0.0, 0.0
    for place, length in enumerate(LENGTHS):
        needed = seconds(function, answer_of(start, piece, int(length * scale)))
        if place and needed > FLOOR:
            exponent = math.log(needed / before, LENGTHS[place] / LENGTHS[place - 1])
            largest = max(largest, exponent)
            if exponent > 2.2:  # do not wait for the next length
                break
        before = needed
    return largest


FUNCTIONS = list(answer_readers.readers())


@pytest.mark.sampled(50)
@pytest.mark.parametrize("place", range(len(FUNCTIONS)), ids=[name for name, _ in FUNCTIONS])
def test_time_grows_no_faster_than_the_answer(place: int) -> None:
    name, function = FUNCTIONS[place]
    scale, step = effort(name, function)
    gc.disable()
    try:
        for start, piece in list(answers())[place % step :: step]:
            exponent = steepest(function, start, piece, scale)
            for _ in range(3):
                if exponent <= STEEPEST:
                    break
                exponent = min(exponent, steepest(function, start, piece, scale))
            assert exponent <= STEEPEST, f"{name} takes time n^{exponent:.1f} for {start!r} and n times {piece!r}"
    finally:
        gc.enable()


def effort(name: str, function: Reader) -> tuple[float, int]:
    """Return the fraction of LENGTHS, and the step through the answers, by which a function is timed within BUDGET.

    Slow functions whose neighbours in the list have the same parts are timed on different answers.
    """
    ordinary = "根据《民法典》第三条，答案是B。It is 1,234 (a, b).\n"
    function(ordinary)  # loads dictionaries
    per_answer = min(seconds(function, answer_of(name + start, ordinary, LENGTHS[-1])) for start in "AB")
    scale = min(1.0, max(SHORTEST, TARGET / max(per_answer, 1e-9)))
    return scale, max(1, min(8, round(1.33 * per_answer * scale * len(list(answers())) / BUDGET)))
