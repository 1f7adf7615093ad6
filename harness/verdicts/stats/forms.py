"""Paired statistics of a metric in two reports: the form of the values decides how documents are compared.

If the metric is a mean, each document has one number. Otherwise each document has sufficient statistics, whose sums
over any set of documents give the metric of that set. Which statistics these are follows from the name of the
aggregation and the form of the values; the name of the aggregation alone is not enough, because functions of different
tasks share names.

Some metrics have no such statistics: distinct-n depends on the union of the words of all texts, a standard deviation
over seeds (`…_sd`) on the seeds, a median on the order of the documents; `bypass` is not a score at all. Functions that
are not in `_FORMS` have none either.

Not here: which documents belong together (`harness.verdicts.pairs`); tests and intervals
(`harness.verdicts.stats.means`, `harness.verdicts.stats.corpora`).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.metrics.text import lm_eval_counts
from harness.verdicts.stats import shapes, sums
from harness.verdicts.stats.corpora import Metric
from harness.verdicts.stats.means import Array

Column: TypeAlias = "npt.NDArray[np.float64] | Sequence[str | None]"
"""A metric's column of a report, one value per document: numbers, with NaN for a missing value, or JSON texts, with
None for a missing value. No score of a report has values that are really NaN."""

MOST_LABELS = 100
"""The most distinct labels that are counted; answers with more are taken to be free texts."""


@dataclass(frozen=True)
class Paired:
    """A metric's values or statistics for the documents that have a value in both reports, in the metric's own unit."""

    kept: npt.NDArray[np.bool_]
    """Which of the joined documents have a value in both reports."""
    baseline: Array
    """One number per document if the metric is a mean; otherwise one row of sufficient statistics per document."""
    candidate: Array
    metric: Metric | None
    """The function from sums of statistics, one row per corpus, to one metric per row; None for a mean."""

    @cached_property
    def scores(self) -> tuple[float, float]:
        """The metric over all documents kept, of the baseline and of the candidate; NaN if none is kept.

        If all documents are kept, both should equal the reports' scores up to `rounding`. If they do not, the
        aggregation is a different function of the same name.
        """
        if not len(self.baseline):
            return math.nan, math.nan
        if self.metric is None:
            baseline, candidate = (math.fsum(values) / values.size for values in (self.baseline, self.candidate))
        else:
            baseline, candidate = self.metric(np.stack([self.baseline.sum(axis=0), self.candidate.sum(axis=0)]))
        return float(baseline), float(candidate)


IEPILE_ROUNDING = 0.015
"""Largest distance of IEPile's scores, in percent, from unrounded scores of the same sums of counts.

IEPile rounds precision and recall to two decimals, computes F1 from the rounded values, and rounds F1 again. Here
scores are not rounded, because rounding would hide the contribution of a single document.
"""


def rounding(aggregation: str | None) -> float:
    """Return how far a report's score may lie from `Paired.scores` because of rounding: 0 for most aggregations."""
    return IEPILE_ROUNDING if aggregation in ("f1", "precision", "recall") else 0.0


def paired(aggregation: str | None, baseline: Column, candidate: Column) -> Paired | None:
    """Return the paired values or statistics of two columns of the same documents, in the same order.

    `aggregation` is `Score.aggregation`, the name of the function that computes the task's score. Returns None if the
    metric has no paired statistics, or if no value has a form that is known for functions of that name.

    Raises ValueError, with a sentence as its message, if only some values have such a form, or any is NaN or infinite.
    """
    values = _values(baseline), _values(candidate)
    if len(values[0]) != len(values[1]):
        raise ValueError(f"the columns differ in length: {len(values[0]):,} and {len(values[1]):,} documents")
    in_both = np.array([a is not None and b is not None for a, b in zip(*values, strict=True)], dtype=np.bool_)
    if aggregation is None or aggregation not in _FORMS:
        return None
    sides = [[value for value, keep in zip(side, in_both, strict=True) if keep] for side in values]
    if not in_both.any():
        return Paired(in_both, np.zeros(0), np.zeros(0), None)
    statistics = _statistics(aggregation, sides)
    if statistics is None:
        return None
    first, second = statistics.sides
    return Paired(in_both, first, second, statistics.metric)


