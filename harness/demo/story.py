"""The whole project in one go: invent a world, train on it, evaluate, make the page, naming each command on the way.

What there is to tell is yielded, and how it looks is the command line's. The output folder is the demo's own: what was
trained there stays as long as this code, the steps and the seed do, and is replaced when one of them changes.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from harness.checkpoints.reference import parse
from harness.demo import training
from harness.demo.training import BATCH, Schedule
from harness.demo.world import SKILLS, Skill, World, alphabet
from harness.errors import HarnessError
from harness.leaderboard import site
from harness.runs import report
from harness.runs.options import Options
from harness.runs.report import Report
from harness.runs.run import run

STEPS = 150
BASE_LESSONS: tuple[Skill, ...] = ("goods",)
LORA_LESSONS: tuple[Skill, ...] = ("towns", "towns", "goods")
"""What is new, and some of what the base knows, so that it is not forgotten."""
CHECKPOINTS = ("untrained", "base", "lora")
TASKS = ("demo_goods", "demo_towns", "demo")
"""Both tasks by name, so that each has a column of its own beside their mean."""
MARK = ".harness-demo"
"""Marks an output folder as the demo's; holds the key of what was trained, or nothing while it is being made."""
OURS = ("checkpoints", "data", "reports", "site")


@dataclass(frozen=True)
class Said:
    """A sentence for whoever watches."""

    text: str


@dataclass(frozen=True)
class Command:
    """A command that does what comes next."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        """Return the command as one would type it."""
        return shlex.join(self.words)


@dataclass(frozen=True)
class Page:
    """The finished leaderboard."""

    file: Path


def tell(output: Path, *, steps: int = STEPS, seed: int = 0) -> Iterator[Said | Command | Report | Page]:
    """Do everything in the folder `output` and yield it as it happens; base and LoRA learn for `steps` each.

    Raises HarnessError if `output` holds anything that is not the demo's.
    """
    key = _key(steps, seed)
    if _mark(output) == key:
        yield Said(f"Trained before, and kept in {output / 'checkpoints'}.")
    else:
        yield from _make(output, World(seed), steps, seed)
        (output / MARK).write_text(key, encoding="utf-8")
    checkpoints, data, reports = (output / name for name in ("checkpoints", "data", "reports"))
    names = [str(checkpoints / name) for name in CHECKPOINTS]
    models = [word for name in names for word in ("--model", name)]
    yield Said("Evaluate all three on questions about villagers that none has read of; chance is 25 %.")
    yield Command(("harness", "run", *models, "--tasks", ",".join(TASKS), "--data", str(data), "-o", str(reports)))
    done = []
    for one in run([parse(name) for name in names], Options(TASKS, reports, data)):
        done.append(one)
        yield one
    yield Said("To read what the base got wrong:")
    yield Command(("harness", "show", str(done[1].folder), "--samples", "wrong"))
    yield Said("See them side by side.")
    yield Command(("harness", "leaderboard", str(reports), "-o", str(output / "site")))
    yield Page(site.build(report.find([reports]), output / "site"))


def _make(output: Path, world: World, steps: int, seed: int) -> Iterator[Said]:
    """Write data and train checkpoints into `output`, in place of any that are there."""
    _clear(output)
    checkpoints = output / "checkpoints"
    for skill in SKILLS:
        folder = output / "data" / "demo" / skill
        folder.mkdir(parents=True)
        rows = pa.Table.from_pylist([document._asdict() for document in world.tests[skill]])
        pq.write_table(rows, folder / "test-00000-of-00001.parquet")
    pieces = training.tokenizer(alphabet())
    model = training.untrained(pieces, seed)
    training.save(model, pieces, checkpoints / "untrained")

    lessons = world.lessons(BASE_LESSONS, steps * BATCH)
    yield Said(f"Train a base of {model.num_parameters():,} parameters on what is sold, {steps} steps of such lessons:")
    yield Said(f"  {lessons[0]}")
    training.learn(model, pieces, lessons, Schedule(steps, peak=3e-3), "base")
    training.save(model, pieces, checkpoints / "base")

    lessons = world.lessons(LORA_LESSONS, steps * BATCH)
    yield Said(f"Train a LoRA on this base, on where towns lie: {steps} steps of such lessons and some of the base's:")
    yield Said(f"  {lessons[0]}")
    lora = training.with_lora(model, seed)
    training.learn(lora, pieces, lessons, Schedule(steps, peak=1e-2), "lora", after="答：")
    training.save_adapter(lora, checkpoints / "lora", base="../base")


def _key(steps: int, seed: int) -> str:
    """Return a digest of all that decides what is trained: this package's files, the steps, the seed."""
    digest = hashlib.sha256(f"{steps} {seed}".encode())
    here = Path(__file__).parent
    for file in sorted((*here.glob("*.py"), *here.glob("tasks/*"))):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _mark(output: Path) -> str | None:
    """Return what the mark in `output` says; None where there is no mark."""
    try:
        return (output / MARK).read_text(encoding="utf-8")
    except OSError:
        return None


def _clear(output: Path) -> None:
    """Make `output` an empty folder that bears an empty mark; touch nothing that is not the demo's."""
    if output.exists() and _mark(output) is None and not (output.is_dir() and not any(output.iterdir())):
        raise HarnessError(f"{output} holds something else: name an empty or new folder for the demo with --output")
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / MARK).write_text("", encoding="utf-8")
        for name in OURS:
            if (output / name).exists():
                shutil.rmtree(output / name)
    except OSError as error:
        raise HarnessError(f"cannot write the demo to {output} ({error.strerror}): choose another --output") from error
