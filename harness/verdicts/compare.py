"""Two reports → what their answers to the same documents tell of each number's difference.

An average is the mean over all its documents, each weighed as the average weighs it, so that it is compared as a task
is. Documents that a contamination check found in the training data are compared by themselves.

Not here: whether a difference may pass (`harness.verdicts.gate`), or how it is shown.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from harness.reports.report import Report, Score
from harness.verdicts import pairs
from harness.verdicts.comparable import Key
from harness.verdicts.pairs import IncomparableError, Pairs
from harness.verdicts.stats import forms
from harness.verdicts.stats.corpora import Corpora, Metric
from harness.verdicts.stats.forms import Paired
from harness.verdicts.stats.means import Array, Differences, Interval
from harness.verdicts.stats.sums import ratio

AGREES = 1e-6
"""Relative difference beyond which samples do not make the number that their report has."""

GUESSES = ("mean", "ratio")
"""How a number is made of its samples, where a report is older than its saying so: what makes it is believed."""


class Refusal(NamedTuple):
    """A number that cannot be compared, and why."""

    score: Score
    reason: str


class Stopped(NamedTuple):
    """Documents were asked in random order, and no more of them once the verdict was clear."""

    interval: Interval | None
    """Of the confidence sequence, in the metric's own unit, which holds whenever one stops; the mean does not."""
    documents: int
    """How many there are."""


@dataclass(frozen=True)
class Comparison:
    """One number of a baseline and a candidate, on the documents that both answered."""

    score: Score
    """The baseline's, which says what number it is."""
    values: Differences | Corpora = field(repr=False)
    """The documents' scores, more being better."""
    documents: int
    left_out: int
    """Documents that only one of both answered, or has a value of."""
    tainted: Comparison | None = None
    """The same of documents that were seen in training, which are left out here."""
    stopped: Stopped | None = None
    """None where all documents were read; else `difference` leans towards the verdict, and is not to be shown."""

    @functools.cached_property
    def baseline(self) -> float:
        """The baseline's number, in the metric's own unit."""
        return self._upright(self.values.scores[0])

    @functools.cached_property
    def candidate(self) -> float:
        """The candidate's number, in the metric's own unit."""
        return self._upright(self.values.scores[1])

    @property
    def difference(self) -> float:
        """Candidate less baseline, in the metric's own unit: above 0 is worse where less is better."""
        return self.values.difference if self.score.higher_is_better else -self.values.difference

    @functools.cached_property
    def interval(self) -> Interval | None:
        """The 95 % interval of the difference; None where nothing tells how it varies."""
        if self.stopped:
            return self.stopped.interval
        found = self.values.interval(0.95)
        if found is None or self.score.higher_is_better:
            return found
        return Interval(-found.high, -found.low)

    @functools.cached_property
    def p_value(self) -> float:
        """Two-sided p-value of "there is no difference"."""
        return min(1.0, 2 * min(self.values.loss, self.values.gain))

    @functools.cached_property
    def needed(self) -> float:
        """Documents that would tell two such checkpoints apart, in a two-sided 5 % test with a power of 80 %."""
        return self.values.needed_to_tell()

    @property
    def resolution(self) -> float:
        """The resolution ratio: documents there are by documents needed (arXiv 2605.30315); enough from 1 on."""
        return self.documents / self.needed if self.needed else math.inf

    @property
    def clusters(self) -> int | None:
        """Number of clusters of documents; None where each stands alone."""
        return None if self.values.clusters is None else self.values.units

    def _upright(self, value: float) -> float:
        if self.score.higher_is_better:
            return value
        return 1 - value if self.score.fraction and isinstance(self.values, Differences) else -value


