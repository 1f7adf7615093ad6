"""The bound on the suite's wall time fails a full run under CI, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.wall_time import broken_bound

ROOT = Path(__file__).resolve().parent
TEST = """import time
def test_slow(): time.sleep(0.3)
def test_quick(): pass
"""


def test_a_full_run_under_ci_fails_beyond_the_bound(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_two.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\nmarkers = oracle\n")
    plugins = ("-p", "xdist", "-p", "support.wall_time")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "-n", "1", "-m", "not oracle"],
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("HARNESS_", "PYTEST_"))},
            "PYTHONPATH": str(ROOT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "HARNESS_CI": "1",
            "HARNESS_TEST_MINUTES": "0.001",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout + result.stderr
    assert "more than HARNESS_TEST_MINUTES=0.001" in result.stdout
    assert "2 passed" in result.stdout
    slowest, next_slowest = (line.split() for line in result.stdout.splitlines() if " s  tests/test_two.py::" in line)
    assert (slowest[-1], next_slowest[-1]) == ("tests/test_two.py::test_slow", "tests/test_two.py::test_quick")
    assert 0.3 <= float(slowest[0]) < 30
    assert result.stdout.count("whole suite") == 1  # the worker prints none
    assert "million Python steps/s" in result.stdout


def run_of(markers: str = "not oracle and not bench", keyword: str = "", paths: bool = False) -> Any:
    source = pytest.Config.ArgsSource.ARGS if paths else pytest.Config.ArgsSource.TESTPATHS
    return SimpleNamespace(args_source=source, option=SimpleNamespace(markexpr=markers, keyword=keyword))


@pytest.mark.parametrize(
    ("config", "seconds", "environment", "is_broken"),
    [
        (run_of(), 1_201, {"HARNESS_CI": "1"}, True),
        (run_of(), 599, {"HARNESS_CI": "1"}, False),
        (run_of(), 1_201, {}, False),
        (run_of(), 1_201, {"HARNESS_CI": "1", "HARNESS_TEST_MINUTES": "30"}, False),
        (run_of(keyword="slow"), 1_201, {"HARNESS_CI": "1"}, False),
        (run_of(paths=True), 1_201, {"HARNESS_CI": "1"}, False),
        (run_of(markers=""), 1_201, {"HARNESS_CI": "1"}, False),  # with the suites of `make oracle`
    ],
)
def test_only_a_full_run_under_ci_is_bounded(
    config: Any, seconds: float, environment: dict[str, str], is_broken: bool
) -> None:
    assert bool(broken_bound(config, seconds, environment)) == is_broken
