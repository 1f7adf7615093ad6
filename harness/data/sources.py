"""Where a task's documents come from: a mirror folder `DIR/<org>/<name>`, or the hub.

The cache of `datasets` is keyed by the file patterns in a data set's card. If a task lists files itself, the key is
their paths and dates. The cache would therefore return documents of another mirror, or of files that were since
replaced by files of the same dates (`cp -p`, `rsync -a`). `DataSource.cache` prevents both.

Not here: building a task (`harness.tasks.factory`), or error messages about its data (`harness.tasks.data_errors`).
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness.common import hashes, places, resources, safe_load, stamps
from harness.errors import HarnessError

_ENDINGS = (".parquet", ".json", ".jsonl", ".csv", ".tsv", ".arrow", ".txt", ".zst", ".gz", ".zip")
_LOCAL_BUILDERS = ("json", "csv", "parquet", "text", "arrow")
"""Names that `datasets` accepts in place of a data set's name, in order to read local files."""


class DataSource(NamedTuple):
    """Where a task's documents come from."""

    dataset: str
    """The data set's hub name (or a local builder such as `json`); empty if only the task's own code knows it."""
    config: str | None
    """The configuration of the data set; None is the default one."""
    folder: Path | None
    """The mirror's copy of the data set; None if there is none."""
    fetch: str
    """The command that fetches the data set into the mirror; a task may state another command as `metadata.fetch`."""
    files: tuple[Path, ...] = ()
    """The local files that the task lists itself (`dataset_path: json`)."""
    local: tuple[Path, ...] = ()
    """The local files and folders that `datasets` reads if the mirror has no copy, with patterns resolved."""
    is_generated: bool = False
    """Whether the task's own code generates the documents (`custom_dataset:`), so that there is nothing to fetch."""

    def __str__(self) -> str:
        """Return `org/name`, or `org/name:config`."""
        return f"{self.dataset}:{self.config}" if self.config else self.dataset

    @places.explaining()
    def is_available(self) -> bool:
        """Return whether the documents are on this machine, judged without reading them."""
        if self.is_generated:
            return True
        if self.folder is None:
            return bool(self.files) and all(file.exists() for file in self.files)
        if self.config is None:
            return True
        patterns = _card(self.folder).get(self.config)
        if patterns is not None:
            return all(any(self.folder.glob(pattern)) for pattern in patterns)
        return has_data_files(self.folder / self.config)

    def remedy(self) -> str:
        """Return what to do about documents that are not available: the missing file, or the command to fetch them."""
        missing = [str(file) for file in self.files if not file.exists()]
        return f"there is no file {missing[0]}" if missing else self.fetch

    @places.explaining()
    def cache(self) -> Path | None:
        """Return the folder in which `datasets` may cache what it reads from exactly these local files.

        Return None if there are no local files: the documents then come from the hub, where a commit names the content.
        """
        roots = [self.folder.resolve()] if self.folder is not None else [path.resolve() for path in self.local]
        if not roots:
            return None
        digest = hashlib.sha256()
        for file in (file for root in roots for file in _files_below(root)):
            digest.update(f"{file} {hashes.sha256(file)}\n".encode())
        return resources.cache() / "datasets" / digest.hexdigest()[:32]


