"""Which task definitions there are: names, groups, tags and globs over folders of lm-eval YAML.

Not here: building a task, or its data (`harness.tasks.catalogue`).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.tasks.yaml_files import Reader

Index = dict[str, Any]
"""Name → lm-eval's index entry."""


def read(folders: Iterable[Path]) -> Index:
    """Return the index of `folders`; of two definitions of a name the later folder's counts.

    It is the one that lm-eval's `TaskManager` makes of them, at a third of the time.
    """
    from lm_eval.tasks._index import TaskIndex

    found: Index = {}
    reader = Reader(functions=False)
    for folder in folders:
        inside: Index = {}
        for file in TaskIndex._iter_yaml_files(folder):
            try:
                TaskIndex.process_cfg(reader.read(file), file, inside)
            except Exception:  # lm-eval passes over whatever defines nothing; what a person included is checked
                continue
        found |= inside
    return found


def require_readable(folder: Path) -> None:
    """Raise HarnessError naming the first YAML below `folder` that lm-eval would silently pass over as unreadable."""
    from lm_eval.tasks._yaml_loader import load_yaml

    for file in sorted(folder.rglob("*.yaml")):
        try:
            load_yaml(file, resolve_func=False)
        except Exception as error:
            text = " ".join(str(error).split()) or type(error).__name__
            raise HarnessError(f"{file} cannot be read ({text[:300]}): correct it") from error


def beginning(name: str) -> Index:
    """Return an index of the lm-eval folders that the fixed beginning of a glob leads to, or else of its whole tree."""
    stem = re.split(r"[*?\[_-]", name)[0]
    near = [folder for folder in lm_eval_folder().glob(f"{stem}*") if folder.is_dir()] if stem else []
    index = read(near)
    return index if fnmatch.filter(index, name) else read([lm_eval_folder()])


def near(name: str) -> list[Path]:
    """Return the folders of lm-eval's that `name` is likely to be defined in."""
    root = lm_eval_folder()
    first = root / name.replace("-", "_").split("_")[0]
    return [first] if first.is_dir() else sorted(folder for folder in root.glob(f"*/{name}") if folder.is_dir())


def lm_eval_folder() -> Path:
    """Return the folder of lm-eval's own tasks."""
    import lm_eval

    return Path(str(lm_eval.__file__)).parent / "tasks"


def members(entry: Any) -> Iterator[str]:
    """Yield the direct members of a group or tag."""
    if entry.kind.name == "TAG":
        yield from sorted(entry.tags)
    elif entry.kind.name == "GROUP":
        for member in (entry.cfg or {}).get("task") or []:
            yield str(member if isinstance(member, str) else member.get("task") or member.get("group"))


def complete(names: Iterable[str], index: Index) -> bool:
    """Tell whether every one of `names` is in `index`, and so is every member below it."""
    return not list(missing(names, index))


def missing(names: Iterable[str], index: Index) -> Iterator[str]:
    """Yield every one of `names`, and of the members below them, that is not in `index`."""
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in index:
            waiting += members(index[name])
        else:
            yield name


def leaves(name: str, index: Index) -> list[str]:
    """Return the single tasks below `name`, in order, each once."""
    found: dict[str, None] = {}
    waiting, seen = [name], set()
    while waiting:
        one = waiting.pop(0)
        if one in seen or one not in index:
            continue
        seen.add(one)
        if index[one].kind.name in ("TASK", "PY_TASK"):
            found[one] = None
        waiting = [*members(index[one]), *waiting]
    return list(found)
