"""Two reports' samples of a task, document beside document.

Samples are the same question if their document and their whole prompt are the same (`doc_hash`, `prompt_hash`); of
documents that occur several times in a task the nth goes with the nth. What only one of both answered, as under another
limit, is left out and counted. A document that both answered to different prompts ends it: no number of such a task
says anything about the checkpoints.

Not here: what a metric makes of the documents (`harness.verdicts.stats.forms`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import HarnessError
from harness.reports.report import Report
from harness.verdicts import comparable
from harness.verdicts.comparable import Asked

Flags = npt.NDArray[np.bool_]
KEY = ("doc_hash", "prompt_hash")
UNREAD = ("prompt", "greedy")
"""Columns that comparing needs nothing of."""


class IncomparableError(HarnessError):
    """Two reports asked something else, or nothing in common; its text says what."""


@dataclass(frozen=True)
class Pairs:
    """The documents of a task that two checkpoints answered, under one filter: row i of both is the same question."""

    task: str
    filter: str
    baseline: pa.Table
    """Columns as in the report, but for lists and texts: `length`, characters of an answer that was generated, `place`,
    which choice was chosen, and `wanted_place`, which is right."""
    candidate: pa.Table
    left_out: int
    """Documents that only one of both answered."""

    @property
    def n(self) -> int:
        """Number of documents."""
        return int(self.baseline.num_rows)

    @property
    def clusters(self) -> npt.NDArray[np.int64] | None:
        """A number for each document's cluster, from 0 on without gaps; None where every document stands alone."""
        return numbered_clusters([self])

    @property
    def tainted(self) -> Flags:
        """Whether either report says that the document was seen in training."""
        sides = [pc.fill_null(side["tainted"], False).to_numpy() for side in (self.baseline, self.candidate)]
        return np.asarray(sides[0] | sides[1], dtype=np.bool_)

    def where(self, kept: Flags) -> Pairs:
        """Return the documents that are `kept`."""
        mask = pa.array(kept)
        return replace(self, baseline=self.baseline.filter(mask), candidate=self.candidate.filter(mask))


def numbered_clusters(tasks: Sequence[Pairs]) -> npt.NDArray[np.int64] | None:
    """Return `Pairs.clusters` of all documents of `tasks`, one task after the other, which may share clusters."""
    names = pd.concat([_cluster_names(one) for one in tasks], ignore_index=True)
    alone = names.isna().to_numpy()
    codes = np.asarray(pd.factorize(names)[0], dtype=np.int64)
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    return None if np.unique(codes).size == codes.size else codes


def _cluster_names(one: Pairs) -> pd.Series[str]:
    """Return the names of clusters, those of the candidate where the baseline's report is older than they are."""
    side = one.candidate if one.baseline["cluster"].null_count == one.n else one.baseline
    return pd.Series(side["cluster"].to_pandas(), dtype=object)


def join(baseline: Report, candidate: Report, task: str) -> dict[str, Pairs]:
    """Return the documents of `task` that both reports answered, by filter.

    Raises IncomparableError if they were asked something else, and HarnessError if a file cannot be read.
    """
    for report in (baseline, candidate):
        if task not in report.manifest.tasks:
            raise IncomparableError(f"{report.manifest.checkpoint.name} was not evaluated on it")
    _require_same_task(baseline, candidate, task)
    first, second = read(baseline, task), read(candidate, task)
    was, now = baseline.manifest.tasks[task].prompt_hash, candidate.manifest.tasks[task].prompt_hash
    if was != now and all(first[column].equals(second[column]) for column in KEY):
        raise IncomparableError("other prompts: its texts were read in windows of another length")
    return beside(task, first, second, _why(baseline, candidate, task))


def beside(task: str, baseline: pa.Table, candidate: pa.Table, why: str = "") -> dict[str, Pairs]:
    """Return the documents that are in both tables of `task`, by filter; `why` says how it may be that prompts differ.

    Raises IncomparableError if they do, or if there are none.
    """
    found = {}
    for name in pc.unique(candidate["filter"]).to_pylist():
        first, second = (side.filter(pc.equal(side["filter"], name)) for side in (baseline, candidate))
        if first.num_rows:
            found[name] = _join(task, name, first, second, why or "the text of the prompts differs")
    if not found:
        raise IncomparableError("no answer filter in common: evaluate both by the same version of the task")
    return found


