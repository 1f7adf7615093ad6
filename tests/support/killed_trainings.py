"""`harness train` in a process that a signal hits at a stated place: before a step, or while a file is half-written.

The command runs in a fork of a process that has imported the libraries. Run as a script, this file is that process: it
reads one JSON list a line (arguments, place or null, how often the place is passed before, number of the signal, file
for what is printed) and answers with the exit code.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

PLACES = {
    "step": "harness.training.trainer.StageTrainer._get_grad_norm",
    "weights": "harness.training.trainer.save_file",
    "optimizer": "torch.save",
    "record": "transformers.trainer_callback.TrainerState.save_to_json",
    "removal": "transformers.trainer.rotate_checkpoints",
    "evaluation": "harness.training.trainer.StageTrainer._sums",
    "folder": "harness.training.saving.save",
    "end": "harness.training.stages._Run._done",
}
"""The function that a place is the beginning of; one that writes a file has by then written half of it."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    """The exit code, negative for a signal."""
    printed: str


class Trainings:
    """Runs trainings in forks of one process that has imported the libraries."""

    def __init__(self, folder: Path) -> None:
        """Use `folder` for what commands print."""
        self._print = folder / "printed.txt"
        changes = {"PYTHONPATH": os.pathsep.join(sys.path), "TOKENIZERS_PARALLELISM": "false"}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._server = subprocess.Popen([sys.executable, __file__], env={**os.environ, **changes}, **pipes)

    def run(
        self, recipe: Path, output: Path, place: str | None = None, passed: int = 0, number: int = signal.SIGKILL
    ) -> Ended:
        """Train `recipe` into `output`; send the signal `number` at a `place` of `PLACES` after it was `passed`."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        arguments = ["train", str(recipe), "-o", str(output)]
        self._server.stdin.write(json.dumps([arguments, place, passed, number, str(self._print)]) + "\n")
        self._server.stdin.flush()
        return Ended(json.loads(self._server.stdout.readline()), self._print.read_text(encoding="utf-8"))

    def close(self) -> None:
        """End the process."""
        self._server.communicate(timeout=20)


def _hit(place: str, passed: int, number: int) -> None:
    """Let the function of `place` send the signal `number` to this process, after it was called `passed` times."""
    path, _, name = PLACES[place].rpartition(".")
    owner = _owner(path)
    function: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def called(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == passed + 1:
            _spoil(place, arguments)
            os.kill(os.getpid(), number)
        return function(*arguments, **keywords)

    setattr(owner, name, called)


def _owner(path: str) -> Any:
    import importlib

    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)


def _spoil(place: str, arguments: tuple[Any, ...]) -> None:
    """Leave what a killed process leaves at `place`: a part of the file."""
    if place in ("weights", "optimizer", "record"):
        Path(arguments[1]).write_bytes(b'{"global_step": 3, "log_hist')


def _serve() -> None:
    """Run the commands that standard input names, each in a fork."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, Trainer  # noqa: F401

    from harness.cli import main
    from harness.common import signals

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # else each fork copies what a collection looks at
    for line in sys.stdin:
        arguments, place, passed, number, printed = json.loads(line)
        child = os.fork()
        if not child:
            with Path(printed).open("w", encoding="utf-8") as stream:
                sys.stdout = sys.stderr = stream
                signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in the background
                signals.listen()
                if place is not None:
                    _hit(place, passed, number)
                code = main(arguments)
            os._exit(code)
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])), flush=True)


if __name__ == "__main__":
    _serve()
