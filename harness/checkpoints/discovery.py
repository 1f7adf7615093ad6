"""Expand patterns in references into the checkpoints that they match, and give every checkpoint a unique name.

    out/checkpoint-*                    all checkpoints of a training, in step order
    out/base,adapter=out/checkpoint-*   the same for adapters, on the base out/base

Only folder names are read. Not here: who saved a folder (`harness.checkpoints.origin`).
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path

from harness.checkpoints import files, gguf
from harness.checkpoints.reference import STEP_FOLDER, CheckpointReference
from harness.common import paths, places
from harness.errors import HarnessError

MOST_LISTED = 6
"""Number of names that an error message lists before it counts the rest."""
_UNFINISHED = "tmp-"  # transformers before 4.46 saved into tmp-checkpoint-N and renamed it at the end


@places.explaining()
def expand(references: Iterable[CheckpointReference]) -> list[CheckpointReference]:
    """Return `references` with each pattern (`*`, `?`, `[`) replaced by the folders that match it.

    A pattern may be in the path or in `adapter=`; a folder whose name is the pattern itself takes precedence. Matches
    are in natural order (checkpoint-9 before checkpoint-100), without unfinished saves and without files other than
    GGUF. If there are several matches, `name=X` becomes X-300 and so on. A checkpoint that is named twice occurs once,
    even if its path is spelled in different ways. Every label is unique. Raises HarnessError on a pattern without a
    match, and on two checkpoints with the same name=.
    """
    unique: dict[CheckpointReference, CheckpointReference] = {}
    for match in chain.from_iterable(map(_matches, references)):
        key = replace(match, path=_resolved(match.path) or match.path, adapter=_resolved(match.adapter))
        unique.setdefault(key, match)
    return _with_unique_labels(list(unique.values()))


def require_one(reference: CheckpointReference) -> None:
    """Raise HarnessError if `reference` is a pattern that matches several checkpoints."""
    count = len(expand([reference]))
    if count > 1:
        raise HarnessError(f"{reference} is {count} checkpoints, but only one can be evaluated here: name one of them")


def _resolved(path: str | None) -> str | None:
    """Return the absolute path of a folder that exists, and anything else unchanged."""
    return str(Path(path).expanduser().resolve()) if path is not None and files.exists(path) else path


# --- patterns


def _matches(reference: CheckpointReference) -> list[CheckpointReference]:
    """Return a reference for each match of the pattern in `reference`; `reference` itself if it has no pattern."""
    keys = [key for key in ("path", "adapter") if _is_pattern(getattr(reference, key))]
    if not keys:
        return [reference]
    if len(keys) > 1:
        raise HarnessError(f"'{reference}' has a pattern in its path and in adapter=: write one of them out")
    is_path = keys[0] == "path"
    folders = _folders(getattr(reference, keys[0]))
    matches = [replace(reference, path=f) if is_path else replace(reference, adapter=f) for f in folders]
    if reference.name is None or len(matches) == 1:
        return matches
    ends = _shortest_unique(lambda depth: [_end(folder, depth) for folder in folders], max(map(_depth, folders)))
    names = [f"{reference.name}-{end}" for end in ends or folders]
    return [replace(match, name=name) for match, name in zip(matches, names, strict=True)]


def _is_pattern(path: str | None) -> bool:
    return path is not None and glob.has_magic(path) and not files.exists(path)


def _folders(pattern: str) -> list[str]:
    """Return the folders and GGUF files that match `pattern`, in natural order.

    Raises HarnessError if there are none.
    """
    matches = [match.rstrip("/") for match in paths.matching(pattern)]
    folders = [match for match in matches if _is_checkpoint(Path(match))]
    if not folders:
        raise HarnessError(f"no folder matches '{pattern}': {_contents_instead(pattern, matches)}")
    # A link such as `latest` beside its target is the same checkpoint.
    targets = {Path(folder).resolve() for folder in folders if not Path(folder).is_symlink()}
    unique = [folder for folder in folders if not Path(folder).is_symlink() or Path(folder).resolve() not in targets]
    return sorted(unique, key=_natural_key)


def _is_checkpoint(path: Path) -> bool:
    return (path.is_dir() and not path.name.startswith(_UNFINISHED)) or gguf.is_gguf(path)


def _natural_key(path: str) -> list[list[int | str]]:
    """Return a key that sorts numbers as numbers, in every part of `path`."""
    return [[int(x) if x.isdecimal() else x for x in re.split(r"(\d+)", part)] for part in Path(path).parts]


def _contents_instead(pattern: str, matches: Sequence[str]) -> str:
    """Return what exists in place of a folder that matches `pattern`, as the second part of an error message."""
    if matches:
        names = _listed(Path(match).name for match in matches)
        return f"only files and unfinished saves do ({names}); check the path"
    parts = Path(os.path.expanduser(pattern)).parts  # noqa: PTH111 - leaves `~` alone if there is no such user
    first_magic = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    parent = Path(*parts[:first_magic])
    if not os.path.isdir(parent):  # noqa: PTH112 - False for a name that is too long for a file system
        return f"there is no folder {parent}, and models on the hub have no patterns; check the path"
    try:
        names_inside = [entry.name for entry in parent.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        return f"{parent} cannot be read ({error.strerror}); check the path"
    if not names_inside:
        return f"{parent} is empty; check the path"
    deeper = Path(parent, "*", *parts[first_magic:])
    if glob.glob(str(deeper)):  # noqa: PTH207
        return f"'{deeper}' does; {parent} holds {_listed(names_inside)}"
    return f"{parent} holds {_listed(names_inside)}; check the pattern"


def _listed(names: Iterable[str]) -> str:
    """Return the first `MOST_LISTED` names in natural order, and the number of the others."""
    ordered = sorted(names, key=_natural_key)
    more = f" and {len(ordered) - MOST_LISTED:,} more" if len(ordered) > MOST_LISTED else ""
    return ", ".join(ordered[:MOST_LISTED]) + more


# --- names


def _with_unique_labels(references: list[CheckpointReference]) -> list[CheckpointReference]:
    """Return `references`, named so that all labels are unique: by more of the path, or by the keys that differ.

    Raises HarnessError if that is impossible, such as for two references with the same name=.
    """
    result = list(references)
    for label, count in Counter(reference.label for reference in references).items():
        if count == 1:
            continue
        indices = [index for index, reference in enumerate(result) if reference.label == label]
        unnamed_indices = [index for index in indices if result[index].name is None]
        named_references = [result[index] for index in indices if result[index].name is not None]
        taken = {reference.label for index, reference in enumerate(result) if index not in unnamed_indices}
        unnamed_references = [result[index] for index in unnamed_indices]
        names = _unique_names(unnamed_references, taken) if len(named_references) < 2 else None
        if names is None:
            clashing = named_references if len(named_references) > 1 else [result[index] for index in indices]
            first, second = clashing[:2]
            raise HarnessError(f"'{first}' and '{second}' are both called '{label}': give each a name= of its own")
        for index, name in zip(unnamed_indices, names, strict=True):
            result[index] = result[index] if name == label else replace(result[index], name=name)
    return result


def _unique_names(references: list[CheckpointReference], taken: set[str]) -> list[str] | None:
    """Return unique names, none of them `taken`, for `references` that share a label; None if impossible."""
    keys = [f for f in fields(CheckpointReference) if f.name not in ("name", "path", "adapter", "quantize")]
    different = [f for f in keys if len({getattr(reference, f.name) for reference in references}) > 1]

    def name(reference: CheckpointReference, depth: int) -> str:
        ends = [_end(path, depth, keep_run=True) for path in (reference.path, reference.adapter) if path]
        values = [(f.name, v) for f in different if (v := getattr(reference, f.name)) != f.default]
        settings = [{True: key, False: f"{key}=false"}[v] if isinstance(v, bool) else str(v) for key, v in values]
        return "+".join([*ends, *([reference.quantize] if reference.quantize else []), *settings])

    deepest = max(_depth(path) for reference in references for path in (reference.path, reference.adapter) if path)
    return _shortest_unique(lambda depth: [name(reference, depth) for reference in references], deepest, taken)


def _shortest_unique(names: Callable[[int], list[str]], deepest: int, taken: Iterable[str] = ()) -> list[str] | None:
    """Return `names(depth)` at the smallest depth at which the names are unique and none is `taken`.

    Return None if no depth up to `deepest` is enough.
    """
    for depth in range(1, deepest + 1):
        candidates = names(depth)
        if len(set(candidates)) == len(candidates) and not set(candidates) & set(taken):
            return candidates
    return None


def _depth(path: str) -> int:
    return len(_parts(path))


def _parts(path: str) -> list[str]:
    return list(Path(path).expanduser().resolve().parts[1:]) if files.exists(path) else path.split("/")


def _end(path: str, depth: int, *, keep_run: bool = False) -> str:
    """Return the last `depth` parts of `path` as a name.

    A final checkpoint-300 becomes 300; with `keep_run` it stays, and the run's folder before it is always included.
    """
    parts = _parts(path)
    step = STEP_FOLDER.fullmatch(parts[-1])
    if step and keep_run:
        depth += 1  # as in a label: every training run has a checkpoint-300
    last = parts[-1] if keep_run or not step else step[1]
    return "-".join([*parts[-depth:-1], last])
