"""What is already there of a stage: a finished folder that may be another stage's, or an interrupted training.

Nothing that was trained is overwritten or continued as something else, unless the caller says so (`replace`).

Not here: whether a finished stage is current (`harness.training.family`), and training (`harness.training.stages`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.common import places
from harness.errors import HarnessError
from harness.training import lineage, processes, states
from harness.training.family import Family, settings_of

_PROGRESS = "stage.json"
"""In the hidden folder of an unfinished stage: what it is made from."""


class Existing:
    """What is in the folders of one stage."""

    def __init__(self, family: Family, name: str) -> None:
        self._family, self._name, self._stage = family, name, family.recipe.stages[name]
        self._folder, self._progress = family.folder(name), family.progress(name)

    def require_free(self, *, replace: bool) -> None:
        """Raise HarnessError if training would overwrite another stage, foreign files, or what it starts from."""
        folder, start = self._folder, self._family.reference(self._stage)
        is_foreign = (
            folder.exists()
            and not (folder / lineage.RECORD).is_file()
            and (not folder.is_dir() or any(folder.iterdir()))
        )
        if is_foreign or folder.resolve() == Path(start.path).resolve():
            raise HarnessError(
                f"{folder} holds something other than this stage: rename the stage, or choose another --output"
            )
        if not replace and (conflict := self.conflict()):
            raise HarnessError(conflict)

    def resumes_at(self) -> int:
        """Return the step after which the interrupted training of the stage would be continued; 0 if there is none."""
        is_same = _json(self._progress / _PROGRESS).get("key") == self._family.key(self._name)
        state = states.newest(self._progress) if is_same else None
        return states.step_of(state) if state else 0

    def conflict(self) -> str:
        """Return why a finished stage in the folder would be overwritten; empty if there is none, or it is current."""
        folder = self._folder
        if not (folder / lineage.RECORD).is_file() or self._family.finished(self._name) is not None:
            return ""
        record = lineage.read(folder)
        if record is not None and record.key == self._family.key(self._name):
            return (
                f"the weights or configurations in {folder} are missing, or not those that its training saved: restore "
                "them, or pass --replace to train it anew"
            )
        return (
            f"{folder} was trained from something else than stage {self._name} is now "
            f"({self._family.changes(self._name)}): pass --replace to train it anew, or choose another --output"
        )

    def require_same_progress(self, *, replace: bool) -> None:
        """Raise HarnessError if an interrupted training in the stage's hidden folder is one of other settings."""
        file = self._progress / _PROGRESS
        shared: dict[str, Any] = {f"version of {name}": value for name, value in lineage.versions().items()}
        shared |= {
            "seed": self._family.recipe.seed,
            "threads": self._family.recipe.threads,
            "processes": processes.count(),
        }
        settings: dict[str, Any] = {**settings_of(self._stage), **shared, **self._family.reading(self._stage)}
        key = self._family.key(self._name)
        if self._progress.is_dir() and states.newest(self._progress) is not None:
            before = _json(file)
            changes = lineage.differences(before.get("settings") or {}, settings)
            if before.get("key") != key and not changes:
                changes = ["its data, or the checkpoint it starts from"]
            if not changes:
                return
            if not replace:
                raise HarnessError(
                    f"stage {self._name} was interrupted with other settings ({', '.join(changes[:3])}): restore them "
                    "to continue it, or pass --replace to start it anew"
                )
        shutil.rmtree(self._progress, ignore_errors=True)
        with places.writing(self._progress, "choose another --output"):
            self._progress.mkdir(parents=True)
            file.write_text(json.dumps({"key": key, "settings": settings}, default=str), encoding="utf-8")

    def remove_progress(self, key: str) -> None:
        """Remove the interrupted training, if it is one of the stage with this `key`; others are not ours to lose."""
        if _json(self._progress / _PROGRESS).get("key") in (None, key):
            shutil.rmtree(self._progress, ignore_errors=True)


def _json(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
