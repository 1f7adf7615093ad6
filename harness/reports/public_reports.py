"""Manifests and results without the folders of one machine: each value reduced as what it is, a path or a text.

Not here: how a path is reduced (`harness.reports.public_paths`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from harness.reports.public_paths import data_set, in_reference, in_text, is_local, reduced
from harness.reports.report import Manifest

_OF_TASKS = frozenset(
    (
        *("doc_to_text", "doc_to_target", "doc_to_choice", "doc_to_image", "doc_to_audio", "description"),
        *("target_delimiter", "fewshot_delimiter", "fewshot_config", "gen_prefix", "system_instruction"),
        *("generation_kwargs", "filter_list", "metric_list"),
    )
)
"""Keys of a task's configuration whose values are prompts, patterns or settings, and stay as they are."""
_PATHS = frozenset(("data_dir", "data_files", "dataset_kwargs", "cache_dir"))
"""Keys of a task's configuration whose values are paths, or names that `reduced` returns as they are."""


def of_manifest(manifest: Manifest, paths: Sequence[str] = ()) -> Manifest:
    """Return `manifest` with reduced paths: those of the checkpoint, and of notes and reasons (also `paths`)."""
    info = manifest.checkpoint
    known = _known(manifest, paths)
    update = {name: reduced(value) for name in ("base", "adapter") if (value := getattr(info, name)) is not None}
    update["reference"] = in_reference(info.reference) if manifest.protocol.recorded else in_text(info.reference, known)
    notes = [in_text(note, known) for note in manifest.notes]
    failed = {name: in_text(reason, known) for name, reason in manifest.failed.items()}
    changes = {"checkpoint": info.model_copy(update=update), "notes": notes, "failed": failed}
    return manifest.model_copy(update=changes)


def of_results(results: Any, manifest: Manifest, paths: Sequence[str] = ()) -> Any:
    """Return `results`, the content of results.json, with reduced paths. What a checkpoint is shown stays unchanged.

    Texts may mention `paths` and those of `manifest`.
    """
    return _mapped(results, _known(manifest, paths))


def _known(manifest: Manifest, paths: Sequence[str]) -> list[str]:
    info = manifest.checkpoint
    known = [info.base, info.adapter, info.reference if manifest.protocol.recorded else None, *paths]
    return [path for path in known if path is not None]


def _mapped(value: Any, known: Sequence[str], *, is_path: bool = False) -> Any:
    """Return `value`, made of dictionaries and lists, with its texts reduced; `is_path` says that texts are paths."""
    if isinstance(value, os.PathLike):
        return reduced(str(value))
    if isinstance(value, str):
        is_whole = "\n" not in value and "::" not in value and (is_path or is_local(value))
        return reduced(value) if is_whole else in_text(value, known)
    if isinstance(value, list | tuple):
        return [_mapped(item, known, is_path=is_path) for item in value]
    if isinstance(value, dict):
        return {key: _entry(key, item, known, is_path=is_path) for key, item in value.items()}
    return value


def _entry(key: object, value: Any, known: Sequence[str], *, is_path: bool) -> Any:
    if key in _OF_TASKS:
        return value
    if key == "dataset_path" and isinstance(value, str):
        return data_set(value)
    return _mapped(value, known, is_path=is_path or key in _PATHS)
