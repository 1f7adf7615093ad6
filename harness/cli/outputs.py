"""Files that a verb writes beside what it prints."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.cli import discard_output
from harness.errors import HarnessError

STANDARD = "-"


def write(text: str, file: str, option: str, *, append: bool = False) -> None:
    """Write `text` to `file`, as UTF-8; `-` is standard output.

    Raises HarnessError, which names the `option` that said so, if it cannot be written.
    """
    try:
        if file == STANDARD:
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
        raise HarnessError(f"cannot write {file} ({error.strerror or error}): check {option}") from error