def read(report: Report, task: str) -> pa.Table:
    """Return the samples of `task` in `report`, with the columns that comparing needs (see `Pairs`)."""
    table = report.table(task, without=UNREAD)
    made = {"length": _lengths(table), "place": _places(table), "wanted_place": _wanted_places(table)}
    table = table.drop_columns(["responses", "choices", "logprobs"])
    for name, column in made.items():
        table = table.append_column(name, column)
    return table


def _lengths(table: pa.Table) -> pa.Array:
    """Return the characters of each document's answer but for white space at its ends, of several answers the mean."""
    answers = table["responses"].combine_chunks()
    each = pc.utf8_length(pc.utf8_trim_whitespace(pc.list_flatten(answers))).to_numpy(zero_copy_only=False)
    counts = _counts(answers)
    sums = np.bincount(pc.list_parent_indices(answers), weights=each, minlength=len(counts))
    return pa.array(sums / np.maximum(counts, 1), mask=counts == 0)


def _places(table: pa.Table) -> pa.Array:
    """Return which choice is the likeliest, the first of several; null where a document gives none."""
    asked = table["logprobs"].combine_chunks()
    counts, owners = _counts(asked), pc.list_parent_indices(asked).to_numpy()
    each = pc.list_flatten(asked).to_numpy(zero_copy_only=False)
    order = np.lexsort((np.arange(each.size), -each, owners))
    return _firsts(order, owners, counts)


def _wanted_places(table: pa.Table) -> pa.Array:
    """Return which choice is the target; null where none is."""
    choices = table["choices"].combine_chunks()
    counts, owners = _counts(choices), pc.list_parent_indices(choices).to_numpy()
    targets = pc.utf8_trim_whitespace(table["target"].combine_chunks()).take(pa.array(owners))
    same = pc.equal(pc.utf8_trim_whitespace(pc.list_flatten(choices)), targets).to_numpy(zero_copy_only=False)
    return _firsts(np.flatnonzero(same.astype(np.bool_)), owners, counts)


def _firsts(found: npt.NDArray[np.int64], owners: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> pa.Array:
    """Return the place of each document's first value in `found` among its own; null where there is none."""
    documents, first = np.unique(owners[found], return_index=True)
    starts = np.concatenate([[0], counts.cumsum()[:-1]])
    places = np.full(counts.size, -1)
    places[documents] = found[first] - starts[documents]
    return pa.array(places, mask=places < 0)


def _counts(lists: pa.Array) -> npt.NDArray[np.int64]:
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False), dtype=np.int64)


def _require_same_task(baseline: Report, candidate: Report, task: str) -> None:
    was, now = baseline.manifest.tasks[task], candidate.manifest.tasks[task]
    for what in ("version", "dataset", "split"):
        if getattr(was, what) != getattr(now, what):
            raise IncomparableError(f"other {what}: {getattr(now, what)} instead of {getattr(was, what)}")


def _why(baseline: Report, candidate: Report, task: str) -> str:
    """Return how the prompts of `task` were asked for in another way."""
    asked = [Asked({task: one.manifest.tasks[task]}, one.manifest.protocol) for one in (candidate, baseline)]
    reasons = [one.reason for one in comparable.differences(*asked) if one.label == "other prompts"]
    return reasons[0] if reasons else "the text of the prompts differs"


def _join(task: str, name: str, first: pa.Table, second: pa.Table, why: str) -> Pairs:
    if all(first[column].equals(second[column]) for column in KEY):
        return Pairs(task, name, first, second, 0)
    was, now = _keys(first), _keys(second)
    both = was.merge(now, on=[*KEY, "nth"], suffixes=("_was", "_now"))
    documents = set(was["doc_hash"]) & set(now["doc_hash"])
    if not documents:
        raise IncomparableError("other documents: they have none in common")
    other = len(documents - set(both["doc_hash"]))
    if other:
        raise IncomparableError(f"other prompts of {other:,} of {len(documents):,} documents: {why}")
    left_out = len(was) + len(now) - 2 * len(both)
    return Pairs(task, name, first.take(pa.array(both["row_was"])), second.take(pa.array(both["row_now"])), left_out)


def _keys(table: pa.Table) -> pd.DataFrame:
    found = pd.DataFrame({column: table[column].to_pandas() for column in KEY})
    found["nth"] = found.groupby(list(KEY), sort=False).cumcount()
    found["row"] = np.arange(len(found))
    return found