class Comparator:
    """A baseline's and a candidate's report, whose samples are read and joined once a task."""

    def __init__(self, baseline: Report, candidate: Report) -> None:
        self.baseline, self.candidate = baseline, candidate
        self._candidates = {Key.of(score): score for score in candidate.manifest.scores}
        self._joined: dict[str, dict[str, Pairs] | IncomparableError] = {}

    def all(self, scores: Sequence[Score]) -> Iterator[Comparison | Refusal]:
        """Yield how each of the baseline's `scores` compares, or why it does not."""
        for score in scores:
            try:
                yield self.of(score)
            except IncomparableError as error:
                yield Refusal(score, str(error))

    def of(self, score: Score) -> Comparison:
        """Return how `score`, one of the baseline's, compares with the candidate's.

        Raises IncomparableError if it cannot be compared, and HarnessError if a report is damaged.
        """
        if Key.of(score) not in self._candidates:
            name = self.candidate.manifest.checkpoint.name
            why = f": evaluate it on {score.task}, too"
            if self.candidate.manifest.tasks.keys() >= set(score.members):
                why = ", though it was asked: none of its answers has a value, or the metric is of another version"
            raise IncomparableError(f"{name} has no {score.metric} of it{why}")
        for report in (self.baseline, self.candidate):
            known = [task for task in score.members if task in report.manifest.tasks]
            for told in filter(None, map(report.manifest.stopped, known)):
                raise IncomparableError(f"{report.manifest.checkpoint.name}'s {told}: evaluate it on all of them")
        joined = [self.pairs(task, score.filter) for task in score.members]
        clean = self.clean(score)
        tainted = sum(one.n for one in joined) - sum(one.n for one in clean)
        if not tainted:
            found = _compare(score, joined)
            if found.left_out:
                self._check_each(score)
            else:
                self._check(found)
            return found
        self._check_each(score)
        lost = [one.task for one in clean if not one.n]
        if not _makes(score, clean):
            raise IncomparableError(f"all documents of {', '.join(lost)} were seen in training")
        apart = [one.where(one.tainted) for one in joined]
        seen = _compare(score, apart) if _makes(score, apart) else None
        return _compare(score, clean, tainted=seen)

    def clean(self, score: Score) -> list[Pairs]:
        """Return the documents of `score` that were not seen in training; raises as `pairs`."""
        joined = [self.pairs(task, score.filter) for task in score.members]
        return [one.where(~one.tainted) for one in joined]

    def pairs(self, task: str, name: str) -> Pairs:
        """Return the documents of `task` that both answered, under the filter `name`; raises as `pairs.join`."""
        if task not in self._joined:
            try:
                self._joined[task] = pairs.join(self.baseline, self.candidate, task)
            except IncomparableError as error:
                self._joined[task] = error
        found = self._joined[task]
        if isinstance(found, IncomparableError):
            raise found
        if name not in found:
            raise IncomparableError(f"no answers under the filter '{name}' in both")
        return found[name]

    def _check(self, found: Comparison) -> None:
        """Refuse samples that do not make the number their report has, as where a metric is not what its name says."""
        if found.documents == sum(self.pairs(t, found.score.filter).n for t in found.score.members):
            _require_agreement(self.baseline, found.score, found.baseline)
            _require_agreement(self.candidate, found.score, found.candidate)

    def _check_each(self, score: Score) -> None:
        """Do the same where not all documents are compared: each report has all of its own."""
        for report in (self.baseline, self.candidate):
            own = _told(report, score)
            alone = [pairs.join(report, report, task)[own.filter] for task in own.members]
            made = _compare(own, alone)
            if made.documents == sum(one.n for one in alone):
                _require_agreement(report, score, made.baseline)


def _require_agreement(report: Report, score: Score, made: float) -> None:
    told = _told(report, score).value
    slack = max(AGREES, forms.rounding(score.aggregation))
    if not math.isclose(made, told, rel_tol=AGREES, abs_tol=slack):
        raise IncomparableError(f"the samples of {report.folder.name} make {made:.6g}, its score is {told:.6g}")


def _told(report: Report, score: Score) -> Score:
    return next(one for one in report.manifest.scores if Key.of(one) == Key.of(score))


class Sample(NamedTuple):
    """Some documents of a number that is a mean, as two checkpoints answered them."""

    differences: Differences
    weights: Array | None
    """What each document counts for, by which its scores are multiplied; None where all count the same."""


def sample(score: Score, joined: Sequence[Pairs], sizes: Mapping[str, int]) -> Sample | None:
    """Return the documents of `joined`, some of each task's `sizes`; None where `score` is no mean.

    Raises IncomparableError as `Comparator.of`.
    """
    parts = [_paired(score, one) for one in joined]
    kept = [one.where(part.kept) for one, part in zip(joined, parts, strict=True)]
    weights = _weights(score, kept, sizes)
    found = _means(score, parts, pairs.numbered_clusters(kept), weights)
    return None if found is None else Sample(found, weights)


def document_weights(score: Score, sizes: Mapping[str, int]) -> dict[str, float]:
    """Return what a document of each task counts for, tasks having `sizes`: 1 on average.

    In a mean over tasks, documents of small tasks count for more.
    """
    average = sum(sizes.values()) / len(sizes)
    return {task: average / size if score.average == "task" else 1.0 for task, size in sizes.items()}


