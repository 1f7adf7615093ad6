"""Published answers as reports, one a model."""

from __future__ import annotations

from typing import NamedTuple

from harness.reports.report import Report


class Rescored(NamedTuple):
    """Reports, and how long scoring took."""

    reports: list[Report]
    seconds: float
