from __future__ import annotations

from pathlib import Path

import pytest

from support.invented_reports import MakeReport, write_report


@pytest.fixture
def report(tmp_path: Path) -> MakeReport:
    """Write a report: `report(checkpoint("a"), {"copa": task_info("copa", 100)}, [score("copa", 0.5)])`."""
    return lambda *args, **kwargs: write_report(tmp_path / "reports", *args, **kwargs)
