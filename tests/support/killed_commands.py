"""Commands of `harness` that are killed at any moment, and what they leave when they are run again.

A command runs in a fork of a process that has imported the libraries, so that the moment of the kill falls into its
work and each try takes a second. Run as a script, this file is that process: it reads one JSON list a line (arguments,
seconds until a signal or null, file for what is printed, the signal) and answers with the exit code and the seconds.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

KINDS = ("log-likelihoods", "generation", "two checkpoints", "train", "gate", "score", "leaderboard")
_IMPORTED = (
    *("harness.cli.app", "harness.gating.sequential", "harness.leaderboard.site", "harness.recorded.score"),
    *("harness.runs.sweep", "harness.training.stages", "lm_eval.evaluator", "lm_eval.tasks", "peft", "bitsandbytes"),
)
_RECIPE = """
seed: 1
threads: 1
corpora: {{talk: {folder}/talk.jsonl}}
stages:
  full: {{from: {folder}/base, corpora: [talk], max_steps: 6, learning_rate: 1.0e-3, save_steps: 1}}
  lora: {{from: full, method: lora, corpora: [talk], max_steps: 4, learning_rate: 1.0e-2, r: 4, save_steps: 1}}
"""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    """The exit code, negative for a signal."""
    seconds: float
    printed: str


def fork(
    arguments: list[str], kill_after: float | None, printed: Path, number: int = signal.SIGKILL
) -> tuple[int, float]:
    """Run a command in a fork of this process, with the signal `number` after some seconds.

    What it prints goes to the file `printed`. Return exit code and seconds.
    """
    from harness.cli import main
    from harness.common import signals

    started = time.monotonic()
    child = os.fork()
    if not child:
        with printed.open("w", encoding="utf-8") as stream:
            sys.stdout = sys.stderr = stream
            signals.listen()
            code = main(arguments)
        os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, number)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, time.monotonic() - started


class Commands:
    """Runs commands in forks of one process that has imported the libraries."""

    def __init__(self, folder: Path) -> None:
        """Use `folder` for what commands print and remember.

        This process is not forked itself: threads of its tokenizers would be missing in the fork.
        """
        self._print = folder / "printed.txt"
        changes = {"HARNESS_CACHE": str(folder / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, __file__]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._server = subprocess.Popen(command, env={**os.environ, **changes}, **pipes)

    def run(
        self, arguments: list[str], kill_after: float | None = None, number: signal.Signals = signal.SIGKILL
    ) -> Ended:
        """Run one command; send the signal `number` after `kill_after` seconds."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([arguments, kill_after, str(self._print), number]) + "\n")
        self._server.stdin.flush()
        ended = json.loads(self._server.stdout.readline())
        return Ended(*ended, self._print.read_text(encoding="utf-8"))

    def close(self) -> None:
        """End the process."""
        self._server.communicate(timeout=20)


