"""What a gate names beside numbers: answers that look broken, whatever they score.

An average hides a checkpoint that says "Yes" to everything, that has stopped answering, or whose answers can no longer
be read. Each sign is a sentence with its figures, and is found only where the baseline has it not: what was so before
is no news. Signs are no tests of a loss; they say where to look.

Not here: what a verdict makes of them (`harness.verdicts.gate`); answers without end, of which a report does not tell,
as it has texts and no tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.verdicts.pairs import Pairs, numbered_clusters
from harness.verdicts.stats.means import Array, Differences

FEWEST = 20
"""Documents of which answers that are all alike, or short, are a sign."""
CONSTANT = 0.95
"""The share of documents with the same answer from which on answers are constant."""
RISE = 0.02
"""By how much a share of documents must rise, beside its 95 % interval lying above 0."""
INVALID = "[invalid]"
"""What lm-eval's filters read in an answer in which they find nothing."""

CERTAIN = ("constant answers", "length collapse")
"""Signs that are no matter of chance."""

Objects = npt.NDArray[np.object_]


class Sign(NamedTuple):
    """One thing that looks broken."""

    name: str
    """Two words, for a table: `constant answers`."""
    text: str
    """A sentence with figures: `answers 'Yes' to 408 of 408 documents (baseline: 261)`."""


@dataclass(frozen=True)
class Answers:
    """What a report tells of one checkpoint's answers to a task's documents, in the order of both reports' join."""

    predictions: Objects | None = None
    """The answer that was read, as the report has it."""
    places: npt.NDArray[np.int64] | None = None
    """Which of a document's choices was chosen, from 0 on; None where none are given."""
    lengths: Array | None = None
    """Characters of the response; None where answers were not generated."""
    metrics: Mapping[str, Array] = field(default_factory=dict)
    """Columns of numbers by the metric's name, NaN where a document has none."""


class Wanted(NamedTuple):
    """What the documents ask for."""

    targets: Objects | None = None
    places: npt.NDArray[np.int64] | None = None
    """Which choice is right, where documents give choices."""


class _Failure(NamedTuple):
    name: str
    metrics: tuple[str, ...]
    """What a metric's name begins with that counts such documents."""
    text: str


_ABSTENTIONS = _Failure("abstentions", ("abstention", "abstain"), "abstains on {} documents (baseline: {})")
_UNREAD = _Failure("parse failures", ("unparsed",), "cannot be read in {} documents (baseline: {})")
_EMPTY = _Failure("empty answers", ("empty",), "answers nothing to {} documents (baseline: {})")


def find(
    baseline: Answers, candidate: Answers, wanted: Wanted, clusters: npt.NDArray[np.int64] | None = None
) -> list[Sign]:
    """Return what looks broken in the candidate's answers and not in the baseline's, each sign once.

    - `constant answers`: it gives one answer, or always chooses the same place, while what is wanted varies.
    - `abstentions`, `parse failures`, `empty answers`: they rise by `RISE` or more, and not by chance. They are counted
      by the tasks' own metrics (`abstention`, `unparsed`, `empty`), and in predictions and responses.
    - `length collapse`: its responses are less than half as long as the baseline's, and as what is wanted.
    """
    found = [*_constant(baseline, candidate, wanted)]
    for kind in (_ABSTENTIONS, _UNREAD, _EMPTY):
        jumps = (_jump(kind, *counted, clusters) for counted in _counted(kind, baseline, candidate))
        found += [sign for sign in jumps if sign][:1]
    return [*found, *_collapse(baseline, candidate, wanted)]


def of(joined: Sequence[Pairs], *, judged: bool = True) -> list[Sign]:
    """Return what looks broken in all documents of `joined`, which are of one task or of an average's.

    Of the many tasks that are not `judged` but only watched, what rises by chance in one of them is left out.
    """
    if not any(one.n for one in joined):
        return []
    before, now = [one.baseline for one in joined], [one.candidate for one in joined]
    wanted = Wanted(_objects(before, "target"), _numbers(before, "wanted_place"))
    found = find(_answers(before), _answers(now), wanted, numbered_clusters(joined))
    return [sign for sign in found if judged or sign.name in CERTAIN]


def _answers(tables: Sequence[pa.Table]) -> Answers:
    shared = set.intersection(*(set(table.column_names) for table in tables))
    counting = [
        name
        for name in sorted(shared)
        if name.startswith(tuple(_ABSTENTIONS.metrics + _UNREAD.metrics + _EMPTY.metrics))
    ]
    metrics = {name: _column(tables, name) for name in counting}
    lengths = _column(tables, "length")
    return Answers(
        predictions=_objects(tables, "prediction"),
        places=_numbers(tables, "place"),
        lengths=None if np.isnan(lengths).any() else lengths,
        metrics={name: values for name, values in metrics.items() if values.dtype.kind == "f"},
    )


