"""The whole project in one go: invent a world, train a family on it, evaluate it, make the page, naming each command.

What there is to tell is yielded, and how it looks is the command line's. What was trained is kept in the user's cache,
by a key of all that decides it (`_key`), and copied into the folder that keeps the demo.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch

from harness.checkpoints.reference import CheckpointReference, parse
from harness.common import atomic_write, resources
from harness.demo import corpora, model
from harness.errors import HarnessError
from harness.leaderboard import site
from harness.metrics.extraction import tuples
from harness.reports import report
from harness.reports.report import Report
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.training import recipe, stages
from harness.training.stages import Trained

RECIPE = Path(__file__).parent / "recipe.yaml"
TASKS = ("demo",)
QUICK_STEPS = 10
"""A quick demo trains this part of the steps, and asks `QUICK_LIMIT` documents of each task."""
QUICK_LIMIT = 12
MARK = ".harness-demo"
"""Marks a folder as the demo's; holds the key of what was trained there, while that is unfinished after a word."""
UNFINISHED = "unfinished "
MADE = ("recipe.yaml", "corpora", "checkpoints")
OURS = (*MADE, "reports", "site")


class Member(NamedTuple):
    """A checkpoint of the family that is evaluated."""

    name: str
    reference: str
    """Relative to the checkpoints' folder."""
    parent: str | None
    """The member that it was made from."""
    about: str


FAMILY = (
    Member("base", "base", None, "read the chronicle"),
    Member("cpt", "cpt", "base", "went on with the statute book"),
    Member("sft", "sft", "cpt", "learned to answer"),
    Member("lora", "lora", "sft", "a LoRA for advertising"),
    Member("ptuned", "ptuned", "sft", "a prefix for entities and relations"),
    Member("sft-int8", "sft,quantize=int8,name=sft-int8", "sft", "sft in 8 bits"),
    Member("sft-int4", "sft,quantize=int4,name=sft-int4", "sft", "sft in 4 bits"),
    Member("harmed", "harmed", "sft", "sft, tuned on shuffled labels"),
)


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
class Compared:
    """The whole family's reports, in the family's order."""

    reports: tuple[Report, ...]


@dataclass(frozen=True)
class Page:
    """The finished leaderboard."""

    file: Path


Event = Said | Command | Trained | Report | Compared | Page


def tell(folder: Path, *, quick: bool = False, seed: int = 0) -> Iterator[Event]:
    """Do everything in `folder` and yield it as it happens; `seed` is of first weights and the order of lessons.

    Raises HarnessError if `folder` holds anything that is not the demo's.
    """
    references = [parse(f"{folder}/checkpoints/{member.reference}") for member in FAMILY]  # complains of odd folders
    yield from _train(folder, quick, seed)
    yield from _evaluate(folder, references, quick)


def _train(folder: Path, quick: bool, seed: int) -> Iterator[Event]:
    key = _key(quick, seed)
    kept = resources.cache() / "demo" / key
    command = Command(("harness", "train", str(folder / "recipe.yaml"), "-o", str(folder / "checkpoints")))
    here = _mark(folder) == key and _is_whole(folder)
    if here or kept.is_dir():
        if not here:
            _clear(folder)
            _take(kept, folder)
        plan = recipe.load(folder / "recipe.yaml")
        yield Said("The family was trained before, and is kept. It was made by")
        yield command
    else:
        if _mark(folder) != UNFINISHED + key or not _is_whole(folder):
            _clear(folder)
            _write(folder, quick, seed)
            (folder / MARK).write_text(UNFINISHED + key, encoding="utf-8")
        plan = recipe.load(folder / "recipe.yaml")
        yield Said("An invented world: villagers and what they sell, a statute book, sums. A base will read of it:")
        for text in corpora.chronicle(3, 0)[:2]:
            yield Said(f"  {text.splitlines()[0]}")
        yield Said("and later stages learn to answer, each its own families of questions:")
        for family in ("nli", "law", "adgen"):
            item = corpora.lessons(family, 1)[0]
            yield Said("  " + item.prompt.replace("\n", " ⏎ ") + item.answer)
        yield Said("Train the family: every stage from the one before it, as the recipe says.")
        yield command
    yield from stages.train(plan, folder / "checkpoints")
    if not kept.is_dir() and _is_pristine(folder, quick, seed):
        try:
            _keep(folder, kept)
        except OSError as error:  # what was trained is here all the same
            why = error.strerror or "is there space left?"
            yield Said(f"The cache {kept.parent} cannot be written ({why}), so another folder would be trained anew.")
    (folder / MARK).write_text(key, encoding="utf-8")


