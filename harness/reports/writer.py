"""Writing reports: into a hidden folder beside the final one, `SHA256SUMS` and manifest last, then one rename.

Not here: the format of a report (`harness.reports.report`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from harness.common import atomic_write, parquet
from harness.errors import StorageError
from harness.reports import public_reports, sums
from harness.reports.report import MANIFEST, SAMPLE_COLUMNS, Manifest, Report


def new_folder(output: Path, name: str, created: datetime) -> Path:
    """Return a folder in `output` for the report of the checkpoint `name`; the folder does not exist yet.

    `created` is the time when the run started.
    """
    short = re.sub(r"[^\w.+-]+", "_", name).strip(".").encode()[:100].decode(errors="ignore")
    stem = short + created.strftime("_%Y%m%d-%H%M%S")
    folder, again = output / stem, 1
    while folder.exists():
        folder, again = output / f"{stem}-{again}", again + 1
    return folder


def sample_table(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> pa.Table:
    """Return `rows`, with the keys `SAMPLE_COLUMNS` and `metrics`, as the table that a report stores.

    A metric whose values are not all numbers (the sufficient statistics of a corpus metric) is stored as JSON.
    """
    columns = {name: [_escaped(row.get(name)) for row in rows] for name in (*SAMPLE_COLUMNS.names, *metrics)}
    fields = list(SAMPLE_COLUMNS)
    for name in metrics:
        numeric = all(value is None or isinstance(value, int | float) for value in columns[name])
        columns[name] = [_number(value) if numeric else _escaped(_json(value)) for value in columns[name]]
        fields.append(pa.field(name, pa.float64() if numeric else pa.string()))
    return pa.table(columns, schema=pa.schema(fields))


class ReportWriter:
    """Collects a run's files in a hidden folder; `finish` turns it into a report by one rename.

    Leaving the `with` block without `finish` removes everything. A process that is killed leaves a hidden folder
    `.<name>.<host>.<pid>`. The next writer on the same host removes this folder if the process no longer runs.
    """

    def __init__(self, folder: Path, *, keep_paths: bool = False) -> None:
        """Write to `folder`. Manifest and results have absolute paths only if `keep_paths` is true."""
        self.folder = folder
        self._keep_paths = keep_paths
        self._hidden_folder = atomic_write.hidden_folder(folder, tag=f"{atomic_write.host()}.{os.getpid()}")

    def __enter__(self) -> ReportWriter:
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            atomic_write.remove_abandoned(self.folder.parent)
            self._hidden = self._hidden_folder.__enter__()
            (self._hidden / "samples").mkdir()
        except OSError as error:
            raise self._failure(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hidden_folder.__exit__(kind, error, trace)

    def _failure(self, error: OSError) -> StorageError:
        reason = error.strerror or error
        return StorageError(f"cannot write a report to {self.folder} ({reason}): make room, or choose another --output")

    def write_samples(self, task: str, rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> None:
        """Write `rows` as samples/<task>.parquet (see `sample_table`).

        Raises HarnessError if the file cannot be written.
        """
        file = self._hidden / "samples" / f"{task}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            parquet.write(sample_table(rows, metrics), file)
        except OSError as error:
            raise self._failure(error) from error

    def remove_samples(self, task: str) -> None:
        """Remove the samples of a task that is not reported after all."""
        (self._hidden / "samples" / f"{task}.parquet").unlink(missing_ok=True)

    def finish(self, manifest: Manifest, results: Mapping[str, Any], paths: Sequence[str] = ()) -> Report:
        """Write results and manifest, move the folder to its place, and return the report.

        `paths` are those that notes may mention. They are replaced in full even if they contain spaces. If another run
        has taken the place in the meantime, the next free name is used.

        Raises HarnessError if a file cannot be written.
        """
        if not self._keep_paths:
            results = public_reports.of_results(results, manifest, paths)
            manifest = public_reports.of_manifest(manifest, paths)
        try:
            _dump_json(self._hidden / "results.json", results)
            content = _document(manifest.model_dump(mode="json"))
            hashes = sums.of_folder(self._hidden) | {MANIFEST: hashlib.sha256(content.encode()).hexdigest()}
            _write(self._hidden / sums.SUMS, sums.rendered(hashes))
            _write(self._hidden / MANIFEST, content)
            atomic_write.set_modes(self._hidden)
        except OSError as error:
            raise self._failure(error) from error
        place, again = self.folder, 0
        while True:
            try:
                self._hidden.rename(place)
            except OSError:
                if not place.exists():
                    raise
                again += 1
                place = self.folder.with_name(f"{self.folder.name}-{again}")
            else:
                return Report(place, manifest)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _escaped(value: object) -> Any:
    """Return a text, or a list of texts, with lone surrogates escaped as in JSON, because UTF-8 has no form for them.

    Any answer may contain a lone surrogate, for instance as an escape sequence in a file of recorded predictions.
    """
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


_ADDRESS = re.compile(" at 0x[0-9a-fA-F]+")
"""Where a function is in memory, as its representation says: another place in each run."""


def _json(value: object, indent: int | None = None) -> str:
    """Return `value` as JSON; numpy scalars become numbers, functions in task configurations become their names."""

    def plain(item: object) -> Any:
        return item.tolist() if hasattr(item, "tolist") else _ADDRESS.sub("", str(item))

    return json.dumps(value, ensure_ascii=False, indent=indent, default=plain, allow_nan=False)


def _dump_json(file: Path, content: Mapping[str, Any]) -> None:
    _write(file, _document(content))


def _document(content: Mapping[str, Any]) -> str:
    return _json(content, indent=1) + "\n"


def _write(file: Path, text: str) -> None:
    """Write `text` to the disk with unchanged line ends, because its sha256 may have been computed already."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
