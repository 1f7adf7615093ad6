"""Paired comparison of two reports: for each score, the difference on the documents that both checkpoints answered.

An average is treated as one mean over the documents of all its tasks, with the weights that the average gives to
documents. So an average is compared in the same way as a task. Documents that a contamination check found in the
training data are compared separately.

Not here: whether a difference is acceptable (`harness.verdicts.gate`), or how it is displayed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from harness.reports import ledger
from harness.reports.ledger import Ledger
from harness.reports.report import Report, Score
from harness.verdicts import pairs
from harness.verdicts.comparable import Key
from harness.verdicts.pairs import IncomparableError, Integers, Pairs
from harness.verdicts.stats import forms
from harness.verdicts.stats.corpora import Corpora, Metric
from harness.verdicts.stats.forms import Paired
from harness.verdicts.stats.means import Array, Differences, Interval
from harness.verdicts.stats.sums import ratio

TOLERANCE = 1e-6
"""Largest relative difference between a report's score and the same score recomputed from the report's samples."""

DEFAULT_AGGREGATIONS = ("mean", "ratio")
"""Aggregations to try if a report is too old to name one. The result is checked against the report's score."""


class Refusal(NamedTuple):
    """A score that cannot be compared, and the reason."""

    score: Score
    reason: str


class EarlyStop(NamedTuple):
    """The end of a comparison that read documents, in random order, only until the verdict was clear."""

    interval: Interval | None
    """The confidence sequence of the difference, in the metric's own unit. Unlike the mean, it is valid at any stop."""
    documents: int
    """Number of all documents. `Comparison.documents` is the number of documents that were read."""


@dataclass(frozen=True)
class Comparison:
    """One score of a baseline and a candidate, on the documents that both answered."""

    score: Score
    """The baseline's score, which identifies the task, the metric and the filter."""
    values: Differences | Corpora = field(repr=False)
    """Both checkpoints' values on the documents, converted so that more is better."""
    documents: int
    """Number of documents compared."""
    left_out: int
    """Number of documents that only one checkpoint answered, or for which only one report has a value."""
    tainted: Comparison | None = None
    """A comparison of the same score on the documents seen in training. The comparison itself leaves them out."""
    answers: tuple[Ledger, Ledger] | None = None
    """How the baseline's and the candidate's answers ended (`harness.reports.ledger`); None if nobody looked it up."""
    early_stop: EarlyStop | None = None
    """The early stop; None if all documents were read. After an early stop, `difference` is biased and not
    displayed."""

    @functools.cached_property
    def baseline(self) -> float:
        """The baseline's score, in the metric's own unit."""
        return self._in_metric_unit(self.values.scores[0])

    @functools.cached_property
    def candidate(self) -> float:
        """The candidate's score, in the metric's own unit."""
        return self._in_metric_unit(self.values.scores[1])

    @property
    def difference(self) -> float:
        """Candidate minus baseline, in the metric's own unit; if less is better, a difference above 0 is a loss."""
        return self.values.difference if self.score.higher_is_better else -self.values.difference

    @functools.cached_property
    def interval(self) -> Interval | None:
        """The 95 % interval of the difference; None if the variance of the difference cannot be estimated."""
        if self.early_stop:
            return self.early_stop.interval
        interval = self.values.interval(0.95)
        if interval is None or self.score.higher_is_better:
            return interval
        return Interval(-interval.high, -interval.low)

    @functools.cached_property
    def p_value(self) -> float:
        """Two-sided p-value of the hypothesis that there is no difference."""
        return min(1.0, 2 * min(self.values.p_loss, self.values.p_gain))

    @functools.cached_property
    def documents_needed(self) -> float:
        """Number of documents needed to detect the difference, in a two-sided 5 % test with a power of 80 %."""
        return self.values.needed_to_tell()

    @property
    def resolution(self) -> float:
        """The resolution ratio: documents compared / documents needed (arXiv 2605.30315). 1 or more is enough."""
        return self.documents / self.documents_needed if self.documents_needed else math.inf

    @property
    def clusters(self) -> int | None:
        """Number of clusters of documents; None if every document is its own cluster."""
        return None if self.values.clusters is None else self.values.units

    def _in_metric_unit(self, value: float) -> float:
        if self.score.higher_is_better:
            return value
        return 1 - value if self.score.fraction and isinstance(self.values, Differences) else -value


