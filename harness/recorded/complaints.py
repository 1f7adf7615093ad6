"""Complaints about recorded answers: each is an error or, with `--keep-going`, a note in the report."""

from __future__ import annotations

from harness.errors import HarnessError


class Complaints:
    """Complaints about one file or task: the first is raised, or with `keep_going` all are collected."""

    def __init__(self, keep_going: bool) -> None:
        self._keep_going = keep_going
        self.messages: list[str] = []
        """The complaints collected so far, as notes for readers of the report."""

    def add(self, where: str, problem: str, cause: Exception | None = None) -> None:
        """Raise HarnessError about the `problem` at `where`, or with `keep_going` collect it as a note."""
        complaint = f"{where}, {problem}"
        self.raise_or_note(f"{complaint}: correct or remove it, or pass --keep-going", complaint, cause)

    def raise_or_note(self, error: str, note: str, cause: Exception | None = None) -> None:
        """Raise HarnessError with the message `error`, or with `keep_going` collect `note`."""
        if not self._keep_going:
            raise HarnessError(error) from cause
        self.messages.append(note)

    def note(self, note: str) -> None:
        """Collect `note`, which does not stop the scoring."""
        self.messages.append(note)
