"""SIGTERM and SIGHUP stop a process as Ctrl-C does: once in order, the second time at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BEGIN = """
import gc, signal, sys, time
from pathlib import Path
from harness.common import atomic_write, signals
signals.listen()
here = Path(sys.argv[1])
def ready(): print("ready", flush=True)
"""
WRITE = """
try:
    with atomic_write.{kind}(here / "target") as hidden:
        (hidden / "half" if hidden.is_dir() else hidden).write_text("half")
        ready()
        time.sleep(60)
except KeyboardInterrupt:
    sys.exit(signals.exit_code())
"""
SLOW_END = """
try:
    ready()
    time.sleep(60)
finally:
    print("ending", flush=True)
    time.sleep(60)
"""
DEFERRED = """
try:
    with signals.deferred():
        ready()
        time.sleep(0.3)
        (here / "done").touch()
    (here / "after").touch()
except KeyboardInterrupt:
    sys.exit(signals.exit_code())
"""
LOST = """
class Rubbish:
    def __del__(self):
        ready()
        time.sleep(60)
try:
    Rubbish()
    signals.check()
except KeyboardInterrupt:
    sys.exit(signals.exit_code())
"""
STOPPING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def _started(script: str, folder: Path, begin: Callable[[], object] | None = None) -> subprocess.Popen[str]:
    """Return a process that runs `script` on `folder`, once it is ready; `begin` sets what its parent would ignore."""

    def as_in_a_terminal() -> None:
        for number in STOPPING:
            signal.signal(number, signal.SIG_DFL)
        if begin is not None:
            begin()

    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN + script, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=as_in_a_terminal,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", STOPPING)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_signal_ends_in_order_and_leaves_nothing_half_written(
    tmp_path: Path, number: signal.Signals, kind: str
) -> None:
    process = _started(WRITE.format(kind=kind), tmp_path)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (128 + number, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("first", "second"), [(signal.SIGTERM, signal.SIGTERM), (signal.SIGHUP, signal.SIGINT)])
def test_a_second_signal_ends_at_once(tmp_path: Path, first: signal.Signals, second: signal.Signals) -> None:
    process = _started(SLOW_END, tmp_path)
    process.send_signal(first)
    assert process.stdout is not None
    assert process.stdout.readline() == "ending\n"
    process.send_signal(first)  # passed on twice: one event
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(second)
    assert process.wait(5) == 128 + second


def test_what_is_ignored_at_the_start_stays_ignored(tmp_path: Path) -> None:
    """As by `nohup`."""
    process = _started(WRITE.format(kind="file"), tmp_path, lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143


def test_a_deferred_signal_lets_the_block_end(tmp_path: Path) -> None:
    process = _started(DEFERRED, tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    assert [path.name for path in tmp_path.iterdir()] == ["done"]


def test_a_signal_whose_exception_was_lost_stops_the_next_step(tmp_path: Path) -> None:
    """Python ignores exceptions in `__del__`."""
    process = _started(LOST, tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