def _evaluate(folder: Path, references: Sequence[CheckpointReference], quick: bool) -> Iterator[Event]:
    checkpoints, reports = folder / "checkpoints", folder / "reports"
    names = [f"{checkpoints}/{member.reference}" for member in FAMILY]
    models = [word for name in names for word in ("--model", name)]
    limit = ["--limit", str(QUICK_LIMIT)] if quick else []
    yield Said("Evaluate all of it, and 8- and 4-bit copies, on held-out questions of eight families.")
    yield Command(("harness", "run", *models, "--tasks", ",".join(TASKS), *limit, "-o", str(reports)))
    done: dict[str, Report] = {}
    options = Options(TASKS, reports, limit=QUICK_LIMIT if quick else None)
    for one in run(references, options):
        done[one.manifest.checkpoint.name] = one
        yield one
    yield Compared(tuple(done[member.name] for member in FAMILY))
    yield Said("To read what the harmed one gets wrong:")
    yield Command(("harness", "show", str(done["harmed"].folder), "--samples", "wrong", "--task", "demo_nli"))
    yield Said("See them side by side.")
    yield Command(("harness", "leaderboard", str(reports), "-o", str(folder / "site")))
    yield Page(site.build(report.find([reports]), folder / "site"))


def _write(folder: Path, quick: bool, seed: int) -> None:
    """Write corpora, random weights and recipe into `folder`."""
    try:
        _written(folder, quick, seed)
    except OSError as error:
        raise HarnessError(f"cannot write {folder} ({error.strerror or error}): choose another --keep") from error


def _written(folder: Path, quick: bool, seed: int) -> None:
    texts = corpora.write(folder / "corpora")
    model.save(folder / "checkpoints" / "untrained", texts, corpora.words(), seed)
    (folder / "recipe.yaml").write_text(_recipe(quick, seed), encoding="utf-8")


def _recipe(quick: bool, seed: int) -> str:
    text = re.sub(r"^seed: \d+$", f"seed: {seed}", RECIPE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if not quick:
        return text
    return re.sub(r"(steps|warmup): (\d+)", lambda found: f"{found[1]}: {max(1, int(found[2]) // QUICK_STEPS)}", text)


def _is_whole(folder: Path) -> bool:
    """Tell whether all that the recipe starts from is in `folder`."""
    return (folder / "recipe.yaml").is_file() and all(
        (folder / name).is_dir() for name in ("corpora", "checkpoints/untrained")
    )


def _is_pristine(folder: Path, quick: bool, seed: int) -> bool:
    """Tell whether nobody has edited recipe or corpora: the cache is not for what was made of edited ones."""
    with tempfile.TemporaryDirectory() as fresh:
        corpora.write(Path(fresh))
        same = all((folder / "corpora" / file.name).read_bytes() == file.read_bytes() for file in Path(fresh).iterdir())
    return same and (folder / "recipe.yaml").read_text(encoding="utf-8") == _recipe(quick, seed)


def _copy(source: Path, target: Path) -> None:
    for name in MADE:
        (shutil.copytree if (source / name).is_dir() else shutil.copy)(source / name, target / name)


def _take(kept: Path, folder: Path) -> None:
    """Copy what the cache holds into `folder`."""
    try:
        _copy(kept, folder)
    except OSError as error:  # copytree's own is a list of them
        why = error.strerror or "is there space left?"
        raise HarnessError(f"cannot copy {kept} to {folder} ({why}): choose another --keep") from error


def _keep(folder: Path, kept: Path) -> None:
    """Copy what was trained into the cache, under a hidden name first, so that what is there is whole."""
    try:
        with atomic_write.folder(kept) as hidden:
            _copy(folder, hidden)
    except OSError:
        if not kept.is_dir():
            raise
        # another call was quicker


def _key(quick: bool, seed: int) -> str:
    """Return a digest of all that decides what is trained: code, recipe, seed, and the libraries' versions."""
    digest = hashlib.sha256(_recipe(quick, seed).encode())
    here, written = Path(__file__).parent, Path(tuples.__file__)
    for file in sorted((*here.glob("*.py"), *Path(recipe.__file__).parent.rglob("*.py"), written)):
        digest.update(file.read_bytes())
    versions = [version(name) for name in ("torch", "transformers", "accelerate", "peft", "tokenizers")]
    digest.update(f"{versions} {torch.cuda.is_available()}".encode())
    return digest.hexdigest()[:32]


def _mark(folder: Path) -> str | None:
    """Return what the mark in `folder` says; None where there is no mark."""
    try:
        return (folder / MARK).read_text(encoding="utf-8")
    except OSError:
        return None


def _clear(folder: Path) -> None:
    """Make `folder` an empty one that bears an empty mark; touch nothing that is not the demo's."""
    if folder.exists() and _mark(folder) is None and not (folder.is_dir() and not any(folder.iterdir())):
        raise HarnessError(f"{folder} holds something else: name an empty or new folder for the demo with --keep")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).write_text("", encoding="utf-8")
        for name in OURS:
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
    except OSError as error:
        raise HarnessError(f"cannot write the demo to {folder} ({error.strerror}): choose another --keep") from error
