"""The states of an unfinished training: folders `checkpoint-STEP`, of which the one with the most steps is continued.

A state holds what learns, the optimizer's, the schedule's and the random numbers' states, and the loss of each step so
far. transformers' own record is written last, so a folder that has a readable one is complete.

Not here: writing and reading the tensors (`harness.training.loop`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.common import safe_load

LEARNED, LOSSES, STATE = "learned.safetensors", "losses.json", "trainer_state.json"
"""Files of a saved state: the weights that learn, the loss of each step, and transformers' own record."""
_PREFIX = "checkpoint-"


def folder_of(step: int, folder: Path) -> Path:
    """Return the folder of the state after `step`."""
    return folder / f"{_PREFIX}{step}"


def step_of(state: Path) -> int:
    """Return after which step `state` was saved; -1 if its name states none."""
    number = state.name.removeprefix(_PREFIX)
    return int(number) if number.isdecimal() else -1


def newest(folder: Path) -> Path | None:
    """Return the newest complete state in `folder`, or None; newer ones that were left half-written are removed."""
    states = sorted((path for path in folder.glob(f"{_PREFIX}*") if path.is_dir()), key=step_of, reverse=True)
    for state in states:
        try:
            safe_load.json_file(state / STATE)
            losses(state)
            return state
        except (FileNotFoundError, ValueError):  # what the system refuses to read is no reason to begin anew
            shutil.rmtree(state, ignore_errors=True)
    return None


def losses(state: Path) -> list[float]:
    """Return the losses of the steps before `state`. Raises OSError or ValueError if it is half-written."""
    content = safe_load.json_file(state / LOSSES)
    if not isinstance(content, list) or not all(type(loss) in (int, float) for loss in content):
        raise ValueError("it is no list of numbers")
    return [float(loss) for loss in content]
