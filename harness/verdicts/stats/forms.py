"""What two reports' samples of a task hold under a metric → numbers that can be compared document by document.

Where the metric is a mean, a document has one number. Else it has sufficient statistics, whose sums over any documents
make the metric of these. Which they are follows from the name of the aggregation and from the form of the values: as
functions of different tasks have one name, a name alone decides nothing.

None is what has no such statistics: distinct-n is of the union of all texts' words, a standard deviation over seeds
(`…_sd`) of the seeds, a median of the order of documents, `bypass` no number at all; nor has a function that is not
known here.

Not here: which documents belong together (`harness.verdicts.pairs`), or what follows (`paired`, `corpus`).
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
from harness.verdicts.stats import sums
from harness.verdicts.stats.corpora import Metric
from harness.verdicts.stats.means import Array

Column: TypeAlias = "npt.NDArray[np.float64] | Sequence[str | None]"
"""A metric's column of a report, a value a document: numbers, NaN where there is none, or JSON, None where there is
none. A report holds no score whose values are really NaN."""

MOST_LABELS = 100
"""Labels of answers beyond which they are free texts, and are not counted one by one."""


@dataclass(frozen=True)
class Paired:
    """A metric of the documents that have a value in both reports, in its own unit and direction."""

    kept: npt.NDArray[np.bool_]
    """Which of the joined documents those are."""
    baseline: Array
    """A number a document where the metric is a mean, else a row of statistics."""
    candidate: Array
    metric: Metric | None
    """None for a mean; else from sums of statistics, a row a corpus, to the metric of each."""

    @cached_property
    def scores(self) -> tuple[float, float]:
        """The metric over all documents kept, of the baseline and of the candidate; NaN where none is kept.

        Where all documents are kept, these are the reports' own scores, but for `rounding`. Where they are not, another
        function has the name.
        """
        if not len(self.baseline):
            return math.nan, math.nan
        if self.metric is None:
            baseline, candidate = (math.fsum(values) / values.size for values in (self.baseline, self.candidate))
        else:
            baseline, candidate = self.metric(np.stack([self.baseline.sum(axis=0), self.candidate.sum(axis=0)]))
        return float(baseline), float(candidate)


IEPILE_ROUNDING = 0.015
"""How far IEPile's scores lie from those of its sums at most.

It rounds precision and recall to two decimals, and F1, which it computes from these, again. Sums are scored unrounded:
a document's part would be lost in such a step.
"""


def rounding(aggregation: str | None) -> float:
    """Return how far a report's score may lie from `Paired.scores` because it is rounded: 0 for most."""
    return IEPILE_ROUNDING if aggregation in ("f1", "precision", "recall") else 0.0


def paired(aggregation: str | None, baseline: Column, candidate: Column) -> Paired | None:
    """Return what can be compared of two columns of the same documents, in the same order.

    `aggregation` is `Score.aggregation`, the name of the function that makes the task's number. None where the metric
    has no paired statistics, or where none of the values has a form that is known of functions of that name.

    Raises ValueError, its text a sentence, where some values have the form and others do not, or are NaN or infinite.
    """
    values = _values(baseline), _values(candidate)
    if len(values[0]) != len(values[1]):
        raise ValueError(f"{len(values[0]):,} documents were to be compared with {len(values[1]):,}")
    kept = np.array([a is not None and b is not None for a, b in zip(*values, strict=True)], dtype=np.bool_)
    if aggregation is None or aggregation not in _FORMS:
        return None
    sides = [[value for value, keep in zip(side, kept, strict=True) if keep] for side in values]
    if not kept.any():
        return Paired(kept, np.zeros(0), np.zeros(0), None)
    form = _form(aggregation, sides)
    made = form.make(*sides) if form else None
    if made is None:
        return None
    for side in (made.baseline, made.candidate):
        _require_finite(side)
    return Paired(kept, made.baseline, made.candidate, made.metric)