class Comparator:
    """The reports of a baseline and a candidate; the samples of each task are read and joined once."""

    def __init__(self, baseline: Report, candidate: Report, read: pairs.Read = pairs.read_samples) -> None:
        self.baseline, self.candidate, self._read = baseline, candidate, read
        self._candidate_keys = {Key.of(score) for score in candidate.manifest.scores}
        self._joined: dict[str, dict[str, Pairs] | IncomparableError] = {}

    def compare_all(self, scores: Sequence[Score]) -> Iterator[Comparison | Refusal]:
        """Yield a comparison, or the reason why it is impossible, for each of the baseline's `scores`."""
        for score in scores:
            try:
                yield self.compare(score)
            except IncomparableError as error:
                yield Refusal(score, str(error))

    def compare(self, score: Score) -> Comparison:
        """Compare `score`, one of the baseline's scores, with the same score of the candidate.

        Raises IncomparableError if the scores cannot be compared, and HarnessError if a report is damaged.
        """
        baseline, candidate = (ledger.of_score(side.manifest, score) for side in (self.baseline, self.candidate))
        return replace(self._compare(score), answers=(baseline, candidate))

    def _compare(self, score: Score) -> Comparison:
        self._require_score(score)
        self._require_all_documents(score)
        joined = [self.pairs(task, score.filter) for task in score.members]
        clean = self.untainted_pairs(score)
        if sum(task.n for task in joined) == sum(task.n for task in clean):
            comparison = _compare(score, joined)
            if comparison.left_out:
                self._check_each_report(score)
            else:
                self._check(comparison)
            return comparison
        self._check_each_report(score)
        if not _has_score(score, clean):
            empty = [task.task for task in clean if not task.n]
            raise IncomparableError(f"all documents of {', '.join(empty)} were seen in training")
        tainted = [task.where(task.tainted) for task in joined]
        return _compare(score, clean, tainted=_compare(score, tainted) if _has_score(score, tainted) else None)

    def untainted_pairs(self, score: Score) -> list[Pairs]:
        """Return the documents of `score` that were not seen in training, by task. Raises the errors of `pairs`."""
        joined = [self.pairs(task, score.filter) for task in score.members]
        return [task.where(~task.tainted) for task in joined]

    def pairs(self, task: str, name: str) -> Pairs:
        """Return the documents of `task` in both reports, under the answer filter `name`. Raises as `pairs.join`."""
        if task not in self._joined:
            try:
                self._joined[task] = pairs.join(self.baseline, self.candidate, task, self._read)
            except IncomparableError as error:
                self._joined[task] = error
        by_filter = self._joined[task]
        if isinstance(by_filter, IncomparableError):
            raise by_filter
        if name not in by_filter:
            raise IncomparableError(f"no answers under the filter '{name}' in both reports")
        return by_filter[name]

    def _require_score(self, score: Score) -> None:
        """Raise IncomparableError if the candidate does not have `score`."""
        if Key.of(score) in self._candidate_keys:
            return
        failed = self.candidate.manifest.failed
        if why := failed.get(score.task) or failed.get(f"{score.task} {score.metric}"):
            name = self.candidate.manifest.checkpoint.name
            raise IncomparableError(f"{name} has no {score.metric} for it, because something failed: {why}")
        hint = f": evaluate it on {score.task}, too"
        if self.candidate.manifest.tasks.keys() >= set(score.members):
            hint = ", although it was evaluated: none of its answers has a value, or the metric has another version"
        raise IncomparableError(f"{self.candidate.manifest.checkpoint.name} has no {score.metric} for it{hint}")

    def _require_all_documents(self, score: Score) -> None:
        """Raise IncomparableError if either report holds only the documents that a sequential gate read."""
        for report in (self.baseline, self.candidate):
            tasks = [task for task in score.members if task in report.manifest.tasks]
            for message in filter(None, map(report.manifest.early_stop, tasks)):
                raise IncomparableError(f"{report.manifest.checkpoint.name}'s {message}: evaluate it on all of them")

    def _check(self, comparison: Comparison) -> None:
        """Raise IncomparableError if a report's samples do not give its score, because the metric may be misnamed."""
        score = comparison.score
        if comparison.documents == sum(self.pairs(task, score.filter).n for task in score.members):
            _require_agreement(self.baseline, score, comparison.baseline)
            _require_agreement(self.candidate, score, comparison.candidate)

    def _check_each_report(self, score: Score) -> None:
        """Check each report's score on all of its documents, like `_check`, if the comparison leaves documents out."""
        for report in (self.baseline, self.candidate):
            reported = _reported_score(report, score)
            joined = [pairs.join(report, report, task, self._read)[reported.filter] for task in reported.members]
            comparison = _compare(reported, joined)
            if comparison.documents == sum(task.n for task in joined):
                _require_agreement(report, score, comparison.baseline)


