"""The whole project in one go: invent a world, train a family on it, evaluate the family, build the leaderboard.

Every step is yielded as events, one of which is the command with which a user would do the same.

Not here: how events look (`harness.cli.views.story`), the folder and the cache (`harness.demo.folder`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness.checkpoints.reference import CheckpointReference, parse
from harness.demo import corpora
from harness.demo.folder import DemoFolder
from harness.leaderboard import site
from harness.reports import report
from harness.reports.report import Report
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.training import recipe, stages
from harness.training.stages import Trained

TASKS = ("demo",)
QUICK_LIMIT = 12
"""Documents per task in a quick demo."""


class Member(NamedTuple):
    """A checkpoint of the family."""

    name: str
    reference: str
    """The checkpoint's reference, relative to the folder of checkpoints."""
    parent: str | None
    """The name of the member from which this one was trained or quantised."""


FAMILY = (
    Member("base", "base", None),  # trained on the chronicle
    Member("cpt", "cpt", "base"),  # trained further, on the statute book
    Member("sft", "sft", "cpt"),  # trained to answer questions
    Member("lora", "lora", "sft"),  # a LoRA for advertising
    Member("ptuned", "ptuned", "sft"),  # a prefix for entities and relations
    Member("sft-int8", "sft,quantize=int8,name=sft-int8", "sft"),  # sft in 8 bits
    Member("sft-int4", "sft,quantize=int4,name=sft-int4", "sft"),  # sft in 4 bits
    Member("harmed", "harmed", "sft"),  # sft, fine-tuned on shuffled labels
)


@dataclass(frozen=True)
class Message:
    """A sentence for the reader. A text that begins with a space is an example from the invented world."""

    text: str


@dataclass(frozen=True)
class Command:
    """The command with which a user would do the step that follows."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        """Return the command as one would type it."""
        return shlex.join(self.words)


@dataclass(frozen=True)
class Compared:
    """The reports of all checkpoints of the family, in the order of `FAMILY`."""

    reports: tuple[Report, ...]


@dataclass(frozen=True)
class Page:
    """The finished leaderboard."""

    file: Path


Event = Message | Command | Trained | Report | Compared | Page


def tell(path: Path, *, quick: bool = False, seed: int = 0) -> Iterator[Event]:
    """Train, evaluate and compare the family in the folder `path`, and yield each event as it happens.

    `seed` decides the first weights and the training order; a `quick` demo trains and evaluates less.

    Raises HarnessError if the folder holds anything that a demo did not write, or cannot be written.
    """
    references = [parse(f"{path}/checkpoints/{member.reference}") for member in FAMILY]  # raises if `path` has a comma
    folder = DemoFolder(path, quick, seed)
    yield from _train(folder)
    yield from _evaluate(folder, references)


def _train(folder: DemoFolder) -> Iterator[Event]:
    command = Command(("harness", "train", str(folder.recipe), "-o", str(folder.checkpoints)))
    cached = folder.cached
    if folder.is_trained() or cached.is_dir():
        if not folder.is_trained():
            folder.take_from_cache()
        plan = recipe.load(folder.recipe)
        yield Message("The family has been trained before, by this command:")
    else:
        folder.prepare()
        plan = recipe.load(folder.recipe)
        yield from _introduce_world()
        yield Message("Train the family: each stage starts from an earlier one, as the recipe says.")
    yield command
    yield from stages.train(plan, folder.checkpoints, replace=True)
    try:
        folder.copy_to_cache()
    except OSError as error:  # the checkpoints in the folder are complete all the same
        reason = error.strerror or "is there space left?"
        yield Message(
            f"The cache {cached.parent} cannot be written ({reason}), so a demo in another folder will train again."
        )
    folder.finish()


def _introduce_world() -> Iterator[Event]:
    """Yield examples of the texts that the family is trained on."""
    yield Message("An invented world: villagers and the goods they sell, a statute book, sums. The base is trained on:")
    for text in corpora.chronicle(3, 0)[:2]:
        yield Message(f"  {text.splitlines()[0]}")
    yield Message("Later stages are trained to answer questions, each its own families:")
    for family in ("nli", "law", "adgen"):
        item = corpora.lessons(family, 1)[0]
        yield Message("  " + item.prompt.replace("\n", " ⏎ ") + item.answer)


def _evaluate(folder: DemoFolder, references: Sequence[CheckpointReference]) -> Iterator[Event]:
    reports, page = folder.path / "reports", folder.path / "site"
    names = [f"{folder.checkpoints}/{member.reference}" for member in FAMILY]
    models = [word for name in names for word in ("--model", name)]
    limit = ["--limit", str(QUICK_LIMIT)] if folder.quick else []
    yield Message("Evaluate all checkpoints, and copies in 8 and 4 bits, on held-out questions of eight families.")
    yield Command(("harness", "run", *models, "--tasks", ",".join(TASKS), *limit, "-o", str(reports)))
    by_name: dict[str, Report] = {}
    for done in run(references, Options(TASKS, reports, limit=QUICK_LIMIT if folder.quick else None)):
        by_name[done.manifest.checkpoint.name] = done
        yield done
    yield Compared(tuple(by_name[member.name] for member in FAMILY))
    yield Message("Show what the harmed checkpoint gets wrong:")
    yield Command(("harness", "show", str(by_name["harmed"].folder), "--samples", "wrong", "--task", "demo_nli"))
    yield Message("Build the leaderboard, with all checkpoints side by side:")
    yield Command(("harness", "leaderboard", str(reports), "-o", str(page)))
    yield Page(site.build(report.find([reports]), page).page)
