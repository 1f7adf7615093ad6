"""What a format of recorded predictions consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from harness.recorded.answers import Answer
from harness.recorded.complaints import Complaints
from harness.recorded.files import File


class Claim(NamedTuple):
    """What a file's name says about the answers in the file."""

    task: str
    """The task's name, or the part of it after the family's name (`1_1`); empty if the file's name does not say."""
    levels_up: int
    """The number of folders between the file and the folder named after the model: 0 is the file's own folder."""
    family: str = ""
    """The group that the task belongs to, unless the user names another group."""


class Format(NamedTuple):
    """How one system records predictions."""

    name: str
    example: str
    """A file name or line by which the format is recognised, for messages."""
    claim: Callable[[File, bool], Claim | None]
    """Returns what a file's name says about its answers, or None if the file has another format.

    If the second argument is true, the user has named the format, and every file is taken to have this format."""
    read: Callable[[File, Complaints], Iterator[Answer]]
    """Yields the answers in a file."""
    task_name: Callable[[Claim, str | None], str]
    """Returns the task that a file answers, from the file's name and the user's `--task`; empty if neither says."""
    families: tuple[str, ...] = ()
    """Groups that the tasks of files in this format may belong to, unless the user names another group."""