@dataclass(frozen=True)
class ByDocument:
    """A metric's values or statistics for each document of several reports, in the metric's own unit."""

    has_value: list[npt.NDArray[np.bool_]]
    """For each report, which of its documents have a value."""
    sides: list[Array]
    """For each report with values, one number or one row of sufficient statistics for each document with a value."""
    metric: Metric | None
    """The function from sums of statistics, one row per corpus, to one metric per row; None for a mean."""


def by_document(aggregation: str | None, columns: Sequence[Column]) -> ByDocument | None:
    """Return the values or statistics of the documents in `columns`, one column per report.

    Any two of the reports can be compared with them as with `paired`. None if the metric has no paired statistics, or
    if the statistics of a document depend on which other documents are compared. Raises ValueError as `paired` does.
    """
    if aggregation is None or aggregation not in _FORMS:
        return None
    values = [_values(column) for column in columns]
    has_value = [np.array([value is not None for value in side], dtype=np.bool_) for side in values]
    if aggregation in _OF_WHOLE_DOCUMENTS and not all(side.all() for side in has_value):
        return None
    sides = [kept for side in values if (kept := [value for value in side if value is not None])]
    statistics = _statistics(aggregation, sides) if sides else None
    return None if statistics is None else ByDocument(has_value, list(statistics.sides), statistics.metric)


def _statistics(aggregation: str, sides: Sequence[list[Any]]) -> _Statistics | None:
    """Return the statistics of the values of each side; None without paired statistics. Raises ValueError."""
    form = _form(aggregation, sides)
    statistics = form.statistics(*sides) if form else None
    for side in statistics.sides if statistics else ():
        _require_finite(side)
    return statistics


def _values(column: Column) -> list[Any]:
    """Return the value of each document in `column`, or None for a document without a value."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        return [None if math.isnan(value) else value for value in column.astype(float).tolist()]
    texts = [text if isinstance(text, str) else "null" for text in column]
    try:
        values = json.loads(f"[{','.join(texts)}]")  # one call, which is several times as fast
        return values if len(values) == len(texts) else [*map(json.loads, texts)]
    except ValueError as error:
        raise ValueError(f"a document's value is not valid JSON ({error})") from error


def _require_finite(values: Array) -> None:
    is_finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if not is_finite.all():
        raise ValueError(
            f"{int((~is_finite).sum()):,} of {len(values):,} documents have a value that is NaN or infinite"
        )


# --- forms of values --------------------------------------------------------------------------------------------------


class _Statistics(NamedTuple):
    """The values or statistics of each side, as `Paired` has them of baseline and candidate."""

    sides: tuple[Array, ...]
    metric: Metric | None


class _Form(NamedTuple):
    """A form that the values of an aggregation (a function from samples to a score) may have."""

    description: str
    """What values of this form are, as a plural noun for messages."""
    fits: Callable[[Any], bool]
    """Returns whether a value has the form."""
    statistics: Callable[..., _Statistics | None]
    """Returns the statistics of the values of each side, a list per argument; None if there are too many labels."""


def _form(aggregation: str, sides: Sequence[list[Any]]) -> _Form | None:
    """Return the form that all values of both `sides` have; None if `aggregation` has no form for any of them.

    Raises ValueError if some values have such a form and others do not.
    """
    total = sum(map(len, sides))
    for form in _FORMS[aggregation]:
        fitting = sum(form.fits(value) for side in sides for value in side)
        if fitting == total:
            return form
        if fitting:
            raise ValueError(f"{total - fitting:,} of {total:,} values are not {form.description}, unlike the others")
    return None


# --- statistics of values ---------------------------------------------------------------------------------------------


def _rows(metric: Metric | None, row: Callable[[Any], Any], *sides: list[Any]) -> _Statistics:
    """Return statistics with one row per document: what the function `row` returns for the document's value."""
    return _Statistics(tuple(np.array([row(value) for value in side], dtype=np.float64) for side in sides), metric)