def _values(column: Column) -> list[Any]:
    """Return a document's value each, None where it has none."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        return [None if math.isnan(value) else value for value in column.astype(float).tolist()]
    texts = [text if isinstance(text, str) else "null" for text in column]
    try:
        values = json.loads(f"[{','.join(texts)}]")  # at once, which is several times as fast
        return values if len(values) == len(texts) else [*map(json.loads, texts)]
    except ValueError as error:
        raise ValueError(f"a document's value is not valid JSON ({error})") from error


def _require_finite(values: Array) -> None:
    sound = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if not sound.all():
        raise ValueError(f"{int((~sound).sum()):,} of {len(values):,} documents have a value that is NaN or infinite")


# --- forms of values --------------------------------------------------------------------------------------------------


class _Made(NamedTuple):
    baseline: Array
    candidate: Array
    metric: Metric | None


class _Form(NamedTuple):
    says: str
    """What a value is, for people."""
    fits: Callable[[Any], bool]
    make: Callable[[list[Any], list[Any]], _Made | None]


def _form(aggregation: str, sides: Sequence[list[Any]]) -> _Form | None:
    """Return the form that all values have; None where none has any that is known of the name."""
    total = sum(map(len, sides))
    for form in _FORMS[aggregation]:
        fitting = sum(form.fits(value) for side in sides for value in side)
        if fitting == total:
            return form
        if fitting:
            raise ValueError(f"{total - fitting:,} of {total:,} values are not {form.says}, as the others are")
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_bit_pair(value: Any) -> bool:
    return _is_pair(value) and all(one in (0, 1) for one in value)


def _is_labels(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(one, int | str) for one in value)


def _is_counts(value: Any, *lengths: int) -> bool:
    """Tell whether `value` is lists of so many numbers; 0 is a number by itself."""
    return (
        isinstance(value, list)
        and len(value) == len(lengths)
        and all(
            isinstance(one, list) and len(one) == length and all(map(_is_number, one)) if length else _is_number(one)
            for one, length in zip(value, lengths, strict=True)
        )
    )


def _is_by_type(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_counts(one, 0, 0, 0) for one in value.values())


def _is_part(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], str)
        and all(isinstance(side, list) and all(isinstance(one, list) for one in side) for side in value[1:])
    )


def _is_texts(value: Any) -> bool:
    """Tell whether `value` is lm-eval's (references, prediction)."""
    return isinstance(value, list) and len(value) == 2 and bool(_texts(value[0])) and len(_texts(value[1])) == 1


def _is_probabilities(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], int)
        and isinstance(value[1], list)
        and 0 <= value[0] < len(value[1])
        and all(map(_is_number, value[1]))
    )


# --- what is made of them ---------------------------------------------------------------------------------------------


def _rows(metric: Metric | None, row: Callable[[Any], Any], baseline: list[Any], candidate: list[Any]) -> _Made:
    """Return what every value gives by itself."""
    made = [np.array([row(value) for value in side], dtype=np.float64) for side in (baseline, candidate)]
    return _Made(made[0], made[1], metric)


def _flat(value: Sequence[Any]) -> list[float]:
    return [number for one in value for number in (one if isinstance(one, list) else (one,))]


def _over_one(value: float) -> tuple[float, float]:
    return value, 1.0


def _brier(value: Any) -> float:
    """Return the squared distance of probabilities from the right answer's certainty."""
    right, said = value
    return math.fsum((share - (place == right)) ** 2 for place, share in enumerate(said))


def _by_type(baseline: list[Any], candidate: list[Any]) -> _Made:
    """Return hits, said and wanted of every type that is wanted in any document."""
    wanted = sorted({kind for document in baseline + candidate for kind, counts in document.items() if counts[2]})
    place = {kind: i for i, kind in enumerate(wanted)}

    def table(documents: list[Any]) -> Array:
        found = np.zeros((len(documents), 3, len(wanted)))
        for i, document in enumerate(documents):
            for kind, counts in document.items():
                if kind in place:
                    found[i, :, place[kind]] = counts
        return found.reshape(len(documents), -1)

    return _Made(table(baseline), table(candidate), sums.macro_f1_of_wanted)


def _labels(metric: Metric, baseline: list[Any], candidate: list[Any]) -> _Made | None:
    """Return hits, said and wanted of every label; pairs are (right, said)."""
    labels = sorted({label for pair in baseline + candidate for label in pair}, key=str)
    if len(labels) > MOST_LABELS:
        return None
    place = {label: i for i, label in enumerate(labels)}

    def table(pairs: list[Any]) -> Array:
        wanted, said = np.array([[place[right], place[label]] for right, label in pairs]).T
        found, each = np.zeros((len(pairs), 3, len(labels))), np.arange(len(pairs))
        found[each, 0, wanted] = wanted == said
        found[each, 1, said] = 1
        found[each, 2, wanted] = 1
        return found.reshape(len(pairs), -1)

    return _Made(table(baseline), table(candidate), metric)