class World:
    """A base, a LoRA, files of questions and a recipe; `undisturbed` results of each kind of command."""

    def __init__(self, folder: Path, *, questions: int = 40) -> None:
        """Write everything into `folder`."""
        from support import tiny

        self.folder = folder
        tiny.llama(folder / "base")
        tiny.lora(folder / "lora", folder / "base")
        numbers = range(questions)
        choices = [{"question": f"{n} + 1 = ?", "A": f"{n + 1}", "B": f"{n + 2}", "answer": "A"} for n in numbers]
        _write(folder / "choices.jsonl", choices)
        _write(folder / "words.jsonl", [{"question": f"{n} + 2 = ?", "answer": f"{n + 2}"} for n in numbers])
        _write(folder / "answers" / "words.jsonl", [{"id": n, "prediction": f"{n + n % 3}"} for n in numbers])
        _write(folder / "talk.jsonl", [{"prompt": f"{n} + 3 = ", "completion": f"{n + 3}"} for n in numbers])
        (folder / "recipe.yaml").write_text(_RECIPE.format(folder=folder), encoding="utf-8")
        self.commands = Commands(folder)
        self._undisturbed: dict[str, tuple[Any, float]] = {}

    @functools.cached_property
    def reports(self) -> Path:
        """A folder with a report of each checkpoint."""
        for name in ("base", "lora"):
            ended = self.commands.run(self._evaluate(name, "choices", self.folder / "reports" / name))
            assert ended.code == 0, ended.printed
        return self.folder / "reports"

    def arguments(self, kind: str, output: Path) -> list[str]:
        """Return the command of `kind`, which writes to the folder `output`."""
        match kind:
            case "log-likelihoods":
                return self._evaluate("base", "choices", output)
            case "generation":
                return self._evaluate("base", "words", output)
            case "two checkpoints":
                second = ["--model", str(self.folder / "lora")]
                return [*self._evaluate("base", "choices", output, "words"), *second]
            case "train":
                return ["train", str(self.folder / "recipe.yaml"), "-o", str(output)]
            case "gate":
                _, *rest = self._evaluate("lora", "choices", output)
                judging = [
                    "--baseline",
                    str(self.reports / "base"),
                    "--sequential",
                    "--json",
                    str(output / "gate.json"),
                ]
                return ["gate", *rest, *judging]
            case "score":
                answers = self.folder / "answers" / "words.jsonl"
                task = ["--task", str(self.folder / "words.jsonl"), "--metric", "exact_match"]
                return ["score", "--predictions", str(answers), *task, "-o", str(output)]
            case _:
                return ["leaderboard", str(self.reports), "-o", str(output)]

    def require_the_same_after_kills(self, kind: str, output: Path, shares: Sequence[float]) -> None:
        """Assert that a command that is killed, then run to its end, leaves what it would alone.

        It is killed after each of `shares` of the time that it takes, one after another, in the same folder.
        """
        result, seconds = self._result(kind)
        for share in shares:
            self.commands.run(self.arguments(kind, output), share * seconds)
        ended = self.commands.run(self.arguments(kind, output))
        assert ended.code in (0, 1, 3), ended.printed
        left = outcome(output)
        different = [key for key in sorted({*left, *result}) if left.get(key) != result.get(key)]
        assert not different, (different[0], left.get(different[0]), result.get(different[0]))

    def require_an_orderly_stop(self, kind: str, output: Path, share: float, number: signal.Signals) -> None:
        """Assert that a command ends in order at a signal after `share` of its time, unless it was done before."""
        _, seconds = self._result(kind)
        ended = self.commands.run(self.arguments(kind, output), share * seconds, number)
        if ended.code not in (0, 1, 3):
            assert ended.code == 128 + number, ended.printed
            assert f"interrupted by {number.name}. " in ended.printed
            assert "run the same command again" in ended.printed.lower()
            assert "Traceback" not in ended.printed
        # Encoded corpora and the states of a training stay for the same command.
        names = [
            path.name for path in output.rglob("*") if path.name not in (".encoded", ".full.training", ".lora.training")
        ]
        assert [name for name in names if name.startswith(".") or name.endswith(("-wal", "-shm"))] == []

    def _result(self, kind: str) -> tuple[Any, float]:
        """Return what the command of `kind` leaves if nothing disturbs it, and the seconds that it takes."""
        if kind not in self._undisturbed:
            output = self.folder / f"undisturbed {kind}"
            ended = self.commands.run(self.arguments(kind, output))
            assert ended.code in (0, 1, 3), ended.printed
            self._undisturbed[kind] = (outcome(output), ended.seconds)
        return self._undisturbed[kind]

    def _evaluate(self, model: str, task: str, output: Path, *others: str) -> list[str]:
        tasks = ",".join(str(self.folder / f"{name}.jsonl") for name in (task, *others))
        options = ["--metric", "exact_match", "--max-gen-toks", "12"] if "words" in (task, *others) else []
        return ["run", "--model", str(self.folder / model), "--tasks", tasks, *options, "-o", str(output)]


def outcome(output: Path) -> dict[str, Any]:
    """Return everything below `output`, by path and kind of file, without times and work; a stray file is a key too.

    Reports of one checkpoint count once: a run that is killed after its first report writes that report again.
    """
    contents: dict[str, Any] = {}
    for path in sorted(output.rglob("*")):
        name = str(path.relative_to(output))
        report = re.match(r"(?P<name>[^/]+)_\d{8}-\d{6}(-\d+)?(?P<rest>/.*|$)", name)
        key = f"{report['name']}{report['rest']}" if report else name
        if path.is_dir() or path.name in ("journal.sqlite", "SHA256SUMS", "README.md"):
            content: Any = path.is_dir()
        else:
            content = _READERS.get(path.suffix, Path.read_bytes)(path)
        assert contents.setdefault(key, content) == content, key
    return contents


def _parquet(file: Path) -> Any:
    import pyarrow.parquet as pq

    rows = pq.read_table(file).to_pylist()
    return json.dumps(rows, ensure_ascii=False, sort_keys=True)


def _json_file(file: Path) -> Any:
    return _timeless(json.loads(file.read_text(encoding="utf-8")))


def _timeless(content: Any) -> Any:
    """Return JSON `content` without what differs from run to run: times, folders, memory, and work that was saved."""
    differing = re.compile(
        r"created|date|.*seconds.*|.*memory.*|engine|tokens_fed|tokens_generated|.*tokens|reading|read|folder|report|.*time.*"
        r"|.*_per_second|resumed_at|train_loss|base_model_name_or_path"
    )
    if isinstance(content, dict):
        return {key: _timeless(value) for key, value in content.items() if not differing.fullmatch(key)}
    if isinstance(content, list):
        return [_timeless(value) for value in content]
    return "NaN" if isinstance(content, float) and math.isnan(content) else content


def _page(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", text)


_READERS: dict[str, Callable[[Path], Any]] = {".parquet": _parquet, ".json": _json_file, ".html": _page}


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _serve() -> None:
    """Run the commands that standard input names, each in a fork."""
    import importlib

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, Trainer  # noqa: F401

    for name in _IMPORTED:
        importlib.import_module(name)
    torch.set_num_threads(1)
    for line in sys.stdin:
        arguments, kill_after, printed, number = json.loads(line)
        print(json.dumps(fork(arguments, kill_after, Path(printed), number)), flush=True)


if __name__ == "__main__":
    _serve()
