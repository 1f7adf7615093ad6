"""What several of the long suites work on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.recorded.score import Scoring, score
from support.rescored import Rescored


@pytest.fixture(scope="session")
def lawbench(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Rescored:
    """The answers that LawBench publishes of ten models, zero-shot, scored anew."""
    out, clock = tmp_path_factory.mktemp("lawbench"), time.perf_counter()
    reports = list(score(Scoring(data / "predictions" / "lawbench-zero-shot", out, data=data)))
    return Rescored(reports, time.perf_counter() - clock)
