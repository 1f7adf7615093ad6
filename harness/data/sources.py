"""Where a task's documents come from: a mirror folder `DIR/<org>/<name>`, or the hub.

`datasets` remembers what it read by the patterns in a data set's card, not by path, size or date, and would serve one
mirror's documents for another's, or those of files that have been replaced. `DataSource.cache` keeps them apart.

Not here: lm-eval, or building a task (`harness.tasks.catalogue`).
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness.common import resources
from harness.errors import HarnessError

_ENDINGS = (".parquet", ".json", ".jsonl", ".csv", ".tsv", ".arrow", ".txt", ".zst", ".gz", ".zip")
_LOCAL_BUILDERS = ("json", "csv", "parquet", "text", "arrow")
"""Names by which `datasets` reads any files, in place of a data set's."""


class DataSource(NamedTuple):
    """Where a task's documents come from."""

    dataset: str
    """The data set's hub name (or a local builder such as `json`); empty where only the task's own code knows."""
    config: str | None
    folder: Path | None
    """The mirror's copy, if there is one."""
    fetch: str
    """The command that fetches the data set into the mirror; a task's `metadata.fetch` names another."""
    files: tuple[Path, ...] = ()
    """What a task reads that names files of its own (`dataset_path: json`)."""
    made: bool = False
    """The task's own code makes the documents (`custom_dataset:`): there is nothing to fetch."""

    def __str__(self) -> str:
        """Return `org/name`, or `org/name:config`."""
        return f"{self.dataset}:{self.config}" if self.config else self.dataset

    def at_hand(self) -> bool:
        """Tell whether the documents are here, as far as that is told without reading them."""
        if self.made:
            return True
        if self.folder is None:
            return bool(self.files) and all(file.exists() for file in self.files)
        if self.config is None:
            return True
        stated = _card(self.folder).get(self.config)
        if stated is not None:
            return all(any(self.folder.glob(pattern)) for pattern in stated)
        return _has_data(self.folder / self.config)

    def missing(self) -> str:
        """Return what to do about documents that are not at hand."""
        gone = [str(file) for file in self.files if not file.exists()]
        return f"there is no file {gone[0]}" if gone else self.fetch

    def cache(self) -> Path:
        """Return the folder where `datasets` may keep what it makes of exactly these files of the mirror."""
        assert self.folder is not None
        root = self.folder.resolve()
        seen = hashlib.sha256(str(root).encode())
        for place, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                file = Path(place, name)
                stat = file.stat()
                stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
                seen.update(f"{file.relative_to(root)} {stamp}\n".encode())
        return resources.cache() / "datasets" / seen.hexdigest()[:32]


def source(config: dict[str, Any], data: Path | None) -> DataSource:
    """Return where the task of YAML `config` would take its documents from, given the mirror `data`.

    Raises HarnessError where the mirror has a folder for them that holds none.
    """
    dataset, name = str(config.get("dataset_path") or ""), config.get("dataset_name")
    metadata = config.get("metadata")
    stated = metadata.get("fetch") if isinstance(metadata, dict) else None
    fetch = stated or f"hf download --repo-type dataset {dataset} --local-dir {data or 'DIR'}/{dataset}"
    if config.get("custom_dataset"):
        return DataSource(dataset, name, None, "", made=True)
    if dataset in _LOCAL_BUILDERS:
        return DataSource(dataset, name, None, fetch, tuple(map(Path, _listed_files(config))))
    folder = data / dataset if data is not None and dataset and not dataset.startswith(("/", ".")) else None
    if folder is None or not folder.is_dir():
        return DataSource(dataset, name, None, fetch)
    if not _has_data(folder):
        raise HarnessError(f"{folder} holds no data: remove it, or fill it with '{fetch}'")
    return DataSource(dataset, name, folder, fetch)


def _has_data(folder: Path) -> bool:
    return any(file.endswith(_ENDINGS) for _, _, files in os.walk(folder) for file in files)


def _listed_files(config: dict[str, Any]) -> Iterator[str]:
    """Yield the local files that a task's `dataset_kwargs.data_files` lists, however it does."""
    listed = (config.get("dataset_kwargs") or {}).get("data_files")
    for value in listed.values() if isinstance(listed, dict) else [listed]:
        for file in value if isinstance(value, list) else [value]:
            if isinstance(file, str) and "://" not in file and not any(letter in file for letter in "*?["):
                yield file