def _column(tables: Sequence[pa.Table], name: str) -> npt.NDArray[Any]:
    return np.concatenate([table[name].to_pandas().to_numpy() for table in tables])


def _objects(tables: Sequence[pa.Table], name: str) -> Objects:
    return _column(tables, name).astype(object)


def _numbers(tables: Sequence[pa.Table], name: str) -> npt.NDArray[np.int64] | None:
    """Return a column of whole numbers, None where a document has none."""
    if any(table[name].null_count for table in tables):
        return None
    return _column(tables, name).astype(np.int64)


# --- constant answers -------------------------------------------------------------------------------------------------


def _constant(baseline: Answers, candidate: Answers, wanted: Wanted) -> Iterator[Sign]:
    answer = _only(baseline.predictions, candidate.predictions, wanted.targets)
    if answer is not None and str(answer.value).strip() not in ("", INVALID):
        yield Sign("constant answers", f"answers '{_short(answer.value)}' to {answer.figures}")
        return
    place = _only(baseline.places, candidate.places, wanted.places)
    if place is not None:
        yield Sign("constant answers", f"chooses number {place.value + 1} in {place.figures}")


class _Only(NamedTuple):
    value: Any
    figures: str


def _only(baseline: npt.NDArray[Any] | None, candidate: npt.NDArray[Any] | None, wanted: Any) -> _Only | None:
    """Return the candidate's only answer, None where it has several or may have one."""
    if baseline is None or candidate is None or wanted is None or len(candidate) < FEWEST:
        return None
    before, now, right = (Counter(values.tolist()) for values in (baseline, candidate, wanted))
    value, count = now.most_common(1)[0]
    enough, total = CONSTANT * len(candidate), len(candidate)
    if count < enough or len(right) < 2 or any(counts.most_common(1)[0][1] >= enough for counts in (before, right)):
        return None
    return _Only(value, f"{count:,} of {total:,} documents (baseline: {before[value]:,})")


def _short(value: Any, most: int = 40) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= most else text[:most] + "…"


# --- shares of documents that rise ------------------------------------------------------------------------------------


def _counted(kind: _Failure, baseline: Answers, candidate: Answers) -> Iterator[tuple[Array, Array]]:
    """Yield by which numbers of each document, 1 or 0 or between, failures of a `kind` are counted in both."""
    for name, column in candidate.metrics.items():
        if name.startswith(kind.metrics) and name in baseline.metrics:
            yield baseline.metrics[name], column
    if kind is _UNREAD and baseline.predictions is not None and candidate.predictions is not None:
        yield _unread(baseline.predictions, baseline.lengths), _unread(candidate.predictions, candidate.lengths)
    if kind is _EMPTY and baseline.lengths is not None and candidate.lengths is not None:
        yield (baseline.lengths == 0).astype(float), (candidate.lengths == 0).astype(float)


def _unread(predictions: Objects, responses: Array | None) -> Array:
    """Return where nothing was read, other than in an empty response."""
    nothing = np.array([str(one).strip() in ("", INVALID) for one in predictions], dtype=float)
    return nothing if responses is None else nothing * (responses > 0)


def _jump(kind: _Failure, baseline: Array, candidate: Array, clusters: npt.NDArray[np.int64] | None) -> Sign | None:
    kept = ~(np.isnan(baseline) | np.isnan(candidate))
    before, now = baseline[kept], candidate[kept]
    if not now.size or not all(((side >= 0) & (side <= 1)).all() for side in (before, now)):
        return None
    named = None if clusters is None else np.unique(clusters[kept], return_inverse=True)[1]
    risen = Differences(before, now, named)
    interval = risen.interval()
    by_chance = risen.units < FEWEST if interval is None else interval.low <= 0  # without one, all have risen alike
    if risen.difference < RISE or by_chance:
        return None
    if np.isin([before, now], (0, 1)).all():
        figures = f"{int(now.sum()):,} of {now.size:,}", f"{int(before.sum()):,}"
    else:
        figures = f"{now.mean():.1%} of {now.size:,}", f"{before.mean():.1%}"
    return Sign(kind.name, kind.text.format(*figures))


# --- lengths ----------------------------------------------------------------------------------------------------------


def _collapse(baseline: Answers, candidate: Answers, wanted: Wanted) -> Iterator[Sign]:
    if baseline.lengths is None or candidate.lengths is None or len(candidate.lengths) < FEWEST:
        return
    before, now = float(np.median(baseline.lengths)), float(np.median(candidate.lengths))
    # A letter is no collapsed answer where a letter is wanted, and the baseline explained itself.
    known = [] if wanted.targets is None else [len(text.strip()) for text in map(str, wanted.targets) if text.strip()]
    enough = min([before, float(np.median(known))] if known else [before])
    if 2 * now < enough:
        yield Sign(
            "length collapse", f"half of its answers have {now:,.0f} characters or fewer (baseline: {before:,.0f})"
        )