def _flat(value: Sequence[Any]) -> list[float]:
    return [number for item in value for number in (item if isinstance(item, list) else (item,))]


def _with_count(value: float) -> tuple[float, float]:
    return value, 1.0


def _brier(value: Any) -> float:
    """Return the squared distance of the choices' probabilities from 1 for the right choice and 0 for every other."""
    right, probabilities = value
    return math.fsum((share - (place == right)) ** 2 for place, share in enumerate(probabilities))


def _by_type(*sides: list[Any]) -> _Statistics:
    """Return the numbers of hits, predictions and expectations, by document, of each type that any document expects."""
    types = sorted({name for side in sides for document in side for name, counts in document.items() if counts[2]})
    place = {name: i for i, name in enumerate(types)}

    def table(documents: list[Any]) -> Array:
        counts_table = np.zeros((len(documents), 3, len(types)))
        for i, document in enumerate(documents):
            for name, counts in document.items():
                if name in place:
                    counts_table[i, :, place[name]] = counts
        return counts_table.reshape(len(documents), -1)

    return _Statistics(tuple(map(table, sides)), sums.macro_f1_of_expected)


def _labels(metric: Metric, *sides: list[Any]) -> _Statistics | None:
    """Return the numbers of hits, predictions and expectations of every label; values are (expected, predicted).

    None if there are more than `MOST_LABELS` labels.
    """
    labels = sorted({label for side in sides for pair in side for label in pair}, key=str)
    if len(labels) > MOST_LABELS:
        return None
    place = {label: i for i, label in enumerate(labels)}

    def table(pairs: list[Any]) -> Array:
        expected, predicted = np.array([[place[right], place[label]] for right, label in pairs]).T
        counts, rows = np.zeros((len(pairs), 3, len(labels))), np.arange(len(pairs))
        counts[rows, 0, expected] = expected == predicted
        counts[rows, 1, predicted] = 1
        counts[rows, 2, expected] = 1
        return counts.reshape(len(pairs), -1)

    return _Statistics(tuple(map(table, sides)), metric)


def _whole_documents(denominator: Callable[[int, int], float], factor: float, *sides: list[Any]) -> _Statistics:
    """Return IEPile's counts: all counts of a document in the row of its first sample, and 0 in its other rows.

    IEPile asks about a document in several samples; in this form, documents stay whole however samples are drawn. The
    numerator is `factor` times the hits. The function `denominator` computes the denominator from (predictions,
    expectations).
    """
    names = [part[0] for part in sides[0]]
    if any(names != [part[0] for part in side] for side in sides):
        raise ValueError("the same documents have different names in the other report")
    first = {name: i for i, name in reversed([*enumerate(names)])}

    def table(parts: list[Any]) -> Array:
        predicted: dict[str, Counter[Any]] = {name: Counter() for name in first}
        for name, predictions, _ in parts:
            predicted[name].update(map(_hashable, predictions))
        counts = np.zeros((len(parts), 2))
        for name, i in first.items():
            expected = Counter(map(_hashable, parts[i][2]))
            hits = (predicted[name] & expected).total()
            counts[i] = factor * hits, denominator(predicted[name].total(), expected.total())
        return counts

    return _Statistics(tuple(map(table, sides)), sums.percentage)