@functools.lru_cache(maxsize=64)
def _card_of(file: Path, changed: int) -> dict[str, list[str]]:
    """Return the patterns of the files of each configuration that a data set's card lists."""
    import yaml

    parts = file.read_text(encoding="utf-8", errors="replace").split("---\n")
    try:
        head = yaml.safe_load(parts[1]) if len(parts) > 2 else None
    except yaml.YAMLError:
        head = None
    found = {}
    for one in (head.get("configs") or []) if isinstance(head, dict) else []:
        files = one.get("data_files") or []
        paths = [file["path"] for file in files if isinstance(file, dict)] if isinstance(files, list) else [files]
        found[str(one.get("config_name"))] = [
            path for listed in paths for path in (listed if isinstance(listed, list) else [listed])
        ]
    return found


def _card(folder: Path) -> dict[str, list[str]]:
    file = folder / "README.md"
    return _card_of(file, file.stat().st_mtime_ns) if file.is_file() else {}


def explained(task: str, origin: DataSource, error: Exception, before: str = "") -> HarnessError:
    """Return what to tell a person whose `task` could not be built on data from `origin`."""
    if isinstance(error, HarnessError):
        return error
    # `datasets` wraps what went wrong; the cause says more.
    said = error.__cause__ if str(error).startswith("An error occurred while generating") else error
    text = (str(said or error).strip().splitlines() or [type(said or error).__name__])[0][:300]
    if isinstance(error, ImportError):
        return HarnessError(f"task {task}: {text}; install that package")
    if not origin.dataset:
        return HarnessError(f"task {task} cannot be built ({text}): it finds its data by its own code")
    if any(not file.exists() for file in origin.files):
        return HarnessError(f"task {task}: {origin.missing()}: put it there, or correct the task's data_files")
    if origin.folder is None and isinstance(error, ConnectionError | FileNotFoundError):
        return HarnessError(
            f"task {task}: {before}data set '{origin}' is not at hand, and the hub does not give it; where there is a "
            f"network, run '{origin.fetch}', then pass that folder DIR as --data"
        )
    what = f"task {task}: data set '{origin}' in {origin.folder or 'the hub'}"
    if isinstance(error, KeyError):
        return HarnessError(f"{what} has no split or column {text}: fetch it anew with '{origin.fetch}'")
    if unnamed := re.fullmatch("('.+') is undefined", text):  # by `complete`, or by a template
        return HarnessError(
            f"{what} has no column {unnamed[1]}, which the task asks for: rename the column that was meant, or fetch "
            f"it anew with '{origin.fetch}'"
        )
    if damaged := _damaged(origin.folder):
        return HarnessError(f"task {task}: {damaged} is damaged ({text}): fetch it anew with '{origin.fetch}'")
    return HarnessError(
        f"{what} cannot be used ({text}): if its columns are others, fetch it anew with '{origin.fetch}'"
    )


def complete(task: Any) -> Any:
    """Return lm-eval's `task`; raise LookupError if it names a column that its documents have not.

    lm-eval takes a word that is no column for text, asks or expects that very word of every document, and scores 0.
    """
    for key in ("doc_to_text", "doc_to_target", "doc_to_choice"):
        named = getattr(task.config, key, None)
        if isinstance(named, str) and named.isidentifier() and named not in getattr(task, "features", (named,)):
            raise LookupError(f"'{named}' is undefined")
    return task


def lacking(origin: DataSource, error: Exception) -> str:
    """Return the file or configuration for whose want a copy could not be read, nothing if `error` says otherwise."""
    if isinstance(error, FileNotFoundError):
        named = re.search("Unable to find '(.+?)'", str(error))
        return f"the file {named[1]}" if named else f"'{origin.config}'"
    if "BuilderConfig" not in str(error):
        return ""
    listed = origin.folder is not None and origin.config is not None and _has_data(origin.folder / origin.config)
    return f"the README.md that says which files are '{origin.config}'" if listed else f"'{origin.config}'"


def _damaged(folder: Path | None) -> Path | None:
    """Return the first parquet file of a copy that cannot be opened."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in sorted(folder.rglob("*.parquet")) if folder is not None else ():
        try:
            pq.read_metadata(file)
        except (pa.ArrowException, OSError):
            return file
    return None
