"""Files that a verb writes beside what it prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path

from harness.cli import discard_output
from harness.errors import HarnessError

STANDARD = "-"


def refuse_one_for_two(files: Mapping[str, str | None]) -> None:
    """Raise HarnessError if two options name the same of `files`: the second document would spoil the first."""
    options: dict[str, str] = {}
    for option, file in files.items():
        if file is not None and (first := options.setdefault(_place(file), option)) != option:
            raise HarnessError(f"{first} and {option} both name {_name(file)}: give each a file of its own")


def _place(file: str) -> str:
    return file if file == STANDARD else os.path.realpath(file)


def _name(file: str) -> str:
    return "standard output" if file == STANDARD else file


def write(text: str, file: str, option: str, *, append: bool = False) -> None:
    """Write `text` to `file`, as UTF-8; `-` is standard output.

    Raises HarnessError, which names the `option` that said so, if it cannot be written.
    """
    try:
        if file == STANDARD:
            if sys.stdout is None:  # closed by whoever started the program (>&-)
                raise OSError("it is closed")
            if isinstance(sys.stdout, TextIOWrapper):
                sys.stdout.reconfigure(encoding="utf-8")  # as the document says of itself, whatever the locale
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        place = Path(file)
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("a" if append else "w", encoding="utf-8") as stream:
            stream.write(text)
    except BrokenPipeError:  # nobody reads any more (| head)
        discard_output()
    except OSError as error:
        raise HarnessError(f"cannot write {_name(file)} ({error.strerror or error}): check {option}") from error