def _hashable(value: object) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _of_texts(
    metric: Metric, count: Callable[[Sequence[str], Sequence[Sequence[str]]], Array], *sides: list[Any]
) -> _Statistics:
    # Use as many references as every document has, because lm-eval ignores the rest.
    references_used = min(len(shapes.texts(references)) for side in sides for references, _ in side)

    def table(pairs: list[Any]) -> Array:
        predictions = [shapes.texts(prediction)[0] for _, prediction in pairs]
        return count(predictions, [shapes.texts(references)[:references_used] for references, _ in pairs])

    return _Statistics(tuple(map(table, sides)), metric)


def _iepile(denominator: Callable[[int, int], float], factor: float = 1) -> _Form:
    description = "a document's name with predictions and expectations"
    return _Form(description, shapes.is_part, partial(_whole_documents, denominator, factor))


def _pairs(metric: Metric) -> _Form:
    return _Form("pairs of numbers", shapes.is_pair, partial(_rows, metric, tuple))


def _labelled(metric: Metric) -> _Form:
    return _Form("pairs of labels", shapes.is_labels, partial(_labels, metric))


def _binary_f1_counts(expected: int, predicted: int) -> tuple[int, int]:
    return 2 * (expected and predicted), expected + predicted


_OF_WHOLE_DOCUMENTS = ("f1", "precision", "recall")
"""Aggregations that may be IEPile's, where the row of a document's first sample has the counts of all its samples."""
_TEXTS = "references with a prediction"
_MEAN = _Form("numbers", shapes.is_number, partial(_rows, None, float))
_FORMS: Mapping[str, tuple[_Form, ...]] = {
    "mean": (_MEAN,),
    "nanmean": (_MEAN,),
    "ratio": (_pairs(sums.ratio),),
    "macro_f1": (_Form("hits, predictions and expectations by type", shapes.is_by_type, _by_type),),
    # The harness's own, as IEPile defines them.
    "f1": (_iepile(lambda predicted, expected: predicted + expected, 2),),
    "precision": (_iepile(lambda predicted, _: predicted),),
    "recall": (_iepile(lambda _, expected: expected),),
    # The harness's own with counts (`harness.metrics.text.corpus_bleu`), and lm-eval's with texts.
    "bleu": (
        _Form("counts of a BLEU", lambda value: shapes.is_counts(value, 0, 0, 4, 4), partial(_rows, sums.bleu, _flat)),
        _Form(_TEXTS, shapes.is_texts, partial(_of_texts, sums.bleu, lm_eval_counts.bleu)),
    ),
    "chrf": (
        _Form("counts of a chrF", lambda value: shapes.is_counts(value, 6, 6, 6), partial(_rows, sums.chrf, _flat)),
        _Form(_TEXTS, shapes.is_texts, partial(_of_texts, sums.chrf, lm_eval_counts.chrf)),
    ),
    # From here on only lm-eval's, by the names of its functions.
    "chrfpp": (_Form(_TEXTS, shapes.is_texts, partial(_of_texts, sums.chrf, partial(lm_eval_counts.chrf, words=2))),),
    "ter": (_Form(_TEXTS, shapes.is_texts, partial(_of_texts, sums.ter, lm_eval_counts.ter)),),
    "perplexity": (_Form("numbers", shapes.is_number, partial(_rows, sums.perplexity, _with_count)),),
    "weighted_perplexity": (_pairs(sums.perplexity),),
    "bits_per_byte": (_pairs(sums.bits),),
    "brier_score": (
        _Form("probabilities with the right place", shapes.is_probabilities, partial(_rows, None, _brier)),
    ),
    "f1_score": (
        _Form(
            "pairs of 0 and 1", shapes.is_bit_pair, partial(_rows, sums.ratio, lambda pair: _binary_f1_counts(*pair))
        ),
    ),
    "matthews_corrcoef": (_labelled(sums.matthews),),
    "macro_f1_score": (_labelled(sums.macro_f1),),
    "micro_f1_score": (_labelled(sums.micro_f1),),
    "weighted_f1_score": (_labelled(sums.weighted_f1),),
}
