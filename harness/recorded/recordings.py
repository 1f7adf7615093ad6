"""What every format of recorded predictions is made of: files, their lines, answers, and complaints about them.

Not here: the formats themselves (`harness.recorded.formats`), or finding files (`harness.recorded.predictions`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from harness.data.rows import parsed
from harness.errors import HarnessError

Response = str | float | tuple[float, bool]
"""A text; a whole text's log-likelihood in nats; or a choice's, and whether greedy decoding would have said it."""

Responses = tuple[tuple[Response, ...], ...]
"""For each request that a document makes, what each repeat gave."""


class File(NamedTuple):
    """A file that may hold predictions."""

    path: PurePosixPath
    """Below the folder or archive that was named."""
    shown: str
    root: str
    content: Callable[[], bytes]

    def text(self) -> str:
        """Return its content; raise HarnessError if it cannot be read."""
        try:
            return self.content().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise HarnessError(f"{self.shown} is not UTF-8 (byte {error.start:,}): convert it") from error
        except OSError as error:
            raise HarnessError(f"{self.shown} cannot be read ({error.strerror})") from error


class Answer(NamedTuple):
    """What was said to one document."""

    where: str
    """File and line, for complaints."""
    key: int | str
    """The document's place in its split, or its `id` column."""
    responses: Responses
    document: dict[str, Any]
    """Columns of the document, as far as the file has them."""
    complete: bool = False
    """Those columns are enough to score the answer."""
    prompt: str | None = None
    arguments: list[list[Any]] | None = None
    """What lm-eval asked, request by request."""
    hashes: tuple[str, str] | None = None
    """Of the document and of what was asked, as a report of ours has them."""


class Claim(NamedTuple):
    """What a file's name says."""

    task: str
    """The task, or its part of a family (`1_1`); empty where the name does not say."""
    above: int
    """How many folders above the file stands the one that bears the model's name; 0 is its own."""
    family: str = ""
    """The group that the task is of, unless the user says another."""


class Complaints:
    """Entries that cannot be read: the first ends the reading, unless it is to keep going."""

    def __init__(self, keep_going: bool) -> None:
        self._keep_going = keep_going
        self.told: list[str] = []

    def add(self, where: str, why: str, cause: Exception | None = None) -> None:
        """Raise HarnessError that `why` is wrong at `where`, or remember it."""
        if not self._keep_going:
            raise HarnessError(f"{where}, {why}: correct or remove it, or pass --keep-going") from cause
        self.told.append(f"{where}, {why}")


class Format(NamedTuple):
    """How one system records predictions."""

    name: str
    looks: str
    """How it is recognised, in words."""
    claim: Callable[[File, bool], Claim | None]
    """What a file's name says, None if it is of another format; True takes the format for granted."""
    read: Callable[[File, Complaints], Iterator[Answer]]
    task: Callable[[Claim, str | None], str]
    """The task's name, given what the file and the user say; empty where neither does."""
    families: tuple[str, ...] = ()
    """Groups whose tasks the files may be, unless the user says another."""


# --- lines ------------------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A JSON object, and the line it is on."""

    where: str
    place: int
    """Among the lines that are not empty."""
    content: dict[str, Any]


def lines(file: File, complaints: Complaints) -> Iterator[Line]:
    """Yield the objects of a JSON Lines file; empty lines are none."""
    place = -1
    for number, line in enumerate(file.text().split("\n"), 1):
        if not line.strip():
            continue
        place += 1
        where = f"{file.shown}, line {number}"
        try:
            content = parsed(line)
        except (ValueError, RecursionError) as error:
            complaints.add(where, f"is not JSON ({error})", error)
            continue
        if isinstance(content, dict):
            yield Line(where, place, content)
        else:
            complaints.add(where, "is no JSON object")


def has(file: File, *names: str) -> bool:
    """Tell whether the first line that is an object has all of `names`."""
    if file.path.suffix not in (".jsonl", ".txt", ".json"):
        return False
    for line in file.text().split("\n"):
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict):
            return all(name in content for name in names)
    return False
