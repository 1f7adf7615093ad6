"""A pytest plugin: the suite ends with its wall time, its ten slowest tests and a bound that it must keep.

The bound is `HARNESS_TEST_MINUTES` (default 12) and is enforced only under CI (`HARNESS_CI` is set) and only for a full
run (`make test`): a selection of tests says nothing about the suite. The figures are printed after every run, with the
speed of the machine beside them, so that figures of two machines can be compared.

Not here: what one function costs. tests/benchmarks measures that.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

SLOWEST = 10
DEFAULT_MINUTES = 12.0  # `make test` takes between nine and ten on two free cores, and a third longer on busy ones


class WallTime:
    """Measures one pytest session; under pytest-xdist, in the controller, which receives every worker's reports."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.started = time.monotonic()
        self.seconds: Counter[str] = Counter()
        """Wall-clock seconds of each test: its set-up, call and tear-down."""
        self.suite_seconds = 0.0
        self.bound_broken: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    @pytest.hookimpl(tryfirst=True)  # before the terminal prints its summary
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.suite_seconds = time.monotonic() - self.started
        self.bound_broken = broken_bound(self.config, self.suite_seconds, os.environ)
        if self.bound_broken and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("wall time")
        for name, seconds in self.seconds.most_common(SLOWEST):
            terminalreporter.line(f"{seconds:7.2f} s  {name}")
        terminalreporter.line(f"{self.suite_seconds:7.1f} s  whole suite, on {machine_speed()}")
        if self.bound_broken:
            terminalreporter.line(f"FAILED: {self.bound_broken}", red=True, bold=True)


def broken_bound(config: pytest.Config, seconds: float, environment: Mapping[str, str]) -> str | None:
    """Return a sentence about the bound if a full run under CI took too many `seconds`, or None."""
    minutes = float(environment.get("HARNESS_TEST_MINUTES") or DEFAULT_MINUTES)
    if not environment.get("HARNESS_CI") or not is_full_run(config) or seconds <= 60 * minutes:
        return None
    return (
        f"the suite took {seconds / 60:.1f} minutes, more than HARNESS_TEST_MINUTES={minutes:g}: "
        "make the slowest tests faster, or move equality suites to `make oracle`"
    )


def is_full_run(config: pytest.Config) -> bool:
    """Return whether `make test` started this run: no path and no keyword, and only whole suites are left out."""
    selects_tests = config.option.keyword or getattr(config.option, "lf", False)
    leaves_suites_out = "not oracle" in config.option.markexpr
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and leaves_suites_out and not selects_tests


def machine_speed() -> str:
    """Return a phrase with the number of cores, and what one of them does in a matrix product and in plain Python."""
    import numpy as np

    size, steps = 512, 200_000
    matrix = np.ones((size, size), dtype=np.float32)
    product = _fastest(lambda: matrix @ matrix)
    loop = _fastest(lambda: sum(k & 1 for k in range(steps)))
    return (
        f"{os.cpu_count()} cores: {2 * size**3 / product / 1e9:.0f} GFLOP/s in a float32 matrix product of {size}, "
        f"{steps / loop / 1e6:.0f} million Python steps/s"
    )


def _fastest(work: Callable[[], object], times: int = 3) -> float:
    """Return the seconds that `work` takes, the fastest of `times`."""
    best = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # a worker of pytest-xdist has it
        config.pluginmanager.register(WallTime(config), "wall_time")
