"""The samples of one task in two reports, joined document by document.

Two samples are of the same document if document and whole prompt are the same in both (`doc_hash`, `prompt_hash`). If a
document occurs several times in a task, its nth occurrences in both reports are paired. Documents that only one of the
two checkpoints answered, for example because of a different limit, are left out and counted. If both checkpoints
answered a document with different prompts, the task cannot be compared at all.

Not here: what a metric computes from the documents (`harness.verdicts.stats.forms`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import HarnessError
from harness.reports.report import Report
from harness.verdicts import comparable
from harness.verdicts.comparable import Conditions

Flags = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
KEY = ("doc_hash", "prompt_hash")
UNUSED = ("prompt", "greedy")
"""Columns of a report's samples that a comparison does not need."""


Read: TypeAlias = "Callable[[Report, str], pa.Table]"
"""A function that returns the samples of a task in a report, as `read_samples` does."""


class IncomparableError(HarnessError):
    """Two reports cannot be compared; the message says which condition differs."""


@dataclass(frozen=True)
class Pairs:
    """The documents of a task that two checkpoints answered, under one filter: row i of both is the same document."""

    task: str
    filter: str
    baseline: pa.Table
    """The baseline's samples. Columns are as in the report, except that lists and texts are replaced by `length`
    (characters of a generated answer), `place` (index of the chosen choice), `target_place` (index of the right
    choice), `cut_at_limit` (share of answers that reached their limit of tokens) and `not_understood` (1 if nothing was
    understood)."""
    candidate: pa.Table
    left_out: int
    """Number of documents that only one of the two checkpoints answered."""

    @property
    def n(self) -> int:
        """Number of documents."""
        return int(self.baseline.num_rows)

    @property
    def clusters(self) -> Integers | None:
        """The cluster number of each document, from 0 without gaps; None if every document is its own cluster."""
        return cluster_numbers([self])

    @property
    def tainted(self) -> Flags:
        """For each document, whether either report marks it as seen in training."""
        sides = [pc.fill_null(side["tainted"], False).to_numpy() for side in (self.baseline, self.candidate)]
        return np.asarray(sides[0] | sides[1], dtype=np.bool_)

    def where(self, mask: Flags) -> Pairs:
        """Return the pairs of the documents for which `mask` is true."""
        flags = pa.array(mask)
        return replace(self, baseline=self.baseline.filter(flags), candidate=self.candidate.filter(flags))


def cluster_numbers(tasks: Sequence[Pairs]) -> Integers | None:
    """Return the cluster number of every document of `tasks`, one task after the other. Tasks may share clusters.

    Numbers are from 0 without gaps; None if every document is its own cluster.
    """
    names = pd.concat([_cluster_names(joined) for joined in tasks], ignore_index=True)
    alone = names.isna().to_numpy()
    codes = np.asarray(pd.factorize(names)[0], dtype=np.int64)
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    return None if np.unique(codes).size == codes.size else codes


def _cluster_names(joined: Pairs) -> pd.Series[str]:
    """Return the baseline's cluster names, or the candidate's if the baseline's report is too old to have names."""
    side = joined.candidate if joined.baseline["cluster"].null_count == joined.n else joined.baseline
    return pd.Series(side["cluster"].to_pandas(), dtype=object)


def join(baseline: Report, candidate: Report, task: str, read: Read | None = None) -> dict[str, Pairs]:
    """Return the documents of `task` that both checkpoints answered, by answer filter.

    `read` reads the samples (default: `read_samples`). Raises IncomparableError if the conditions differ, and
    HarnessError if a file cannot be read.
    """
    for report in (baseline, candidate):
        if task not in report.manifest.tasks:
            raise IncomparableError(f"{report.manifest.checkpoint.name} was not evaluated on it")
    _require_same_task(baseline, candidate, task)
    baseline_table, candidate_table = ((read or read_samples)(report, task) for report in (baseline, candidate))
    hashes = [report.manifest.tasks[task].prompt_hash for report in (baseline, candidate)]
    if hashes[0] != hashes[1] and all(baseline_table[column].equals(candidate_table[column]) for column in KEY):
        raise IncomparableError(f"{comparable.PROMPTS}: the texts were split into windows of different length")
    return join_tables(task, baseline_table, candidate_table, _cause(baseline, candidate, task))


def join_tables(task: str, baseline: pa.Table, candidate: pa.Table, cause: str = "") -> dict[str, Pairs]:
    """Return the documents that are in both tables of `task`, by answer filter.

    Raises IncomparableError if prompts differ, with `cause` as the reason in the message, or if the tables have no
    filter or no document in common.
    """
    by_filter = {}
    for name in pc.unique(candidate["filter"]).to_pylist():
        first, second = (side.filter(pc.equal(side["filter"], name)) for side in (baseline, candidate))
        if first.num_rows:
            by_filter[name] = _join(task, name, first, second, cause or "the text of the prompts differs")
    if not by_filter:
        raise IncomparableError("no answer filter in common: evaluate both with the same version of the task")
    return by_filter


