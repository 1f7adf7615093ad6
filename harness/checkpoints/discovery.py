"""What a training run leaves behind: every checkpoint of it, who wrote it, and where its base is to be had.

    out/checkpoint-*                    all its checkpoints, in step order
    out/base,adapter=out/checkpoint-*   the same, of adapters put on a base by name

Recognised are folders as LLaMA-Factory, ms-swift, TRL, transformers' Trainer and PEFT's `save_pretrained` write them.
Nothing here reads a weight, executes a pickle or asks the network.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from harness.checkpoints import files
from harness.checkpoints.reference import STEP_FOLDER, CheckpointReference
from harness.errors import HarnessError

_UNFINISHED = "tmp-"  # transformers before 4.46 saved into tmp-checkpoint-N and renamed that in the end


def expand(references: Iterable[CheckpointReference]) -> list[CheckpointReference]:
    """Return `references` with each pattern (`*`, `?`, `[`) replaced by the folders it matches, every name its own.

    A pattern stands in the path or in `adapter=`; a folder of that very name comes first. Matches are in natural
    order, checkpoint-9 before checkpoint-100; files and unfinished saves are passed over. Of several matches,
    `name=X` becomes X-300 and so on. What is named twice, in whatever spelling of its path, comes once.
    Raises HarnessError on a pattern without a match, and on two checkpoints that were given the same name.
    """
    found: dict[CheckpointReference, CheckpointReference] = {}
    for one in (match for reference in references for match in _matches(reference)):
        found.setdefault(replace(one, path=_real(one.path) or one.path, adapter=_real(one.adapter)), one)
    return _told_apart(list(found.values()))


def _real(path: str | None) -> str | None:
    """Return the one spelling of a path that is here, and anything else as it is."""
    return str(Path(path).expanduser().resolve()) if path is not None and files.exists(path) else path


def _matches(reference: CheckpointReference) -> list[CheckpointReference]:
    patterns = [key for key in ("path", "adapter") if _is_pattern(getattr(reference, key))]
    if not patterns:
        return [reference]
    if len(patterns) > 1:
        raise HarnessError(f"'{reference}' has a pattern in its path and in adapter=: write one of them out")
    key = patterns[0]
    folders = _folders(getattr(reference, key))
    found = [replace(reference, path=x) if key == "path" else replace(reference, adapter=x) for x in folders]
    if reference.name is None or len(found) == 1:
        return found
    ends = _different(lambda depth: [_end(folder, depth) for folder in folders], max(map(_depth, folders)))
    return [replace(one, name=f"{reference.name}-{end}") for one, end in zip(found, ends or folders, strict=True)]


def _is_pattern(path: str | None) -> bool:
    return path is not None and glob.has_magic(path) and not files.exists(path)


def _folders(pattern: str) -> list[str]:
    matches = [match.rstrip("/") for match in glob.glob(os.path.expanduser(pattern), recursive=True)]  # noqa: PTH111, PTH207 - as typed: Path drops a leading ./
    found = [match for match in matches if Path(match).is_dir() and not Path(match).name.startswith(_UNFINISHED)]
    if not found:
        raise HarnessError(f"no folder matches '{pattern}': {_instead(pattern, matches)}")
    # A link such as `latest` beside what it leads to is the same checkpoint.
    plain = {Path(match).resolve() for match in found if not Path(match).is_symlink()}
    once = [match for match in found if not Path(match).is_symlink() or Path(match).resolve() not in plain]
    return sorted(once, key=_natural)


def _natural(path: str) -> list[list[Any]]:
    """Return a key that sorts numbers as numbers, in every part of the path."""
    return [[int(x) if x.isdecimal() else x for x in re.split(r"(\d+)", part)] for part in Path(path).parts]


def _instead(pattern: str, matches: Sequence[str]) -> str:
    """Say what is there in place of a folder that matches."""
    if matches:
        return f"only files and unfinished saves do ({_listed(Path(match).name for match in matches)}); check the path"
    parts = Path(os.path.expanduser(pattern)).parts  # noqa: PTH111 - leaves the home of nobody as it is
    literal = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    parent = Path(*parts[:literal])
    if not os.path.isdir(parent):  # noqa: PTH112 - False for a name too long for a file system
        return f"there is no folder {parent}, and models on the hub have no patterns; check the path"
    try:
        inside = [entry.name for entry in parent.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        return f"{parent} cannot be read ({error.strerror}); check the path"
    if not inside:
        return f"{parent} is empty; check the path"
    deeper = Path(parent, "*", *parts[literal:])
    if glob.glob(str(deeper)):  # noqa: PTH207
        return f"'{deeper}' does; {parent} holds {_listed(inside)}"
    return f"{parent} holds {_listed(inside)}; check the pattern"


def _listed(names: Iterable[str], most: int = 6) -> str:
    ordered = sorted(names, key=_natural)
    return ", ".join(ordered[:most]) + (f" and {len(ordered) - most:,} more" if len(ordered) > most else "")


def _told_apart(references: list[CheckpointReference]) -> list[CheckpointReference]:
    """Give each reference a label of its own: more of its path, or the keys in which it differs."""
    found = list(references)
    for label, count in Counter(one.label for one in references).items():
        if count == 1:
            continue
        same = [place for place, one in enumerate(found) if one.label == label]
        free = [place for place in same if found[place].name is None]
        named = [found[place] for place in same if found[place].name is not None]
        taken = {one.label for place, one in enumerate(found) if place not in free}
        names = _names([found[place] for place in free], taken) if len(named) < 2 else None
        if names is None:
            one, other = (named if len(named) > 1 else [found[place] for place in same])[:2]
            raise HarnessError(f"'{one}' and '{other}' are both called '{label}': give each a name= of its own")
        for place, name in zip(free, names, strict=True):
            found[place] = found[place] if name == label else replace(found[place], name=name)
    return found


def _names(references: list[CheckpointReference], taken: set[str]) -> list[str] | None:
    """Return names for `references`, which have one label, that are all different and not taken; None if none are."""
    keys = [f for f in fields(CheckpointReference) if f.name not in ("name", "path", "adapter", "quantize")]
    differ = [f for f in keys if len({getattr(one, f.name) for one in references}) > 1]

    def name(one: CheckpointReference, depth: int) -> str:
        ends = [_end(part, depth, whole=True) for part in (one.path, one.adapter) if part]
        given = [(f.name, value) for f in differ if (value := getattr(one, f.name)) != f.default]
        said = [{True: key, False: f"{key}=false"}[value] if isinstance(value, bool) else value for key, value in given]
        return "+".join(map(str, [*ends, *([one.quantize] if one.quantize else []), *said]))

    deepest = max(_depth(part) for one in references for part in (one.path, one.adapter) if part)
    return _different(lambda depth: [name(one, depth) for one in references], deepest, taken)


def _different(names: Callable[[int], list[str]], deepest: int, taken: Iterable[str] = ()) -> list[str] | None:
    """Return the shortest names, by how many parts of a path they take, that are all different and not taken."""
    for depth in range(1, deepest + 1):
        found = names(depth)
        if len(set(found)) == len(found) and not set(found) & set(taken):
            return found
    return None


def _depth(path: str) -> int:
    return len(_parts(path))


def _parts(path: str) -> list[str]:
    return list(Path(path).expanduser().resolve().parts[1:]) if files.exists(path) else path.split("/")


def _end(path: str, depth: int, *, whole: bool = False) -> str:
    """Return the last `depth` parts of `path` as a name; a checkpoint-300 is a 300 unless `whole`, and then has run."""
    parts = _parts(path)
    step = STEP_FOLDER.fullmatch(parts[-1])
    if step and whole:
        depth += 1  # as a label has it: checkpoint-300 alone names every training run's
    last = parts[-1] if whole or not step else step[1]
    return "-".join([*parts[-depth:-1], last])