def _require_agreement(report: Report, score: Score, recomputed: float) -> None:
    reported = _reported_score(report, score).value
    slack = max(TOLERANCE, forms.rounding(score.aggregation))
    if not math.isclose(recomputed, reported, rel_tol=TOLERANCE, abs_tol=slack):
        raise IncomparableError(
            f"the samples of {report.folder.name} give {recomputed:.6g}, but its score is {reported:.6g}"
        )


def _reported_score(report: Report, score: Score) -> Score:
    return next(candidate for candidate in report.manifest.scores if Key.of(candidate) == Key.of(score))


class WeightedDifferences(NamedTuple):
    """The values of two checkpoints on some documents, and the documents' weights, for a score that is a mean."""

    differences: Differences
    weights: Array | None
    """The weight of each document; `differences` are already multiplied by it. None if all weights are 1."""


def weighted_differences(score: Score, joined: Sequence[Pairs], sizes: Mapping[str, int]) -> WeightedDifferences | None:
    """Return the differences on the documents of `joined`, with their weights; None if `score` is not a mean.

    `joined` may hold only some of the documents of each task; `sizes` are the numbers of all documents, by task. Raises
    IncomparableError for the same reasons as `Comparator.compare`.
    """
    parts = [_paired(score, task) for task in joined]
    valued = [task.where(part.kept) for task, part in zip(joined, parts, strict=True)]
    weights = _weights(score, valued, sizes)
    differences = _means(score, parts, pairs.cluster_numbers(valued), weights)
    return None if differences is None else WeightedDifferences(differences, weights)


def document_weights(score: Score, sizes: Mapping[str, int]) -> dict[str, float]:
    """Return the weight of one document of each task. `sizes` are the tasks' numbers of documents.

    The mean weight of all documents is 1. In a mean over tasks, documents of small tasks weigh more.
    """
    average = sum(sizes.values()) / len(sizes)
    return {task: average / size if score.average == "task" else 1.0 for task, size in sizes.items()}


def _weights(score: Score, joined: Sequence[Pairs], sizes: Mapping[str, int]) -> Array | None:
    if score.average != "task":
        return None
    by_task = document_weights(score, sizes)
    return np.repeat([by_task[task.task] for task in joined], [task.n for task in joined])


def _has_score(score: Score, joined: Sequence[Pairs]) -> bool:
    """Return whether `joined` has enough documents to compute `score`: a mean over tasks needs some of every task."""
    return (all if score.average == "task" else any)(task.n for task in joined)