def _weights(score: Score, joined: Sequence[Pairs], sizes: Mapping[str, int]) -> Array | None:
    if score.average != "task":
        return None
    each = document_weights(score, sizes)
    return np.repeat([each[one.task] for one in joined], [one.n for one in joined])


def _makes(score: Score, joined: Sequence[Pairs]) -> bool:
    """Tell whether there is a number of `joined`: a mean over tasks is of all of them."""
    return (all if score.average == "task" else any)(one.n for one in joined)


def _compare(score: Score, joined: Sequence[Pairs], tainted: Comparison | None = None) -> Comparison:
    parts = [_paired(score, one) for one in joined]
    kept = [one.where(part.kept) for one, part in zip(joined, parts, strict=True)]
    sizes = {one.task: one.n for one in kept}
    if not _makes(score, kept):
        raise IncomparableError("no document has a value in both")
    clusters = pairs.numbered_clusters(kept)
    values: Differences | Corpora | None = _means(score, parts, clusters, _weights(score, kept, sizes))
    if values is None:
        each = document_weights(score, sizes)
        shares = np.array([each[one.task] * one.n for one in kept]) / sum(sizes.values())
        values = _corpora(score, parts, clusters, shares)
    left_out = sum(one.left_out + _scored_once(score, one) for one in joined)
    return Comparison(score, values, sum(sizes.values()), left_out, tainted)


def _scored_once(score: Score, one: Pairs) -> int:
    """Return how many documents have a value in one report only, as where a checkpoint abstains."""
    missing = [pc.is_null(side[score.metric], nan_is_null=True) for side in (one.baseline, one.candidate)]
    return int(pc.sum(pc.xor(*missing)).as_py() or 0)


def _paired(score: Score, one: Pairs) -> Paired:
    columns = []
    for side in (one.baseline, one.candidate):
        if score.metric not in side.column_names:
            raise IncomparableError(f"samples of {one.task} have no {score.metric}")
        columns.append(side[score.metric].to_pandas().to_numpy())
    try:
        ways = [score.aggregation] if score.aggregation else GUESSES
        found = next(filter(None, (forms.paired(way, *columns) for way in ways)), None)
    except ValueError as error:
        raise IncomparableError(f"{one.task}: {error}") from error
    if found is None:
        raise IncomparableError(f"{score.metric} is no sum over documents, and has no paired test")
    return found


def _means(
    score: Score, parts: Sequence[Paired], clusters: npt.NDArray[np.int64] | None, weights: Array | None
) -> Differences | None:
    """Return the documents of `parts` as one mean, None where a part is no mean."""
    if any(part.metric is not None for part in parts):
        return None

    def side(values: Sequence[Array]) -> Array:
        flat = np.concatenate(values)
        if not score.higher_is_better:
            flat = 1 - flat if score.fraction else -flat
        return flat if weights is None else flat * weights

    span = None if weights is None else float(weights.max())
    return Differences(side([p.baseline for p in parts]), side([p.candidate for p in parts]), clusters, span)


def _corpora(score: Score, parts: Sequence[Paired], clusters: npt.NDArray[np.int64] | None, weights: Array) -> Corpora:
    """Return the statistics of `parts` side by side; the metric is the weighted mean of theirs."""
    widths = [1 if part.metric is None else part.baseline.shape[1] for part in parts]
    ends = np.cumsum([width + (part.metric is None) for width, part in zip(widths, parts, strict=True)])
    metrics = [part.metric or ratio for part in parts]

    def side(values: Sequence[Array]) -> Array:
        blocks = [np.column_stack([one, np.ones(len(one))]) if one.ndim == 1 else one for one in values]
        found = np.zeros((sum(map(len, blocks)), int(ends[-1])))
        row = 0
        for block, end in zip(blocks, ends, strict=True):
            found[row : row + len(block), end - block.shape[1] : end] = block
            row += len(block)
        return found

    whole = metrics[0] if len(parts) == 1 else _weighted(metrics, ends, weights)
    oriented = whole if score.higher_is_better else lambda sums: -whole(sums)
    return Corpora(side([p.baseline for p in parts]), side([p.candidate for p in parts]), oriented, clusters)


def _weighted(metrics: Sequence[Metric], ends: npt.NDArray[np.int64], weights: Array) -> Metric:
    starts = [0, *ends[:-1]]

    def whole(sums: Array) -> Array:
        pieces = zip(metrics, starts, ends, weights, strict=True)
        found = [weight * metric(sums[:, start:end]) for metric, start, end, weight in pieces]
        return np.asarray(np.sum(found, axis=0), dtype=np.float64)

    return whole
