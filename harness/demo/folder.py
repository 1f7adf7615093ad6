"""The demo's folder, and the user's cache of trained families of checkpoints.

A trained family is copied to the cache under a key, a digest of everything that decides the result. Any other folder
with the same key gets its family from the cache. A file marks a folder as the demo's, and says whether training there
is finished.

Not here: training, evaluating, or what is shown (`harness.demo.story`).
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import torch

from harness.common import atomic_write, places, resources
from harness.demo import corpora, model
from harness.errors import HarnessError
from harness.metrics.extraction import tuples
from harness.training import recipe

RECIPE = Path(__file__).parent / "recipe.yaml"
QUICK_STEPS = 10
"""A quick demo divides the recipe's number of training steps by this."""

MARK = ".harness-demo"
"""The file that marks a folder as the demo's; it holds the key of the family trained there."""
UNFINISHED = "unfinished "
"""The text that precedes the key in the marking file until the training is finished."""

TRAINED = ("recipe.yaml", "corpora", "checkpoints")
"""The parts of the demo's folder that the cache keeps."""
OWNED = (*TRAINED, "reports", "site")
"""The names of everything that the demo writes to its folder."""


@dataclass(frozen=True)
class DemoFolder:
    """A folder for the demo, with the settings that decide what is trained there."""

    path: Path
    quick: bool
    seed: int
    """Seed of the first weights and of the training order."""

    @property
    def recipe(self) -> Path:
        """The recipe's file."""
        return self.path / "recipe.yaml"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints, one folder per stage."""
        return self.path / "checkpoints"

    @cached_property
    def cached(self) -> Path:
        """The folder in the user's cache for a trained family with this key; it need not exist.

        Raises HarnessError if the user's cache folder cannot be created.
        """
        return resources.cache() / "demo" / self.key

    @cached_property
    def key(self) -> str:
        """A digest of everything that decides what is trained: code, recipe, seed, library versions."""
        digest = hashlib.sha256(self._recipe_text().encode())
        demo, training = Path(__file__).parent, Path(recipe.__file__).parent
        for file in sorted((*demo.glob("*.py"), *training.rglob("*.py"), Path(tuples.__file__))):
            digest.update(file.read_bytes())
        versions = [version(name) for name in ("torch", "transformers", "accelerate", "peft", "tokenizers")]
        digest.update(f"{versions} {torch.cuda.is_available()}".encode())
        return digest.hexdigest()[:32]

    def is_trained(self) -> bool:
        """Return whether the folder has a finished family that was trained with this key."""
        return self._mark() == self.key and self._is_complete()

    def take_from_cache(self) -> None:
        """Replace what the demo wrote to the folder by the family in the cache.

        Raises HarnessError if the folder holds anything that the demo did not write, or cannot be written.
        """
        self._clear()
        try:
            _copy(self.cached, self.path)
        except OSError as error:  # copytree's own error is a list of errors
            reason, advice = error.strerror or "is there space left?", places.advice(error, "choose another --keep")
            raise HarnessError(f"cannot copy {self.cached} to {self.path} ({reason}): {advice}") from error

    def prepare(self) -> None:
        """Write corpora, random weights and recipe, unless the folder has an unfinished training with this key.

        Raises HarnessError if the folder holds anything that the demo did not write, or cannot be written.
        """
        if self._mark() == UNFINISHED + self.key and self._is_complete():
            return
        self._clear()
        try:
            texts = corpora.write(self.path / "corpora")
            model.save(self.checkpoints / "untrained", texts, corpora.words(), self.seed)
            self.recipe.write_text(self._recipe_text(), encoding="utf-8")
        except OSError as error:
            reason, advice = error.strerror or error, places.advice(error, "choose another --keep")
            raise HarnessError(f"cannot write {self.path} ({reason}): {advice}") from error
        (self.path / MARK).write_text(UNFINISHED + self.key, encoding="utf-8")

    def finish(self) -> None:
        """Mark the training as finished."""
        (self.path / MARK).write_text(self.key, encoding="utf-8")

    def copy_to_cache(self) -> None:
        """Copy the trained family to the cache, unless it is already there, or the recipe or corpora were edited.

        Raises OSError if the cache cannot be written.
        """
        if self.cached.is_dir() or not self._is_unedited():
            return
        try:
            with atomic_write.folder(self.cached) as hidden:
                _copy(self.path, hidden)
        except OSError:
            if not self.cached.is_dir():  # else another process was faster
                raise

    def _recipe_text(self) -> str:
        text = re.sub(r"^seed: \d+$", f"seed: {self.seed}", RECIPE.read_text(encoding="utf-8"), flags=re.MULTILINE)
        if not self.quick:
            return text
        return re.sub(r"(max_steps|warmup_steps): (\d+)", lambda m: f"{m[1]}: {max(1, int(m[2]) // QUICK_STEPS)}", text)

    def _is_complete(self) -> bool:
        """Return whether the folder has everything that the recipe starts from."""
        folders = (self.path / "corpora", self.checkpoints / "untrained")
        return self.recipe.is_file() and all(folder.is_dir() for folder in folders)

    def _is_unedited(self) -> bool:
        """Return whether recipe and corpora are as `prepare` writes them."""
        with tempfile.TemporaryDirectory() as name:
            corpora.write(Path(name))
            files = [(self.path / "corpora" / file.name, file) for file in Path(name).iterdir()]
            is_same = all(here.read_bytes() == written.read_bytes() for here, written in files)
        return is_same and self.recipe.read_text(encoding="utf-8") == self._recipe_text()

    def _mark(self) -> str | None:
        """Return the content of the folder's marking file, or None if there is no such file."""
        try:
            return (self.path / MARK).read_text(encoding="utf-8")
        except OSError:
            return None

    def _clear(self) -> None:
        """Create the folder if missing, remove folders in it that the demo wrote, and write an empty marking file."""
        folder = self.path
        if folder.exists() and self._mark() is None and not (folder.is_dir() and not any(folder.iterdir())):
            raise HarnessError(f"{folder} holds something else: name an empty or new folder for the demo with --keep")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / MARK).write_text("", encoding="utf-8")
            for name in OWNED:
                if (folder / name).is_dir():
                    shutil.rmtree(folder / name)
        except OSError as error:
            advice = places.advice(error, "choose another --keep")
            raise HarnessError(f"cannot write the demo to {folder} ({error.strerror}): {advice}") from error


def _copy(source: Path, target: Path) -> None:
    for name in TRAINED:
        (shutil.copytree if (source / name).is_dir() else shutil.copy)(source / name, target / name)
