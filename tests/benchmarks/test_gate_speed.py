"""`make bench`: a gate on 20 tasks of 14,000 documents each, from the command line to its verdict.

Two invented checkpoints answer 14 tasks right or wrong, 3 with scores between 0 and 1, and 3 with counts for a ratio,
with prompts and answers of usual length. One task got worse.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.reports.report import Report
from support.answered import Answers, report

pytestmark = pytest.mark.bench

TASKS, DOCUMENTS = 20, 14_000
SECONDS, GIBIBYTE = 5, 2**30
PROMPT = "The following are multiple choice questions. " * 40
ANSWER = "The answer is one of these, for this reason and for that one. " * 4
MEASURED = """
import resource, sys
from harness.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, *({"torch", "lm_eval"} & set(sys.modules)))
sys.exit(code)
"""


def test_twenty_tasks_are_judged_in_five_seconds_and_a_gibibyte(tmp_path: Path) -> None:
    baseline, candidate = written_report(tmp_path, "base", worse=0.0), written_report(tmp_path, "tuned", worse=0.03)
    command = [sys.executable, "-c", MEASURED, "gate", str(candidate.folder), "--baseline", str(baseline.folder)]
    for _ in range(2):  # the first may have to read libraries from the disk
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "2"})
        seconds = time.perf_counter() - started
    assert done.returncode == 1, done.stderr
    peak = next(line.split() for line in done.stdout.splitlines() if line.startswith("PEAK"))
    print(f"\n{TASKS} tasks of {DOCUMENTS:,} documents: {seconds:.1f} s, peak memory {int(peak[1]) / 2**20:,.0f} MiB")
    assert peak[2:] == []
    assert "task_0" in done.stdout
    assert seconds < SECONDS
    assert int(peak[1]) < GIBIBYTE


def written_report(root: Path, name: str, worse: float) -> Report:
    return report(root, name, {f"task_{at}": answers(at, worse if at == 0 else 0.0) for at in range(TASKS)})


def answers(at: int, worse: float) -> Answers:
    """Return a checkpoint's answers, which differ between checkpoints for 12 % of the documents."""
    shared, specific = np.random.default_rng(at), np.random.default_rng([at, int(1000 * worse), 7])
    marks = np.where(specific.random(DOCUMENTS) < 0.12, specific.random(DOCUMENTS), shared.random(DOCUMENTS))
    if at < 14:
        return Answers((marks + worse < 0.6).astype(float).tolist(), prompt=PROMPT)
    if at < 17:
        return Answers(marks.tolist(), "rouge", prompt=PROMPT, responses=[ANSWER] * DOCUMENTS)
    expected = shared.integers(1, 9, DOCUMENTS)
    pairs = np.column_stack([np.floor(2 * marks * expected), 2 * expected]).tolist()
    return Answers(pairs, "micro_f1", "ratio", prompt=PROMPT, responses=[ANSWER] * DOCUMENTS)
