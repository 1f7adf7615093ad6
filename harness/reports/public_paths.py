"""Paths in reports without the folders of one machine: no home folder, no name of a user, no mount.

Reports are passed on, and a checkpoint is identified by its fingerprint, not its path. A path under the working
directory becomes relative to it. A path in the hub's cache becomes the name on the hub. Of any other absolute path only
the end is kept: `…/base`, `…/lora/checkpoint-300`. Relative paths stay as typed. With `--keep-paths`, all paths stay.

Not here: prompts, answers and the system prompt, which are data.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.reports.report import Manifest

_HUB = re.compile(r"/(?:models|datasets)--([^/]+?)--([^/]+)(?:/|$)")
_STEP = re.compile(r"(?:checkpoint|global_step|epoch|step)[-_]?\d+|final|best|last")
_TOP_FOLDERS = frozenset(
    ("home", "Users", "root", "mnt", "media", "data", "tmp", "var", "opt", "srv", "scratch", "workspace", "Volumes")
)
_NAME = r"[^\s'\"`,;:()\[\]{}<>|*?…/]+"
_PATH = re.compile(
    r"(?<![\w.~…/\\:)\]}>-])(?:file://)?"
    rf"(?P<path>(?:~[\w.-]*)?(?:/{_NAME})+|[A-Za-z]:[\\/]{_NAME}(?:/{_NAME})*)"
)
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]")
_OF_PROMPTS = ("doc_to_text", "doc_to_target", "doc_to_choice", "description", "target_delimiter", "generation_kwargs")
"""Keys of a task's configuration whose values are shown to a checkpoint."""


def reduced(path: str) -> str:
    """Return `path` as a report shows it; a relative path or a name on the hub is returned as it is."""
    text = path.removeprefix("file://")
    if _WINDOWS.match(text):
        return "…/" + re.split(r"[\\/]", text.rstrip("\\/"))[-1]
    if not text.startswith(("/", "~")) and ".." not in text.split("/"):
        return path
    here, home = _folders()
    expanded = os.path.expanduser(text)  # noqa: PTH111 - Path's raises if there is no such user
    place = Path(os.path.normpath(here / (f"/{expanded}" if expanded.startswith("~") else expanded)))
    if match := _HUB.search(place.as_posix()):
        return f"{match[1]}/{match[2]}"
    if place.is_relative_to(here) and place != here and (here == home or not home.is_relative_to(here)) and here.name:
        return place.relative_to(here).as_posix()
    if place == home or not place.name:
        return "…"
    has_parent = _STEP.fullmatch(place.name) and place.parent.name and place.parent != home
    return f"…/{place.parent.name}/{place.name}" if has_parent else f"…/{place.name}"


def _folders() -> tuple[Path, Path]:
    """Return the working directory (`/` if it has been removed) and the home folder (`~` if there is none)."""
    try:
        here = Path.cwd()
    except OSError:
        here = Path("/")
    return here, Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home raises if there is none


def is_reduced(path: str) -> bool:
    """Return whether `reduced` has kept only the end of `path`. No file is found at such a path."""
    return path.startswith("…")


def in_text(text: str, known: Sequence[str] = ()) -> str:
    """Return `text` with every path of this machine replaced by what `reduced` returns for it.

    `known` are paths that may occur in `text`. These, the working directory and the home folder are found even if they
    contain spaces; other paths end at the first space.
    """
    if "/" not in text and "\\" not in text:
        return text
    for path in sorted(filter(_is_absolute, known), key=len, reverse=True):
        text = text.replace(path, reduced(path))
    for folder in map(str, _folders()):
        if folder.strip("/~"):
            text = re.sub(rf"{re.escape(folder)}(?P<rest>(?:/{_NAME})*)", lambda match: reduced(match[0]), text)
    return _PATH.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    path = match["path"].rstrip(".")
    if not _is_local(path):
        return match[0]
    return reduced(path) + match["path"][len(path) :]


def _is_absolute(text: str) -> bool:
    return text.startswith(("/", "~/", "file://")) or _WINDOWS.match(text) is not None


def _is_local(path: str) -> bool:
    """Return whether an absolute path looks like one on a machine, and not like a fraction (`/10`) or a URL's path."""
    if path.startswith(("~", "file://")) or _WINDOWS.match(path):
        return True
    top, _, rest = path.lstrip("/").partition("/")
    return bool(rest) and (top in _TOP_FOLDERS or Path("/", top).is_dir())


def of_manifest(manifest: Manifest) -> Manifest:
    """Return `manifest` with reduced paths: those of the checkpoint and of data sets, and those in notes."""
    info = manifest.checkpoint
    known = _known(manifest)
    update = {name: reduced(value) for name in ("base", "adapter") if (value := getattr(info, name)) is not None}
    checkpoint = info.model_copy(update={**update, "reference": in_text(info.reference, known)})
    tasks = {
        name: task.model_copy(update={"dataset": in_text(task.dataset, known)}) for name, task in manifest.tasks.items()
    }
    notes = [in_text(note, known) for note in manifest.notes]
    return manifest.model_copy(update={"checkpoint": checkpoint, "tasks": tasks, "notes": notes})


def of_results(results: Any, manifest: Manifest) -> Any:
    """Return `results`, the content of results.json, with reduced paths. What a checkpoint is shown stays unchanged."""
    known = _known(manifest)

    def change(text: str) -> str:
        is_path = _is_absolute(text) and "\n" not in text and _is_local(text)
        return reduced(text) if is_path else in_text(text, known)

    return _mapped(results, change)


def _known(manifest: Manifest) -> list[str]:
    info = manifest.checkpoint
    paths = [info.base, info.adapter, info.reference if manifest.protocol.recorded else None]
    return [path for path in paths if path is not None]


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Return `value`, made of dictionaries and lists, with `change` applied to every text except those of prompts."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    if isinstance(value, dict):
        return {key: item if key in _OF_PROMPTS else _mapped(item, change) for key, item in value.items()}
    return change(str(value)) if isinstance(value, os.PathLike) else value
