"""Files of JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from harness.common import safe_load
from harness.data.rows import parse_row
from harness.data.text_files import MARK
from harness.recorded.complaints import Complaints
from harness.recorded.files import File


class Line(NamedTuple):
    """A line of a file that is a JSON object."""

    where: str
    """File and number of the line, for messages."""
    place: int
    """The line's place among the lines that are not empty, counted from 0."""
    content: dict[str, Any]


def lines(file: File, complaints: Complaints) -> Iterator[Line]:
    """Yield the objects of a JSON Lines file; empty lines are skipped."""
    place = -1
    for number, line in enumerate(file.text().split("\n"), 1):
        if not line.strip():
            continue
        place += 1
        where = f"{file.label}, line {number}"
        try:
            content = parse_row(line.removeprefix(MARK))  # joined files have marks inside
        except (ValueError, RecursionError) as error:
            complaints.add(where, f"is not JSON ({error})", error)
            continue
        if isinstance(content, dict):
            yield Line(where, place, content)
        else:
            complaints.add(where, "is not a JSON object")


def has_keys(file: File, *keys: str) -> bool:
    """Return whether the first line that is a JSON object has all of `keys`."""
    if file.path.suffix.lower() not in (".jsonl", ".txt", ".json"):
        return False
    for line in file.text().split("\n"):
        try:
            content = safe_load.json_text(line)
        except safe_load.UnsafeContentError:  # whoever reads the file says what is wrong in which line
            return all(f'"{key}"' in line for key in keys)
        except ValueError:
            continue
        if isinstance(content, dict):
            return all(key in content for key in keys)
    return False
