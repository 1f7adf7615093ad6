"""Error messages for tasks that cannot be built on their data: what is wrong, where, and how to get the data again.

Only `harness.tasks.factory` uses them. Not here: where data are (`harness.data.sources`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness.common import parquet
from harness.data import sources
from harness.data.sources import DataSource
from harness.errors import HarnessError


def data_error(task: str, source: DataSource, error: Exception, before: str = "") -> HarnessError:
    """Return the error that tells a user why `task` could not be built on data from `source`; `error` is the cause.

    The text `before` precedes the statement that the data set is not available.
    """
    if isinstance(error, HarnessError):
        return error
    # `datasets` wraps the actual error, whose message says more.
    cause = error.__cause__ if str(error).startswith("An error occurred while generating") else error
    text = (str(cause or error).strip().splitlines() or [type(cause or error).__name__])[0][:300]
    if isinstance(error, ImportError):
        return HarnessError(f"task {task}: {text}; install that package")
    if not source.dataset:
        return HarnessError(f"task {task} cannot be built ({text}): it finds its data by its own code")
    if any(not file.exists() for file in source.files):
        return HarnessError(f"task {task}: {source.remedy()}: put it there, or correct the task's data_files")
    if source.folder is None and isinstance(error, ConnectionError | FileNotFoundError):
        return HarnessError(
            f"task {task}: {before}data set '{source}' is not on this machine, and the hub does not provide it; where "
            f"there is a network, run '{source.fetch}', then pass that folder DIR as --data"
        )
    what = f"task {task}: data set '{source}' in {source.folder or 'the hub'}"
    if isinstance(error, KeyError):
        return HarnessError(f"{what} has no split or column {text}: download it again with '{source.fetch}'")
    if undefined := re.fullmatch("('.+') is undefined", text):  # by `require_columns`, or by a template
        return HarnessError(
            f"{what} has no column {undefined[1]}, which the task needs: rename the column that was meant, or "
            f"download it again with '{source.fetch}'"
        )
    if damaged := _damaged_file(source.folder):
        return HarnessError(f"task {task}: {damaged} is damaged ({text}): download it again with '{source.fetch}'")
    return HarnessError(
        f"{what} cannot be used ({text}): if its columns are different, download it again with '{source.fetch}'"
    )


def require_columns(task: Any) -> Any:
    """Return lm-eval's `task`. Raises LookupError if it names a column that its documents do not have.

    lm-eval would take the name for literal text, use it as the prompt or target of every document, and score 0.
    """
    for key in ("doc_to_text", "doc_to_target", "doc_to_choice"):
        column = getattr(task.config, key, None)
        if isinstance(column, str) and column.isidentifier() and column not in getattr(task, "features", (column,)):
            raise LookupError(f"'{column}' is undefined")
    return task


def missing_part(source: DataSource, error: Exception) -> str:
    """Return the file or configuration that a mirror's copy of a data set lacks; empty if `error` has another cause."""
    if isinstance(error, FileNotFoundError):
        unfound = re.search("Unable to find '(.+?)'", str(error))
        return f"the file {unfound[1]}" if unfound else f"'{source.config}'"
    if "BuilderConfig" not in str(error):
        return ""
    folder = source.folder / source.config if source.folder is not None and source.config is not None else None
    if folder is not None and sources.has_data_files(folder):
        return f"the README.md that says which files are '{source.config}'"
    return f"'{source.config}'"


def _damaged_file(folder: Path | None) -> Path | None:
    """Return the first parquet file in the `folder` of a mirror's copy that cannot be opened, or None."""
    import pyarrow as pa

    for file in sorted(folder.rglob("*.parquet")) if folder is not None else ():
        try:
            with parquet.open_table(file):
                pass
        except (pa.ArrowException, OSError):
            return file
    return None
