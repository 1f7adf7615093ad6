"""What must hold of a reader for any input, and a search for inputs for which it does not."""

from __future__ import annotations

import decimal
import gc
import locale
import os
import random
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.errors import HarnessError
from support.fuzz_readers import ERRORS, Group, Read

SECONDS = 2.0
"""Processor time that one input may take; ordinary ones take less than a millisecond."""
MESSAGE = 1_000
"""Most characters of a message beside the input, of which a message may quote a name."""


def require_sound(group: Group, value: Any) -> None:
    """Fail if a reader of `group` is unsound for the input `value`."""
    with TemporaryDirectory() as folder:
        before = state()
        for name, read in group.readers.items():
            started = time.process_time()
            require_value_or_error(name, read, value, _new_folder(folder, name))
            seconds = time.process_time() - started
            assert seconds < SECONDS, f"{name} takes {seconds:.1f} seconds for {value!r}"[:2_000]
        after = state()
    if before != after:
        gc.collect()  # an exception's traceback may hold an open file
        after = state()
    assert before == after, f"a reader of {group.name} changes {difference(before, after)} for {value!r}"[:2_000]


def accepting(group: Group) -> set[str]:
    """Return the names of the readers that accept one of the group's samples; loads what they import."""
    with TemporaryDirectory() as folder:
        return {
            name
            for place, sample in enumerate(group.samples)
            for name, read in group.readers.items()
            if require_value_or_error(name, read, sample, _new_folder(folder, f"{place} {name}"))
        }


def _new_folder(parent: str, name: str) -> Path:
    folder = Path(parent, name.replace("/", "_"))
    folder.mkdir()
    return folder


def require_value_or_error(name: str, read: Read, value: Any, place: Path) -> bool:
    """Return whether `read` accepts `value`; fail if it raises an undocumented error or one without a sentence."""
    problem = ""
    try:
        read(value, place)
        return True
    except HarnessError as error:
        problem = str(error)
    except ERRORS.get(name.partition("[")[0], ()):
        return False
    except Exception as error:
        raise AssertionError(f"{name} raises {type(error).__name__} ({error}) for {value!r}"[:2_000]) from error
    require_sentence(name, problem, len(value))
    return False


def require_sentence(name: str, message: str, size: int) -> None:
    """Fail if the `message` of an error is not one sentence of moderate length, for an input of `size`."""
    assert message.strip(), f"{name} raises an error without a message"
    assert "\n" not in message, f"{name} raises an error of several lines: {message!r}"
    assert len(message) <= MESSAGE + 3 * size, (
        f"{name} raises an error of {len(message):,} characters: {message[:200]!r}"
    )


def state() -> Mapping[str, object]:
    """Return the state of this process that a reader must leave as it is."""
    context = decimal.getcontext()
    return {
        "the environment": dict(os.environ),
        "the working directory": Path.cwd(),
        "open files": _open_files(),
        "threads": threading.active_count(),
        "the recursion limit": sys.getrecursionlimit(),
        "the limit of digits": sys.get_int_max_str_digits(),
        "random numbers": random.getstate(),
        "decimal's context": (context.prec, context.rounding, context.Emin, context.Emax, context.traps),
        "warning filters": list(warnings.filters),
        "the locale": locale.setlocale(locale.LC_ALL),
        "the path of modules": list(sys.path),
    }


def _open_files() -> list[str]:
    place = Path("/proc/self/fd")
    return sorted(file.name for file in place.iterdir()) if place.is_dir() else []


def difference(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """Return the names of what differs."""
    return ", ".join(name for name in before if before[name] != after[name])
