"""The states of an unfinished training: folders `checkpoint-STEP`, of which the one with the most steps is continued.

A state holds what learns, the optimizer's, the schedule's and the random numbers' states, the loss of each step so far,
and the hashes of all these. transformers' own record is written last, so a folder that has a readable one is complete.
What is then no longer as it was written is damage, from which no training is continued in silence.

Not here: writing and reading the tensors (`harness.training.loop`).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from harness.common import hashes, safe_load
from harness.errors import HarnessError

LEARNED, LOSSES, STATE = "learned.safetensors", "losses.json", "trainer_state.json"
"""Files of a saved state: the weights that learn, the loss of each step, and transformers' own record."""
SUMS = "sha256.json"
"""The file of a saved state with the hashes of the others, except transformers' own record."""
_PREFIX = "checkpoint-"


def folder_of(step: int, folder: Path) -> Path:
    """Return the folder of the state after `step`."""
    return folder / f"{_PREFIX}{step}"


def step_of(state: Path) -> int:
    """Return after which step `state` was saved; -1 if its name states none."""
    number = state.name.removeprefix(_PREFIX)
    return int(number) if number.isdecimal() else -1


def newest(folder: Path) -> Path | None:
    """Return the newest complete state in `folder`, or None; newer ones that were left half-written are removed.

    Raises HarnessError if a file of that state is damaged or missing.
    """
    states = sorted((path for path in folder.glob(f"{_PREFIX}*") if path.is_dir()), key=step_of, reverse=True)
    for state in states:
        try:
            safe_load.json_file(state / STATE)
            losses(state)
            _require_whole(state)
            return state
        except (FileNotFoundError, ValueError):  # what the system refuses to read is no reason to begin anew
            shutil.rmtree(state, ignore_errors=True)
    return None


def seal(state: Path) -> None:
    """Record the hashes of all files of `state` so far. Raises OSError."""
    sums = {
        path.relative_to(state).as_posix(): hashes.sha256(path) for path in sorted(state.rglob("*")) if path.is_file()
    }
    (state / SUMS).write_text(json.dumps(sums, indent=1), encoding="utf-8")


def _require_whole(state: Path) -> None:
    """Raise FileNotFoundError or ValueError if `state` was not sealed, and HarnessError if a file of it changed."""
    sums = safe_load.json_file(state / SUMS)
    if not isinstance(sums, dict):
        raise ValueError("it is no mapping of files to hashes")
    for name, sha256 in sums.items():
        file = state / str(name)
        if not file.is_file() or hashes.sha256(file) != sha256:
            kind = "damaged" if file.is_file() else "missing"
            raise HarnessError(
                f"{file} is {kind}, so the training cannot be continued from it: restore the file, or remove the "
                f"folder {state} to continue from an older state or to start anew"
            )


def losses(state: Path) -> list[float]:
    """Return the losses of the steps before `state`. Raises OSError or ValueError if it is half-written."""
    content = safe_load.json_file(state / LOSSES)
    if not isinstance(content, list) or not all(type(loss) in (int, float) for loss in content):
        raise ValueError("it is no list of numbers")
    return [float(loss) for loss in content]
