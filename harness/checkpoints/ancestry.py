"""What a trained checkpoint records of its origin (`training.json`), and whether its base is still that one.

A base that was trained anew under the same name would answer with an adapter that was made for the old one.

Not here: writing the record (`harness.training.lineage`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.checkpoints import identity
from harness.common import hashes, safe_load
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.checkpoints.located import Located

RECORD = "training.json"
"""The file that a finished training leaves in the folder of its checkpoint."""


def record(folder: Path) -> dict[str, Any] | None:
    """Return the record of the training that made the checkpoint in `folder`, or None if there is none to be read."""
    try:
        content = safe_load.json_file(folder / RECORD)
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def trained_on(folder: Path) -> str | None:
    """Return the fingerprint of the base on which the adapter in `folder` was trained; None if it records none."""
    content = record(folder) or {}
    value = content.get("base_fingerprint")
    return value if isinstance(value, str) else None


def require_same_base(located: Located, sha256: identity.Sha256 = hashes.sha256) -> None:
    """Raise HarnessError if the adapter of `located` records another base than the one it would be put on.

    `allow_other_base=true` in the reference allows it.
    """
    if located.adapter is None or located.reference.allow_other_base:
        return
    expected = trained_on(located.adapter)
    if expected is not None and expected != identity.base_fingerprint(located, sha256):
        raise HarnessError(
            f"adapter {located.adapter} was trained on other weights than those in {located.base} now: train it again, "
            "name its own base before adapter=, or write allow_other_base=true to evaluate it nevertheless"
        )
