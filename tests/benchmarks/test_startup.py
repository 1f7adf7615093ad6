"""`make bench`: seconds from the command line to the first forward pass, each in a process of its own.

`cold` has empty caches of ours and of `datasets`, `warm` those that the cold one left; in both, the operating system
has read the libraries' files before. What is asserted is generous: it catches a start that reads what it need not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from support import tiny

pytestmark = [pytest.mark.bench, pytest.mark.data]

HELP = "from harness.cli import main; main(['--help'])"
IMPORTS = """
import os
from harness.cli.quiet import quiet_libraries
quiet_libraries()
from harness.common import slow_imports
with slow_imports.importing():
    import harness.runs.sweep, lm_eval.evaluator
    from transformers import AutoTokenizer, LlamaForCausalLM
os._exit(0)  # as below: what ending a process costs is no part of a start
"""
# The first forward pass after lm-eval has built a task's requests: what an engine tries before is no answer.
FORWARD = """
import os, sys, time
from harness.cli import main
from harness.cli.quiet import quiet_libraries
quiet_libraries()
import torch
from lm_eval.api.task import Task
build, built = Task.build_all_requests, []
def building(task, **how):
    build(task, **how)
    built.append(len(task.instances))
Task.build_all_requests = building
def stop(module, given):
    if built:
        seconds, needless = time.time() - float(os.environ["STARTED"]), {"peft", "bitsandbytes"} & set(sys.modules)
        print("FIRST", seconds, *needless, flush=True)
        os._exit(0)
torch.nn.modules.module.register_module_forward_pre_hook(stop)
sys.exit(main())
"""


class Start(NamedTuple):
    """A line of the table."""

    what: str
    seconds: float


def test_seconds_to_the_first_forward_pass(tmp_path: Path, data: Path) -> None:
    rows = measured(tmp_path, data)
    print()
    for row in rows:
        print(f"{row.what:40}{row.seconds:8.2f} s")
    seconds = dict(rows)
    assert seconds["harness --help"] < 3
    for task in ("mmlu", "ceval"):
        assert seconds[f"{task}, 5-shot, cold"] < 60 + seconds["imports"]


def measured(folder: Path, data: Path) -> list[Start]:
    """Return how long it takes from a command to its help, to its imports, and to the first forward pass of a run."""
    base = tiny.llama(folder / "base", tiny.bench_tokenizer(data), context=2048)
    rows = [
        Start("harness --help", min(_seconds(folder, HELP) for _ in range(5))),
        Start("imports", min(_seconds(folder, IMPORTS) for _ in range(2))),
    ]
    for task in ("mmlu", "ceval"):
        cache = folder / f"cache-{task}"
        for state in ("cold", "warm"):
            command = ["run", "--model", f"{base},device=cpu", "--tasks", task, "--num-fewshot", "5"]
            command += ["--data", str(data), "--output", str(folder / f"out-{task}-{state}")]
            rows.append(Start(f"{task}, 5-shot, {state}", _first(_run(cache, FORWARD, *command))))
    return rows


def _seconds(folder: Path, code: str) -> float:
    started = time.perf_counter()
    _run(folder / "cache", code)
    return time.perf_counter() - started


def _run(cache: Path, code: str, *arguments: str) -> str:
    paths = {"HARNESS_CACHE": cache / "harness", "HF_DATASETS_CACHE": cache / "datasets"}
    places = {name: str(path) for name, path in paths.items()}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **places, "HF_HUB_OFFLINE": "1", "STARTED": str(time.time())},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _first(printed: str) -> float:
    line = next(line for line in printed.splitlines() if line.startswith("FIRST"))
    _, seconds, *needless = line.split()
    assert not needless, f"a base checkpoint needs no {needless}"
    return float(seconds)
