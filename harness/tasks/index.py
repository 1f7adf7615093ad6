"""The index of task definitions: names, groups and tags in folders of lm-eval YAML.

Not here: building a task or finding its data (`harness.tasks.catalogue`).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness.common import places
from harness.errors import HarnessError
from harness.tasks.yaml_files import Reader, stamp

Index = dict[str, Any]
"""Name of a task, group or tag → lm-eval's index entry."""
_KEPT_FOLDERS = 32


class _Snapshot(NamedTuple):
    """What a folder of YAML defines; valid as long as no file that was read for it changes."""

    files: list[Path]
    stamps: dict[Path, tuple[int, ...]]
    """Each of `files`, and each file that these include → its size, times and inode before it was read."""
    entries: Index


_snapshots: dict[Path, _Snapshot] = {}
"""The snapshots of the most recently read folders, by the folders' absolute paths."""


def read(folders: Iterable[Path]) -> Index:
    """Return the index of `folders`; a later folder's definition of a name replaces an earlier one's.

    The index equals the one that lm-eval's `TaskManager` builds, but takes a third of the time. A folder whose files
    have not changed since the last call is not read again. Its entries are then the same objects as before, so they
    must not be changed.
    """
    index: Index = {}
    for folder in folders:
        index |= _entries(folder)
    return index


def _entries(folder: Path) -> Index:
    """Return the index of one folder, from the last call if no file that was read for it has changed."""
    from lm_eval.tasks._index import TaskIndex

    files = list(TaskIndex._iter_yaml_files(folder))
    snapshot = _snapshots.pop(folder.absolute(), None)
    if snapshot is None or snapshot.files != files or any(stamp(file) != was for file, was in snapshot.stamps.items()):
        reader = Reader(functions=False)
        entries: Index = {}
        stamps = {file: stamp(file) for file in files}
        for file in files:
            try:
                TaskIndex.process_cfg(reader.read(file), file, entries)
            except Exception:  # lm-eval skips files that define nothing; `require_readable` checks a user's own
                continue
        snapshot = _Snapshot(files, stamps | reader.stamps, entries)
    _snapshots[folder.absolute()] = snapshot  # last, so that the first is the one not used for longest
    if len(_snapshots) > _KEPT_FOLDERS:
        del _snapshots[next(iter(_snapshots))]
    return snapshot.entries


def require_readable(folder: Path) -> None:
    """Raise HarnessError naming the first YAML file below `folder` that lm-eval would silently skip as unreadable."""
    reader = Reader(functions=False)
    places.files_below(folder)  # raises HarnessError: rglob passes over folders that may not be read
    for file in sorted(folder.rglob("*.yaml")):
        try:
            reader.read(file)
        except Exception as error:
            text = " ".join(str(error).split()) or type(error).__name__
            raise HarnessError(f"{file} cannot be read ({text[:300]}): correct it") from error


def read_for_glob(pattern: str) -> Index:
    """Return an index of the tasks that `pattern` may match.

    It covers the lm-eval folders whose names begin like `pattern` up to its first wildcard, `_` or `-`. If nothing in
    these folders matches, it covers all folders.
    """
    stem = re.split(r"[*?\[_-]", pattern)[0]
    folders = [folder for folder in lm_eval_folder().glob(f"{stem}*") if folder.is_dir()] if stem else []
    index = read(folders)
    return index if fnmatch.filter(index, pattern) else read([lm_eval_folder()])


def folders_near(name: str) -> list[Path]:
    """Return the lm-eval folders that are likely to define `name`."""
    root = lm_eval_folder()
    first = root / name.replace("-", "_").split("_")[0]
    return [first] if first.is_dir() else sorted(folder for folder in root.glob(f"*/{name}") if folder.is_dir())


def lm_eval_folder() -> Path:
    """Return the folder of lm-eval's own tasks."""
    import lm_eval

    return Path(str(lm_eval.__file__)).parent / "tasks"


def members(entry: Any) -> Iterator[str]:
    """Yield the direct members of a group or tag; a single task has none."""
    if entry.kind.name == "TAG":
        yield from sorted(entry.tags)
    elif entry.kind.name == "GROUP":
        for member in (entry.cfg or {}).get("task") or []:
            yield str(member if isinstance(member, str) else member.get("task") or member.get("group"))


def is_complete(names: Iterable[str], index: Index) -> bool:
    """Return whether `index` has all of `names` and all tasks and groups below them."""
    return not list(missing(names, index))


def missing(names: Iterable[str], index: Index) -> Iterator[str]:
    """Yield each name that `index` lacks, among `names` and the tasks and groups below them."""
    waiting, visited = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in visited:
            continue
        visited.add(name)
        if name in index:
            waiting += members(index[name])
        else:
            yield name


def leaves(name: str, index: Index) -> list[str]:
    """Return the single tasks below `name`, each once, in the order of their groups."""
    tasks: dict[str, None] = {}
    waiting, visited = [name], set()
    while waiting:
        member = waiting.pop(0)
        if member in visited or member not in index:
            continue
        visited.add(member)
        if index[member].kind.name in ("TASK", "PY_TASK"):
            tasks[member] = None
        waiting = [*members(index[member]), *waiting]
    return list(tasks)