def _documents(below: Callable[[int, int], float], above: float, baseline: list[Any], candidate: list[Any]) -> _Made:
    """Return IEPile's counts of a document at the first of the samples that ask about it in parts, 0 at the others.

    So documents stay whole however samples are drawn. `above` hits go by `below` of (said, wanted).
    """
    names = [part[0] for part in baseline]
    if names != [part[0] for part in candidate]:
        raise ValueError("the same documents have other names in the other report")
    first = {name: i for i, name in reversed([*enumerate(names)])}

    def table(parts: list[Any]) -> Array:
        said: dict[str, Counter[Any]] = {name: Counter() for name in first}
        for name, ours, _ in parts:
            said[name].update(map(_hashable, ours))
        found = np.zeros((len(parts), 2))
        for name, i in first.items():
            wanted = Counter(map(_hashable, parts[i][2]))
            hits = (said[name] & wanted).total()
            found[i] = above * hits, below(said[name].total(), wanted.total())
        return found

    return _Made(table(baseline), table(candidate), sums.percentage)


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _texts(value: Any) -> list[str]:
    """Return `value`, a text or a list of them, as a list; an empty one for anything else."""
    listed = value if isinstance(value, list) else [value]
    return listed if all(isinstance(one, str) for one in listed) else []


def _of_texts(
    metric: Metric, count: Callable[[Sequence[str], Sequence[Sequence[str]]], Array], *sides: list[Any]
) -> _Made:
    # As many references as every document has: lm-eval leaves out the rest.
    least = min(len(_texts(references)) for side in sides for references, _ in side)

    def table(pairs: list[Any]) -> Array:
        return count([_texts(said)[0] for _, said in pairs], [_texts(wanted)[:least] for wanted, _ in pairs])

    return _Made(table(sides[0]), table(sides[1]), metric)


def _iepile(below: Callable[[int, int], float], above: float = 1) -> _Form:
    return _Form("a document's name with what was said and wanted", _is_part, partial(_documents, below, above))


def _pairs(metric: Metric) -> _Form:
    return _Form("pairs of numbers", _is_pair, partial(_rows, metric, tuple))


def _labelled(metric: Metric) -> _Form:
    return _Form("pairs of labels", _is_labels, partial(_labels, metric))


def _bits(right: int, said: int) -> tuple[int, int]:
    return 2 * (right and said), right + said


_TEXTS = "references with a prediction"
_MEAN = _Form("numbers", _is_number, partial(_rows, None, float))
_FORMS: Mapping[str, tuple[_Form, ...]] = {
    "mean": (_MEAN,),
    "nanmean": (_MEAN,),
    "ratio": (_pairs(sums.ratio),),
    "macro_f1": (_Form("hits, said and wanted by type", _is_by_type, _by_type),),
    # Ours, each of IEPile's.
    "f1": (_iepile(lambda said, wanted: said + wanted, 2),),
    "precision": (_iepile(lambda said, _: said),),
    "recall": (_iepile(lambda _, wanted: wanted),),
    # Ours of counts (`harness.metrics.text.corpus_bleu`), lm-eval's of texts.
    "bleu": (
        _Form("counts of a BLEU", lambda value: _is_counts(value, 0, 0, 4, 4), partial(_rows, sums.bleu, _flat)),
        _Form(_TEXTS, _is_texts, partial(_of_texts, sums.bleu, lm_eval_counts.bleu)),
    ),
    "chrf": (
        _Form("counts of a chrF", lambda value: _is_counts(value, 6, 6, 6), partial(_rows, sums.chrf, _flat)),
        _Form(_TEXTS, _is_texts, partial(_of_texts, sums.chrf, lm_eval_counts.chrf)),
    ),
    # lm-eval's alone, from here on, by the names of its functions.
    "chrfpp": (_Form(_TEXTS, _is_texts, partial(_of_texts, sums.chrf, partial(lm_eval_counts.chrf, words=2))),),
    "ter": (_Form(_TEXTS, _is_texts, partial(_of_texts, sums.ter, lm_eval_counts.ter)),),
    "perplexity": (_Form("numbers", _is_number, partial(_rows, sums.perplexity, _over_one)),),
    "weighted_perplexity": (_pairs(sums.perplexity),),
    "bits_per_byte": (_pairs(sums.bits),),
    "brier_score": (_Form("probabilities with the right place", _is_probabilities, partial(_rows, None, _brier)),),
    "f1_score": (_Form("pairs of 0 and 1", _is_bit_pair, partial(_rows, sums.ratio, lambda pair: _bits(*pair))),),
    "matthews_corrcoef": (_labelled(sums.matthews),),
    "macro_f1_score": (_labelled(sums.macro_f1),),
    "micro_f1_score": (_labelled(sums.micro_f1),),
    "weighted_f1_score": (_labelled(sums.weighted_f1),),
}
