"""The samples of a report: read row by row, and compared with what the manifest says of them.

Not here: scoring them (`harness.verification.rescoring`), or averages (`harness.verification.averages`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from harness.backends.request_kinds import whole_texts
from harness.common import safe_load
from harness.common.limits import documents_within
from harness.errors import HarnessError, PlaceError
from harness.recorded import likelihoods
from harness.reports.report import ADDED_COLUMNS, RATINGS, SAMPLE_COLUMNS, Manifest, Report, TaskInfo
from harness.runs.samples import Row
from harness.verification.checks import FAILS, Check, concluded, shown

OF_DOCUMENT = (
    *("doc_hash", "prompt_hash", "target_hash", "cluster", "tainted", "prompt", "target"),
    *("choices", "logprobs", "greedy", "responses", "endings"),
)
"""Columns that are the same in the rows of all filters of a document."""


class Samples(NamedTuple):
    """The rows of one task as the report stores them; metrics that are stored as JSON are decoded."""

    rows: list[Row]
    metrics: tuple[str, ...]
    """The columns of metrics."""

    @property
    def doc_ids(self) -> list[int]:
        """The documents, each once, in the order of the rows."""
        return list(dict.fromkeys(row["doc_id"] for row in self.rows))

    @property
    def by_document(self) -> dict[int, Row]:
        """The first row of each document."""
        return {row["doc_id"]: row for row in reversed(self.rows)}

    @property
    def by_key(self) -> dict[tuple[int, str], Row]:
        """The row of each document and filter."""
        return {(row["doc_id"], row["filter"]): row for row in self.rows}


def decoded(table: pa.Table) -> Samples:
    """Return the rows of a table of samples.

    Raises HarnessError if a column is missing or of another type, or if a metric is no JSON.
    """
    for field in SAMPLE_COLUMNS:
        if field.name not in table.column_names:
            raise HarnessError(f"there is no column '{field.name}'")
        stored = table.schema.field(field.name).type
        if stored != field.type and not (field.name in ADDED_COLUMNS and pa.types.is_null(stored)):
            raise HarnessError(f"the column '{field.name}' is of type {stored}, not {field.type}")
    metrics = tuple(name for name in table.column_names if name not in SAMPLE_COLUMNS.names)
    rows: list[Row] = table.to_pylist()
    for name in metrics:
        if pa.types.is_string(table.schema.field(name).type):
            for row in rows:
                row[name] = _parsed(row[name], name)
    return Samples(rows, metrics)


def _parsed(value: str | None, metric: str) -> Any:
    try:
        return None if value is None else safe_load.json_text(value)
    except ValueError as error:
        raise HarnessError(f"a value of the metric '{metric}' is no JSON ({error})") from error


def read(report: Report, task: str) -> tuple[Samples | None, Check]:
    """Return the samples of `task`, or None if they cannot be read, and the check of their shape."""
    info = report.manifest.tasks[task]
    try:
        samples = decoded(report.table(task))
    except PlaceError:
        raise
    except HarnessError as error:
        return None, Check("samples", task, FAILS, str(error))
    problems = list(_problems(report.manifest, info, samples))
    return samples, concluded("samples", task, problems, f"{info.documents:,} documents, as in the manifest")


def _problems(manifest: Manifest, info: TaskInfo, samples: Samples) -> Iterator[str]:
    rows = samples.rows
    for column in ("doc_id", "filter", "doc_hash", "prompt_hash", "target_hash", "prompt", "target", "prediction"):
        if (empty := next((place for place, row in enumerate(rows) if row[column] is None), None)) is not None:
            yield f"row {empty} has no {column}"
            return
    counts = Counter((row["doc_id"], row["filter"]) for row in rows)
    for (doc_id, filter), count in counts.items():
        if count > 1:
            yield f"document {doc_id} has {count} rows of the filter '{filter}'"
    documents = set(samples.doc_ids)
    for filter in dict.fromkeys(row["filter"] for row in rows):
        if lacking := documents - {row["doc_id"] for row in rows if row["filter"] == filter}:
            yield f"document {min(lacking)} has no row of the filter '{filter}'"
    if len(documents) != info.documents:
        yield f"samples of {len(documents):,} documents, the manifest says {info.documents:,}"
    yield from _wrong_places(manifest, info, documents)
    yield from _inconsistent(samples)
    if manifest.protocol.recorded != RATINGS:
        hashes = {row["doc_id"]: row["prompt_hash"] for row in rows}
        if info.prompt_hash not in _prompt_hashes(manifest, "".join(hashes.values())):
            yield "the prompt hashes are not those of which the manifest has the sha256 (prompt_hash)"
        has_endings = any(row["endings"] is not None for row in rows)  # older reports have none
        for row in samples.by_document.values():
            yield from _impossible_answers(row, has_endings=has_endings)


def _wrong_places(manifest: Manifest, info: TaskInfo, documents: set[int]) -> Iterator[str]:
    """Yield the documents that are surplus or missing, judging by the limit and the size of the split."""
    planned = documents_within(manifest.protocol.limit, info.documents_in_split)
    outside = [place for place in documents if not 0 <= place < planned]
    if outside:
        yield f"document {min(outside)} is none of the {planned:,} that were to be evaluated"
    lacking = set(range(planned)) - documents - set(info.failed_documents)
    if manifest.protocol.shuffled is None and lacking:
        yield f"document {min(lacking)} is missing ({len(lacking):,} of {planned:,} are)"


def _inconsistent(samples: Samples) -> Iterator[str]:
    first = samples.by_document
    for row in samples.rows:
        for column in OF_DOCUMENT:
            if row[column] != first[row["doc_id"]][column]:
                yield f"document {row['doc_id']} has another {column} under the filter '{row['filter']}'"


def _prompt_hashes(manifest: Manifest, joined: str) -> set[str]:
    """Return the values that `TaskInfo.prompt_hash` may have: with and without the windows of the prompts."""
    digest = hashlib.sha256(joined.encode()).hexdigest()
    size = manifest.checkpoint.max_length
    if size is None:
        return {digest}
    stride = whole_texts.stride(manifest.protocol.stride, size)
    return {digest, hashlib.sha256(f"{digest} {size} {stride}".encode()).hexdigest()}


def _impossible_answers(row: Row, *, has_endings: bool) -> Iterator[str]:
    """Yield what is impossible in an answer, such as a log-likelihood above 0, or lists of different lengths."""
    where = f"document {row['doc_id']}"
    if row["logprobs"] is not None:
        lengths = {len(row[column] or ()) for column in ("choices", "logprobs", "greedy")}
        if len(lengths) > 1:
            yield f"{where} has {' and '.join(map(str, sorted(lengths)))} choices, log-likelihoods and greedy flags"
        if None in (row["greedy"] or ()):
            yield f"{where} has a choice of which it is not known whether it is greedy"
        for value in row["logprobs"]:
            if value is None or likelihoods.problem([value]) is not None:
                yield f"{where} has {shown(value)} as a log-likelihood"
    elif row["responses"] is None:
        yield f"{where} has no answer"
    elif None in row["responses"] or None in (row["endings"] or ()):
        yield f"{where} has a response without a text, or without an ending"
    elif has_endings and len(row["endings"] or ()) != len(row["responses"]):
        yield f"{where} has {len(row['responses'])} responses and {len(row['endings'] or ())} endings"
