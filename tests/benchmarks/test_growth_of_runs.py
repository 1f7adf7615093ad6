"""`make bench`: processor time and memory of many requests through a run, and of many reports in a leaderboard.

The answers are scripted, so that what is measured is the work around a model: prompts, token ids, journal, scores,
report; a second run takes every answer from the journal. Each size has a process of its own. Both grow no faster than
the number of requests or reports; with `HARNESS_BENCH_REPORT=FILE` the table is also written to FILE, with its date.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.bench

REQUESTS = (10_000, 40_000, 160_000)
REPORTS = (25, 100, 400)
STEEPEST = 1.15
"""The largest ratio of growth to size; what every process does first makes it smaller than 1."""
ROOT = Path(__file__).parents[2]
MEASURE = """
import json, resource, sys
from pathlib import Path
def print_measure():
    used = resource.getrusage(resource.RUSAGE_SELF)
    print("MEASURED", used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
folder, size = Path(sys.argv[1]), int(sys.argv[2])
"""
RUN = f"""
{MEASURE}
from harness.checkpoints.reference import parse
from harness.engine.engine import Engine
from harness.runs.options import Options
from harness.runs.sweep import run
from support import every_kind, tiny
Engine.decode = every_kind.scripted
base = folder / "base"
if not base.is_dir():
    tiny.llama(base)
file = folder / f"questions{{size}}.jsonl"
if not file.is_file():
    rows = ({{"question": f"What is {{k}} and {{k}}?", "answer": f"it is {{2 * k}}"}} for k in range(size))
    file.write_text("".join(json.dumps(row) + "\\n" for row in rows))
options = Options(tasks=(str(file),), output=folder / f"out{{size}}", comparisons=("exact_match",))
[report] = run([parse(str(base))], options)
assert report.manifest.engine.requests == size
print_measure()
"""
LEADERBOARD = f"""
{MEASURE}
from harness.leaderboard import site
from harness.reports import report as reports

from support import invented_reports as invented
root = folder / f"reports{{size}}"
if not root.is_dir():
    for number in range(size):
        tasks = [f"task{{k}}" for k in range(20)]
        scores = [invented.score(task, 0.3 + (number * 7 + len(task)) % 40 / 100) for task in tasks]
        model = invented.checkpoint(f"model{{number}}", fingerprint=f"{{number:064x}}")
        invented.write_report(root, model, {{task: invented.task_info(task, 100) for task in tasks}}, scores)
listed = reports.find([root])
assert len(listed) == size
site.build(listed, folder / f"site{{size}}")
print_measure()
"""


class Cost(NamedTuple):
    """What a process took."""

    seconds: float
    """Of processor time."""
    mebibytes: float
    """Of memory at most."""


def cost(code: str, folder: Path, size: int) -> Cost:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code, str(folder), str(size)]
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2_000:]
    [line] = [line for line in result.stdout.splitlines() if line.startswith("MEASURED")]
    return Cost(*map(float, line.split()[1:]))


def show(title: str, sizes: Sequence[int], costs: Sequence[Cost]) -> None:
    lines = [
        f"{title}, {size:,}: {cost.seconds:.1f} s of CPU, {cost.mebibytes:.0f} MB"
        for size, cost in zip(sizes, costs, strict=True)
    ]
    print("", *lines, sep="\n")
    if file := os.environ.get("HARNESS_BENCH_REPORT"):
        with Path(file).open("a", encoding="utf-8") as stream:
            print(f"{date.today():%Y-%m-%d}", *lines, sep="\n", file=stream)


def require_linear(sizes: Sequence[int], costs: Sequence[Cost]) -> None:
    for place in range(1, len(sizes)):
        ratio = STEEPEST * sizes[place] / sizes[place - 1]
        assert costs[place].seconds < ratio * costs[place - 1].seconds
        assert costs[place].mebibytes < ratio * costs[place - 1].mebibytes


def test_a_run_grows_no_faster_than_its_requests(tmp_path: Path) -> None:
    for title in ("a run of scripted answers", "the same from the journal"):
        costs = [cost(RUN, tmp_path, size) for size in REQUESTS]
        show(title, REQUESTS, costs)
        require_linear(REQUESTS, costs)


def test_a_leaderboard_grows_no_faster_than_its_reports(tmp_path: Path) -> None:
    for size in REPORTS:
        cost(LEADERBOARD, tmp_path, size)  # writes the reports
    costs = [cost(LEADERBOARD, tmp_path, size) for size in REPORTS]
    show("a leaderboard of 20 tasks", REPORTS, costs)
    require_linear(REPORTS, costs)