def read_samples(report: Report, task: str) -> pa.Table:
    """Return the samples of `task` in `report`, with the columns that a comparison needs (see `Pairs`)."""
    table = report.table(task, without=UNUSED)
    columns = {
        "length": _lengths(table),
        "place": _places(table),
        "target_place": _target_places(table),
        "cut_at_limit": _shares_cut(table),
        "not_understood": pc.cast(pc.invert(table["understood"]), pa.float64()),
    }
    table = table.drop_columns(["responses", "choices", "logprobs", "endings", "understood"])
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def _lengths(table: pa.Table) -> pa.Array:
    """Return each document's answer length in characters without outer white space (the mean of several answers)."""
    answers = table["responses"].combine_chunks()
    lengths = pc.utf8_length(pc.utf8_trim_whitespace(pc.list_flatten(answers))).to_numpy(zero_copy_only=False)
    counts = _counts(answers)
    sums = np.bincount(pc.list_parent_indices(answers), weights=lengths, minlength=len(counts))
    return pa.array(sums / np.maximum(counts, 1), mask=counts == 0)


def _shares_cut(table: pa.Table) -> pa.Array:
    """Return, for each document, the share of its answers that reached their limit of tokens; null if not known."""
    endings = table["endings"].combine_chunks()
    values, owners = pc.list_flatten(endings), pc.list_parent_indices(endings).to_numpy()
    counts = _counts(endings)
    is_cut, is_unknown = (
        np.bincount(owners, weights=pc.equal(values, ending).to_numpy(zero_copy_only=False), minlength=len(counts))
        for ending in ("limit", "unknown")
    )
    return pa.array(is_cut / np.maximum(counts, 1), mask=(counts == 0) | (is_unknown > 0))


def _places(table: pa.Table) -> pa.Array:
    """Return the index of each document's most likely choice (the first if several are equal); null without choices."""
    logprobs = table["logprobs"].combine_chunks()
    counts, owners = _counts(logprobs), pc.list_parent_indices(logprobs).to_numpy()
    values = pc.list_flatten(logprobs).to_numpy(zero_copy_only=False)
    order = np.lexsort((np.arange(values.size), -values, owners))
    return _first_places(order, owners, counts)


def _target_places(table: pa.Table) -> pa.Array:
    """Return, for each document, the index of the choice that equals its target; null if no choice does."""
    choices = table["choices"].combine_chunks()
    counts, owners = _counts(choices), pc.list_parent_indices(choices).to_numpy()
    targets = pc.utf8_trim_whitespace(table["target"].combine_chunks()).take(pa.array(owners))
    matches = pc.equal(pc.utf8_trim_whitespace(pc.list_flatten(choices)), targets).to_numpy(zero_copy_only=False)
    return _first_places(np.flatnonzero(matches.astype(np.bool_)), owners, counts)


def _first_places(values: Integers, owners: Integers, counts: Integers) -> pa.Array:
    """Return, for each document, the place in its list of the first element that `values` contains; null without one.

    `values` are indices into all lists joined. `owners` has the document of each element, `counts` each list's length.
    """
    documents, first = np.unique(owners[values], return_index=True)
    starts = np.concatenate([[0], counts.cumsum()[:-1]])
    places = np.full(counts.size, -1)
    places[documents] = values[first] - starts[documents]
    return pa.array(places, mask=places < 0)


def _counts(lists: pa.Array) -> Integers:
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False), dtype=np.int64)


def _require_same_task(baseline: Report, candidate: Report, task: str) -> None:
    old, new = baseline.manifest.tasks[task], candidate.manifest.tasks[task]
    for name in ("version", "dataset", "split"):
        if getattr(old, name) != getattr(new, name):
            raise IncomparableError(f"different {name}: {getattr(new, name)} instead of {getattr(old, name)}")


def _cause(baseline: Report, candidate: Report, task: str) -> str:
    """Return why the prompts of `task` differ between the reports, as far as the manifests show."""
    conditions = [
        Conditions({task: report.manifest.tasks[task]}, report.manifest.protocol) for report in (candidate, baseline)
    ]
    prompts = [item for item in comparable.differences(*conditions) if item.label == comparable.PROMPTS]
    return prompts[0].reason if prompts else "the text of the prompts differs"


def _join(task: str, name: str, first: pa.Table, second: pa.Table, cause: str) -> Pairs:
    if all(first[column].equals(second[column]) for column in KEY):
        return Pairs(task, name, first, second, 0)
    old, new = _keys(first), _keys(second)
    joined = old.merge(new, on=[*KEY, "nth"], suffixes=("_old", "_new"))
    documents = set(old["doc_hash"]) & set(new["doc_hash"])
    if not documents:
        raise IncomparableError(f"{comparable.DOCUMENTS}: they have none in common")
    edited = set(_unmatched(old, joined["row_old"])) & set(_unmatched(new, joined["row_new"]))
    if edited:
        raise IncomparableError(f"different data: {len(edited):,} of {len(new):,} questions have another right answer")
    changed = len(documents - set(joined["doc_hash"]))
    if changed:
        raise IncomparableError(f"{comparable.PROMPTS} of {changed:,} of {len(documents):,} documents: {cause}")
    left_out = len(old) + len(new) - 2 * len(joined)
    return Pairs(
        task, name, first.take(pa.array(joined["row_old"])), second.take(pa.array(joined["row_new"])), left_out
    )


def _unmatched(keys: pd.DataFrame, rows: pd.Series[int]) -> list[str]:
    """Return the prompt hashes of the documents in `keys` that are not among the joined `rows`."""
    return list(keys.loc[~keys["row"].isin(rows), "prompt_hash"])


def _keys(table: pa.Table) -> pd.DataFrame:
    keys = pd.DataFrame({column: table[column].to_pandas() for column in KEY})
    keys["nth"] = keys.groupby(list(KEY), sort=False).cumcount()
    keys["row"] = np.arange(len(keys))
    return keys