def _compare(score: Score, joined: Sequence[Pairs], tainted: Comparison | None = None) -> Comparison:
    parts = [_paired(score, task) for task in joined]
    valued = [task.where(part.kept) for task, part in zip(joined, parts, strict=True)]
    sizes = {task.task: task.n for task in valued}
    if not _has_score(score, valued):
        raise IncomparableError("no document has a value in both reports")
    clusters = pairs.cluster_numbers(valued)
    values: Differences | Corpora | None = _means(score, parts, clusters, _weights(score, valued, sizes))
    if values is None:
        by_task = document_weights(score, sizes)
        shares = np.array([by_task[task.task] * task.n for task in valued]) / sum(sizes.values())
        values = _corpora(score, parts, clusters, shares)
    left_out = sum(task.left_out + _valued_once(score, task) for task in joined)
    return Comparison(score, values, sum(sizes.values()), left_out, tainted)


def _valued_once(score: Score, joined: Pairs) -> int:
    """Return how many documents have a value in one report only, for example because a checkpoint abstained."""
    missing = [pc.is_null(side[score.metric], nan_is_null=True) for side in (joined.baseline, joined.candidate)]
    return int(pc.sum(pc.xor(*missing)).as_py() or 0)


def _paired(score: Score, joined: Pairs) -> Paired:
    columns = []
    for side in (joined.baseline, joined.candidate):
        if score.metric not in side.column_names:
            raise IncomparableError(f"samples of {joined.task} have no {score.metric}")
        columns.append(side[score.metric].to_pandas().to_numpy())
    try:
        aggregations = [score.aggregation] if score.aggregation else DEFAULT_AGGREGATIONS
        paired = next(filter(None, (forms.paired(aggregation, *columns) for aggregation in aggregations)), None)
    except ValueError as error:
        raise IncomparableError(f"{joined.task}: {error}") from error
    if paired is None:
        raise IncomparableError(f"{score.metric} is not a sum over documents, so there is no paired test for it")
    return paired


def _means(
    score: Score, parts: Sequence[Paired], clusters: Integers | None, weights: Array | None
) -> Differences | None:
    """Join the documents of all `parts` into one mean; None if the metric of a part is not a mean."""
    if any(part.metric is not None for part in parts):
        return None

    def side(values: Sequence[Array]) -> Array:
        flat = np.concatenate(values)
        if not score.higher_is_better:
            flat = 1 - flat if score.fraction else -flat
        return flat if weights is None else flat * weights

    span = None if weights is None else float(weights.max())
    baseline, candidate = side([part.baseline for part in parts]), side([part.candidate for part in parts])
    return Differences(baseline, candidate, clusters, span)


def _corpora(score: Score, parts: Sequence[Paired], clusters: Integers | None, weights: Array) -> Corpora:
    """Return the statistics of `parts` side by side. Their joint metric is the weighted mean of the parts' metrics."""
    widths = [1 if part.metric is None else part.baseline.shape[1] for part in parts]
    ends = np.cumsum([width + (part.metric is None) for width, part in zip(widths, parts, strict=True)])
    metrics = [part.metric or ratio for part in parts]

    def side(values: Sequence[Array]) -> Array:
        blocks = [np.column_stack([block, np.ones(len(block))]) if block.ndim == 1 else block for block in values]
        table = np.zeros((sum(map(len, blocks)), int(ends[-1])))
        row = 0
        for block, end in zip(blocks, ends, strict=True):
            table[row : row + len(block), end - block.shape[1] : end] = block
            row += len(block)
        return table

    corpus_metric = metrics[0] if len(parts) == 1 else _weighted_mean(metrics, ends, weights)
    oriented = corpus_metric if score.higher_is_better else lambda sums: -corpus_metric(sums)
    baseline, candidate = side([part.baseline for part in parts]), side([part.candidate for part in parts])
    return Corpora(baseline, candidate, oriented, clusters)


def _weighted_mean(metrics: Sequence[Metric], ends: npt.NDArray[np.int64], weights: Array) -> Metric:
    starts = [0, *ends[:-1]]

    def corpus_metric(sums: Array) -> Array:
        pieces = zip(metrics, starts, ends, weights, strict=True)
        values = [weight * metric(sums[:, start:end]) for metric, start, end, weight in pieces]
        return np.asarray(np.sum(values, axis=0), dtype=np.float64)

    return corpus_metric
