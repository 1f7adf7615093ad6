"""The index of a checkpoint's weights: the files that it names, which lie in its own folder.

An index comes with a checkpoint from others, so a name in it may lead anywhere. A link in the folder may too, but a
person or a tool made it on this machine: the hub's cache, DVC and git-annex keep files as links into a store of theirs.

Not here: whether the files are complete (`harness.checkpoints.files`).
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from harness.checkpoints.limits import shown
from harness.errors import HarnessError

SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.(safetensors|bin)")
"""Name of one of several files of weights."""
_FILES = 10_000
"""Largest number of files that an index may name."""


def named_files(listing: Path, content: dict[str, Any]) -> list[Path]:
    """Return the weight files that the index `listing` names, in name order. `content` is what `listing` contains.

    Raises HarnessError if the index names no file, a file outside its folder, something else than weights, or fewer
    files than their names say there are.
    """
    index = content.get("weight_map")
    if not isinstance(index, dict) or not index or not all(isinstance(name, str) for name in index.values()):
        raise HarnessError(f"{listing} has no weight_map that names files: fetch or save the checkpoint again")
    names = sorted(set(index.values()))
    if len(names) > _FILES:
        raise HarnessError(f"{listing} names {len(names):,} files, more than {_FILES:,}: fetch or save it again")
    suffix = ".safetensors" if listing.name.endswith(".safetensors.index.json") else ".bin"
    for name in names:
        require_inside(listing, name)
        if not name.endswith(suffix):
            raise HarnessError(
                f"{listing} names {shown(name)}, which is not a file of weights (*{suffix}): fetch or save the "
                "checkpoint again"
            )
    files = [listing.parent / name for name in names]
    _require_all_shards(listing, files)
    return files


def require_inside(file: Path, name: str) -> None:
    """Raise HarnessError if `name`, which stands in `file`, leads out of the folder of `file`."""
    if not _is_inside(name):
        raise HarnessError(
            f"{file} names {shown(name)}, which is not a file in its folder: fetch or save the checkpoint again"
        )


def _is_inside(name: str) -> bool:
    """Return whether a file called `name` lies in a folder or its subfolders, whatever the operating system."""
    parts = PurePosixPath(name).parts
    is_plain = name.isprintable() and "\\" not in name and ":" not in name and all(len(part) <= 255 for part in parts)
    return is_plain and bool(parts) and not name.startswith(("/", "~")) and ".." not in parts and len(parts) <= 8


def _require_all_shards(listing: Path, files: list[Path]) -> None:
    """Raise HarnessError if the index `listing` names fewer shards than the shards' names say there are."""
    shards = [match for match in (SHARD.fullmatch(file.name) for file in files) if match]
    total = max((int(shard[3]) for shard in shards), default=0)
    if shards and len(shards) < total:
        raise HarnessError(
            f"{listing} lists {len(shards)} of {total} shards ({shards[0][0]}{', …' if len(shards) > 1 else ''}): "
            "fetch or save the checkpoint again"
        )