@places.explaining()
def locate(config: dict[str, Any], data: Path | None) -> DataSource:
    """Return the source of the documents of a task with the YAML content `config`, if `data` is the mirror.

    Raises HarnessError if the mirror has a folder for the data set but no data in it.
    """
    dataset, name = str(config.get("dataset_path") or ""), config.get("dataset_name")
    metadata = config.get("metadata")
    stated = metadata.get("fetch") if isinstance(metadata, dict) else None
    fetch = stated or f"hf download --repo-type dataset {dataset} --local-dir {data or 'DIR'}/{dataset}"
    if config.get("custom_dataset"):
        return DataSource(dataset, name, None, "", is_generated=True)
    if dataset in _LOCAL_BUILDERS:
        listed = [text for text in _listed_files(config) if not any(letter in text for letter in "*?[")]
        return DataSource(dataset, name, None, fetch, tuple(map(Path, listed)), _local_paths(config))
    folder = data / dataset if data is not None and dataset and not dataset.startswith(("/", ".")) else None
    if folder is None or not folder.is_dir():
        return DataSource(dataset, name, None, fetch, local=_local_paths(config, dataset))
    if not has_data_files(folder):
        raise HarnessError(f"{folder} holds no data: remove it, or fill it with '{fetch}'")
    return DataSource(dataset, name, folder, fetch)


def has_data_files(folder: Path) -> bool:
    """Return whether there is any file with rows at or below `folder`, judged by the endings of the files' names."""
    return any(file.endswith(_ENDINGS) for _, _, files in places.walk(folder) for file in files)


def _listed_files(config: dict[str, Any]) -> Iterator[str]:
    """Yield the local files and patterns in a task's `dataset_kwargs.data_files`.

    These are one path or a list, or a mapping from each split to one path or a list.
    """
    listed = (config.get("dataset_kwargs") or {}).get("data_files")
    for value in listed.values() if isinstance(listed, dict) else [listed]:
        for file in value if isinstance(value, list) else [value]:
            if isinstance(file, str) and "://" not in (path := _local_part(file)):
                yield path


def _local_part(address: str) -> str:
    """Return the path of the local file in `address`, which may be `file://PATH`, or in an archive `zip://a::PATH`."""
    return address.rpartition("::")[2].removeprefix("file://")


def _local_paths(config: dict[str, Any], dataset: str = "") -> tuple[Path, ...]:
    """Return the existing files and folders that a task names for `datasets` to read: the data set, files, a folder."""
    folder = (config.get("dataset_kwargs") or {}).get("data_dir")
    named = [_local_part(text) for text in (dataset, folder) if isinstance(text, str)]
    texts = [*(text for text in named if "://" not in text), *_listed_files(config)]
    return tuple(path for text in texts if text for path in _matches(Path(text)) if path.exists())


def _matches(pattern: Path) -> list[Path]:
    """Return the files and folders that match `pattern`, in order; `pattern` itself if nothing matches."""
    if not re.search(r"[*?\[]", str(pattern)):
        return [pattern]
    start = Path(pattern.anchor)
    try:
        return sorted(start.glob(str(pattern.relative_to(start)))) or [pattern]
    except ValueError:  # no pattern, such as **.json
        return [pattern]


def _files_below(path: Path) -> Iterator[Path]:
    """Yield the file at `path`, or all files below the folder at `path`, in order."""
    if path.is_file():
        yield path
    for place, _, names in places.walk(path):
        yield from (Path(place, name) for name in names)


def _card(folder: Path) -> dict[str, list[str]]:
    """Return the file patterns of each configuration that the data set's card (README.md) lists."""
    file = folder / "README.md"
    return _parsed_card(file, stamps.version(file)) if file.is_file() else {}


@functools.lru_cache(maxsize=64)
def _parsed_card(file: Path, version: str) -> dict[str, list[str]]:
    """Return a card's file patterns by configuration; `version`, which `file` has now, is part of the cache's key."""
    parts = file.read_text(encoding="utf-8", errors="replace").split("---\n")
    try:
        head = safe_load.yaml_text(parts[1]) if len(parts) > 2 else None
    except safe_load.ContentError:
        head = None
    patterns = {}
    for entry in (head.get("configs") or []) if isinstance(head, dict) else []:
        files = entry.get("data_files") or []
        paths = [file["path"] for file in files if isinstance(file, dict)] if isinstance(files, list) else [files]
        patterns[str(entry.get("config_name"))] = [
            path for listed in paths for path in (listed if isinstance(listed, list) else [listed])
        ]
    return patterns
