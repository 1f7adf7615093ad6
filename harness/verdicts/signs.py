"""Signs of broken answers, which a gate reports beside scores.

An average hides a checkpoint that says "Yes" to everything, that has stopped answering, or whose answers can no longer
be parsed. Each sign is a sentence with figures, and is reported only if the baseline does not show it as well. Signs do
not test whether a score fell; they say where to look.

Not here: the effect of a sign on a verdict (`harness.verdicts.gate`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.verdicts.pairs import Integers, Pairs, cluster_numbers
from harness.verdicts.stats.means import Array, Differences

FEWEST = 20
"""Smallest number of documents for which identical or short answers are a sign of broken answers."""
CONSTANT = 0.95
"""Answers count as constant if at least this share of documents has the same answer."""
RISE = 0.02
"""Smallest rise of a share of documents that is a sign, if the rise's 95 % interval also lies above 0."""
INVALID = "[invalid]"
"""The prediction that lm-eval's filters return for an answer in which they find nothing."""

CERTAIN = ("constant answers", "length collapse")
"""The names of signs that do not arise by chance."""

Objects = npt.NDArray[np.object_]


class Sign(NamedTuple):
    """One sign of broken answers."""

    name: str
    """The name of the sign in two words, for a table: `constant answers`."""
    text: str
    """A sentence with figures: `answers 'Yes' to 408 of 408 documents (baseline: 261)`."""


@dataclass(frozen=True)
class Answers:
    """One checkpoint's answers to the documents that both reports have, in the order of the joined tables."""

    predictions: Objects | None = None
    """The answer that was parsed from each response, as the report holds it."""
    places: Integers | None = None
    """Index of the chosen choice of each document, from 0; None for tasks without choices."""
    lengths: Array | None = None
    """The number of characters of each response; None if answers were not generated."""
    metrics: Mapping[str, Array] = field(default_factory=dict)
    """The values of numeric metrics by name, one per document, with NaN for documents without a value."""


class Expected(NamedTuple):
    """The right answers of the documents."""

    targets: Objects | None = None
    places: Integers | None = None
    """Index of the right choice of each document, for tasks with choices."""


class _Failure(NamedTuple):
    """A kind of failure, such as empty answers. It is a sign if the share of documents with this failure rises."""

    name: str
    metrics: tuple[str, ...]
    """Prefixes of the names of metrics that count documents with this failure."""
    text: str


_ABSTENTIONS = _Failure("abstentions", ("abstention", "abstain"), "abstains on {} documents (baseline: {})")
_UNPARSED = _Failure(
    "parse failures", ("unparsed", "not_understood"), "no answer can be parsed for {} documents (baseline: {})"
)
_EMPTY = _Failure("empty answers", ("empty",), "gives an empty answer to {} documents (baseline: {})")
_CUT = _Failure("cut answers", ("cut_at_limit",), "reaches the limit of tokens on {} documents (baseline: {})")
_FAILURES = (_ABSTENTIONS, _UNPARSED, _EMPTY, _CUT)


def find(
    baseline: Answers, candidate: Answers, expected: Expected, clusters: npt.NDArray[np.int64] | None = None
) -> list[Sign]:
    """Return the signs that the candidate's answers show and the baseline's do not, each sign once.

    - `constant answers`: always the same answer, or the same place among the choices, although the right answers vary.
    - `abstentions`, `parse failures`, `empty answers`, `cut answers`: more frequent by `RISE` or more, and not by
      chance. These are counted by the tasks' own metrics (`abstention`, `unparsed`, `empty`), and in predictions,
      responses, and how responses ended.
    - `length collapse`: responses less than half as long as the baseline's, and as the right answers.
    """
    signs = [*_constant_answers(baseline, candidate, expected)]
    for failure in _FAILURES:
        rises = (_rise(failure, *columns, clusters) for columns in _failure_columns(failure, baseline, candidate))
        signs += [sign for sign in rises if sign][:1]
    return [*signs, *_length_collapse(baseline, candidate, expected)]


def find_in_pairs(joined: Sequence[Pairs], *, judged: bool = True) -> list[Sign]:
    """Return the signs in all documents of `joined`, which belong to one task or to the tasks of one average.

    For a task that is only watched (not `judged`), signs that may arise by chance are left out, because some would
    arise among many watched tasks.
    """
    if not any(pairs.n for pairs in joined):
        return []
    before, after = [pairs.baseline for pairs in joined], [pairs.candidate for pairs in joined]
    expected = Expected(_objects(before, "target"), _integers(before, "target_place"))
    signs = find(_answers(before), _answers(after), expected, cluster_numbers(joined))
    return [sign for sign in signs if judged or sign.name in CERTAIN]


def _answers(tables: Sequence[pa.Table]) -> Answers:
    shared = set.intersection(*(set(table.column_names) for table in tables))
    prefixes = tuple(prefix for failure in _FAILURES for prefix in failure.metrics)
    metrics = {name: _column(tables, name) for name in sorted(shared) if name.startswith(prefixes)}
    lengths = _column(tables, "length")
    return Answers(
        predictions=_objects(tables, "prediction"),
        places=_integers(tables, "place"),
        lengths=None if np.isnan(lengths).any() else lengths,
        metrics={name: values for name, values in metrics.items() if values.dtype.kind == "f"},
    )


