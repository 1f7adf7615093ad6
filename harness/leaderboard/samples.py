"""The samples of reports, read once for all comparisons that need them.

Not here: comparing (`harness.verdicts.compare`), or what the site shows of samples (`harness.leaderboard.texts`).
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from harness.errors import HarnessError
from harness.reports.report import Report
from harness.verdicts import pairs
from harness.verdicts.pairs import IncomparableError

BYTES = 2**29
"""Up to this size, samples stay in memory for later comparisons."""


class Samples:
    """A reader of samples that keeps what it read last."""

    def __init__(self) -> None:
        self._tables: dict[tuple[Path, str], pa.Table | HarnessError] = {}
        self._size = 0

    def read(self, report: Report, task: str) -> pa.Table:
        """Return the samples of `task` as `pairs.read_samples` does. Raises HarnessError if they cannot be read."""
        key = report.folder, task
        table = self._tables.get(key)
        if table is None:
            try:
                table = pairs.read_samples(report, task)
            except HarnessError as error:
                table = error
            self._keep(key, table)
        if isinstance(table, HarnessError):
            raise table
        return table

    def _keep(self, key: tuple[Path, str], table: pa.Table | HarnessError) -> None:
        self._tables[key] = table
        self._size += _size(table)
        while self._size > BYTES and len(self._tables) > 1:
            oldest = next(iter(self._tables))
            self._size -= _size(self._tables.pop(oldest))


def refusal(error: HarnessError) -> str:
    """Return why samples cannot be compared, without a path of this machine."""
    return str(error) if isinstance(error, IncomparableError) else "the samples of a report cannot be read"


def _size(table: pa.Table | HarnessError) -> int:
    return 0 if isinstance(table, HarnessError) else int(table.nbytes)
