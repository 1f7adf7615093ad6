"""Writes the files that a verb produces besides what it prints, and discards output that nobody reads any more."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from harness.common import atomic_write, places, terminal
from harness.errors import HarnessError

STANDARD = "-"
"""The file name that means standard output."""


class Document(NamedTuple):
    """A document to be written to a file."""

    render: Callable[[], str]
    """Returns the document's text."""
    file: str
    """A path, or `STANDARD`."""
    option: str
    """The option or environment variable that named the file, for error messages."""
    append: bool = False


def refuse_same_file(files: Mapping[str, str | None]) -> None:
    """Raise HarnessError if two options of `files` (option → file) name the same file."""
    options: dict[str, str] = {}
    for option, file in files.items():
        if file is not None and (first := options.setdefault(_location(file), option)) != option:
            raise HarnessError(f"{first} and {option} both name {_name(file)}: name a different file for each")


def write(text: str, file: str, option: str, *, append: bool = False) -> None:
    """Write `text` to `file` as UTF-8; `-` is standard output.

    A half of a surrogate pair, such as of a path that is not UTF-8, is written as in JSON (`\\udcff`). Raises
    HarnessError, which names `option`, if the file cannot be written.
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    try:
        if file == STANDARD:
            if sys.stdout is None:  # closed by whoever started the program (>&-)
                raise OSError("it is closed")
            if isinstance(sys.stdout, TextIOWrapper):
                sys.stdout.reconfigure(encoding="utf-8")  # as the documents declare, whatever the locale
            terminal.write_document(text, sys.stdout)
            return
        path = Path(os.path.realpath(file))  # a link stays a link
        path.parent.mkdir(parents=True, exist_ok=True)
        if append or (path.exists() and not path.is_file()):  # GitHub's step summary, a pipe, /dev/null
            with path.open("a" if append else "w", encoding="utf-8") as stream:
                stream.write(text)
        else:
            with atomic_write.file(path) as hidden:
                hidden.write_text(text, encoding="utf-8")
    except OSError as error:
        advice = places.advice(error, f"check {option}")
        raise HarnessError(f"cannot write {_name(file)} ({error.strerror or error}): {advice}") from error


def write_all(documents: Iterable[Document]) -> None:
    """Write every document; if some cannot be written, write all others, then raise the first HarnessError."""
    errors: list[HarnessError] = []
    for document in documents:
        try:
            write(document.render(), document.file, document.option, append=document.append)
        except HarnessError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def discard_output() -> None:
    """Discard everything that is printed to standard output from now on."""
    if sys.stdout is not None:
        terminal.discard(sys.stdout)


def _location(file: str) -> str:
    return file if file == STANDARD else os.path.realpath(file)


def _name(file: str) -> str:
    return "standard output" if file == STANDARD else file
