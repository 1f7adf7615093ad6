"""What a trained checkpoint records of its origin (`training.json`), and whether its base is still that one.

A base that was trained anew under the same name would answer with an adapter that was made for the old one.

The record may come from others. It is read within limits, and none of it is believed but two values: a digest, which is
only compared, and the place of a base below or beside the checkpoint, which is only a place to look.

Not here: writing the record (`harness.training.lineage`).
"""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from harness.checkpoints import identity
from harness.common import hashes, safe_load
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.checkpoints.located import Located

RECORD = "training.json"
"""The file that a finished training leaves in the folder of its checkpoint."""
BYTES = 8 << 20
"""Largest size of a record in bytes: one of 100 corpora and 1,000 evaluations has about 300 kB."""
_PARTS = 32
"""Largest number of parts of a recorded path."""


def record(folder: Path) -> dict[str, Any] | None:
    """Return the record of the training that made the checkpoint in `folder`, or None if there is none to be read."""
    file = folder / RECORD
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > BYTES:
            return None
        content = safe_load.json_file(file)
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def trained_on(folder: Path) -> str | None:
    """Return the fingerprint of the base on which the adapter in `folder` was trained; None if it records none."""
    content = record(folder) or {}
    value = content.get("base_fingerprint")
    return value if isinstance(value, str) else None


def recorded_base(folder: Path) -> str | None:
    """Return the recorded path of an adapter's base, relative to `folder`, if the base is there; else None.

    Only a path from the folder upwards and then downwards counts, as `harness train` writes it: no absolute path, and
    no `..` behind a name, which a link could lead elsewhere.
    """
    value = (record(folder) or {}).get("base")
    if not isinstance(value, str) or not value or "\0" in value or "\\" in value:
        return None
    parts = PurePosixPath(value).parts
    names = [part for part in parts if part != ".."]
    is_upwards_first = list(parts) == [".."] * (len(parts) - len(names)) + names
    if value.startswith(("/", "~")) or not is_upwards_first or len(parts) > _PARTS:
        return None
    try:
        return value if (folder.resolve() / value).exists() else None
    except (OSError, RuntimeError):  # too long for a file system, or links in a circle
        return None


def differs(located: Located, sha256: identity.Sha256 = hashes.sha256) -> bool:
    """Return whether the adapter of `located` records another base than the one that it is put on."""
    expected = None if located.adapter is None else trained_on(located.adapter)
    return expected is not None and expected != identity.content_of_base(located.base, sha256)


def is_known(located: Located, sha256: identity.Sha256 = hashes.sha256) -> bool:
    """Return whether the adapter of `located` records the place or the content of the base that it is put on."""
    if located.adapter is None or trained_on(located.adapter) is None:
        return False
    return located.base_name == recorded_base(located.adapter) or not differs(located, sha256)


def require_same_base(located: Located, sha256: identity.Sha256 = hashes.sha256) -> None:
    """Raise HarnessError if the adapter of `located` records another base than the one that it is put on.

    `allow_other_base=true` in the reference allows it.
    """
    if not located.reference.allow_other_base and differs(located, sha256):
        raise HarnessError(
            f"adapter {located.adapter} was trained on other weights than those in {located.base} now: train it again, "
            "name its own base before adapter=, or write allow_other_base=true to evaluate it nevertheless"
        )


def remarks(located: Located, sha256: identity.Sha256 = hashes.sha256) -> list[str]:
    """Return what deserves a second look about the record of an adapter, as sentences."""
    if located.adapter is None:
        return []
    if differs(located, sha256):
        return [
            f"the adapter was trained on other weights than those of {located.base_name}, which allow_other_base=true "
            "accepts"
        ]
    file = located.adapter / RECORD
    if (file.is_symlink() or file.exists()) and trained_on(located.adapter) is None:
        return [f"the adapter's {RECORD} cannot be read or names no base, so its base is not compared with it"]
    return []