def _column(tables: Sequence[pa.Table], name: str) -> npt.NDArray[Any]:
    return np.concatenate([table[name].to_pandas().to_numpy() for table in tables])


def _objects(tables: Sequence[pa.Table], name: str) -> Objects:
    return _column(tables, name).astype(object)


def _integers(tables: Sequence[pa.Table], name: str) -> Integers | None:
    """Return the column `name` of all `tables` as integers; None if any document has no value."""
    if any(table[name].null_count for table in tables):
        return None
    return _column(tables, name).astype(np.int64)


# --- constant answers -------------------------------------------------------------------------------------------------


def _constant_answers(baseline: Answers, candidate: Answers, expected: Expected) -> Iterator[Sign]:
    answer = _constant(baseline.predictions, candidate.predictions, expected.targets)
    if answer is not None and str(answer.value).strip() not in ("", INVALID):
        yield Sign("constant answers", f"answers '{_shortened(answer.value)}' to {answer.figures}")
        return
    place = _constant(baseline.places, candidate.places, expected.places)
    if place is not None:
        yield Sign("constant answers", f"chooses number {place.value + 1} in {place.figures}")


class _Constant(NamedTuple):
    value: Any
    figures: str


def _constant(
    baseline: npt.NDArray[Any] | None, candidate: npt.NDArray[Any] | None, expected: npt.NDArray[Any] | None
) -> _Constant | None:
    """Return the answer that the candidate always gives, if the baseline's and the right answers vary; else None."""
    if baseline is None or candidate is None or expected is None or len(candidate) < FEWEST:
        return None
    before, after, targets = (Counter(values.tolist()) for values in (baseline, candidate, expected))
    value, count = after.most_common(1)[0]
    enough, total = CONSTANT * len(candidate), len(candidate)
    if count < enough or len(targets) < 2 or any(counts.most_common(1)[0][1] >= enough for counts in (before, targets)):
        return None
    return _Constant(value, f"{count:,} of {total:,} documents (baseline: {before[value]:,})")


def _shortened(value: object, limit: int = 40) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= limit else text[:limit] + "…"


# --- shares of documents that rise ------------------------------------------------------------------------------------


def _failure_columns(failure: _Failure, baseline: Answers, candidate: Answers) -> Iterator[tuple[Array, Array]]:
    """Yield pairs of columns (baseline, candidate) that say how much each document shows `failure`, from 0 to 1."""
    for name, column in candidate.metrics.items():
        if name.startswith(failure.metrics) and name in baseline.metrics:
            yield baseline.metrics[name], column
    if failure is _UNPARSED and baseline.predictions is not None and candidate.predictions is not None:
        yield _unparsed(baseline.predictions, baseline.lengths), _unparsed(candidate.predictions, candidate.lengths)
    if failure is _EMPTY and baseline.lengths is not None and candidate.lengths is not None:
        yield (baseline.lengths == 0).astype(float), (candidate.lengths == 0).astype(float)


def _unparsed(predictions: Objects, lengths: Array | None) -> Array:
    """Return 1 for each document whose response is not empty and from which no answer was parsed, else 0."""
    nothing = np.array([str(prediction).strip() in ("", INVALID) for prediction in predictions], dtype=float)
    return nothing if lengths is None else nothing * (lengths > 0)


def _rise(failure: _Failure, baseline: Array, candidate: Array, clusters: npt.NDArray[np.int64] | None) -> Sign | None:
    """Return the sign that `failure` is more frequent; None if the rise is below `RISE` or may be chance."""
    has_both = ~(np.isnan(baseline) | np.isnan(candidate))
    before, after = baseline[has_both], candidate[has_both]
    if not after.size or not all(((side >= 0) & (side <= 1)).all() for side in (before, after)):
        return None
    numbers = None if clusters is None else np.unique(clusters[has_both], return_inverse=True)[1]
    differences = Differences(before, after, numbers)
    interval = differences.interval()
    # Without an interval, all documents have risen by the same amount.
    by_chance = differences.units < FEWEST if interval is None else interval.low <= 0
    if differences.difference < RISE or by_chance:
        return None
    if np.isin([before, after], (0, 1)).all():
        figures = f"{int(after.sum()):,} of {after.size:,}", f"{int(before.sum()):,}"
    else:
        figures = f"{after.mean():.1%} of {after.size:,}", f"{before.mean():.1%}"
    return Sign(failure.name, failure.text.format(*figures))


# --- lengths ----------------------------------------------------------------------------------------------------------


def _length_collapse(baseline: Answers, candidate: Answers, expected: Expected) -> Iterator[Sign]:
    if baseline.lengths is None or candidate.lengths is None or len(candidate.lengths) < FEWEST:
        return
    before, after = float(np.median(baseline.lengths)), float(np.median(candidate.lengths))
    # If a single letter is expected and the baseline explained its choice, a letter alone is not a collapsed answer.
    targets = [] if expected.targets is None else [str(text).strip() for text in expected.targets]
    lengths = [len(text) for text in targets if text]
    enough = min([before, float(np.median(lengths))] if lengths else [before])
    if 2 * after < enough:
        yield Sign(
            "length collapse", f"half of its answers have {after:,.0f} characters or fewer (baseline: {before:,.0f})"
        )
