"""Whether the references in a column of recorded lines belong to the documents that the lines answer.

If a column of references is in another order than the documents, or belongs to another test set, several lines hold
different references of other documents. A single such line may be a correction. In a column that may hold the model's
answers (`answer`, `output`), a wrong answer may happen to be the right answer to another document. In such a column,
another order shows only if references differ from one another, or are shifted by a few lines.

Not here: the forms of a reference (`harness.recorded.references`), or questions (`harness.recorded.questions`).
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from harness.recorded import references
from harness.recorded.columns import REFERENCES, Value, contradiction, difference
from harness.recorded.references import Reading, is_same, key
from harness.tasks.task import Task

_DISTINCT = 12
"""References with this many characters or more are hardly ever the same for two documents by chance."""
_CUT = 3
"""A text with this many characters or more may be the beginning of a reference that was cut."""
_LONGEST_SHIFT = 5
"""The largest number of lines by which a file may be shifted against the data and still be recognised as shifted."""
_FEW = 5
"""In a file with fewer lines than this, wrong answers may look by chance like right answers in another order."""
_MANY_TEXTS = 8
"""If this many different texts or more appear in another order, that is no coincidence."""


class Owners:
    """For each reference, written in one form: the documents that have it."""

    def __init__(self, reading: Reading) -> None:
        self._places: dict[str, list[int]] = {}
        for place, accepted in enumerate(reading):
            for expected in {key(text) for text in accepted}:
                self._places.setdefault(expected, []).append(place)
        self._sorted = sorted(self._places)

    def __contains__(self, texts: Sequence[str]) -> bool:
        return any(key(text) in self._places for text in texts)

    def only_owner(self, texts: Sequence[str]) -> int | None:
        """Return the place of the only document with one of the references `texts`, or None if there is not just one.

        A text that is no document's reference may be a reference that was cut. Time grows with the logarithm of the
        number of documents.
        """
        whole, *items = texts
        owners = {*self._first_two(whole)} or {place for item in items for place in self._first_two(item)}
        return owners.pop() if len(owners) == 1 else None

    def _first_two(self, text: str) -> list[int]:
        places = self._places.get(key(text), [])[:2]
        if not places and len(text) >= _CUT:  # ChatGLM's script cuts references
            first = bisect.bisect_left(self._sorted, text)
            longer = [expected for expected in self._sorted[first : first + 2] if expected.startswith(text)]
            is_cut = len(longer) == 1 and is_same(text, longer[0])
            return self._places[longer[0]][:2] if is_cut else []
        return places


class _Comparison(NamedTuple):
    """A column of recorded references, compared with the references of a task, written in one form."""

    values: Sequence[Value]
    texts: Sequence[Sequence[str]]
    """The recorded texts of each line: the whole reference, and its items if it is a list."""
    different: list[int]
    """The indices of the lines whose reference differs from their document's."""
    owners: Owners
    reading: Reading

    @property
    def distance(self) -> int:
        """The number of lines that differ; lines whose text is not the reference of any document count twice."""
        return len(self.different) + sum(self.texts[index] not in self.owners for index in self.different)

    def expected(self, index: int) -> Sequence[str]:
        """Return the references of the document that the line at `index` answers."""
        return self.reading[self.values[index].place]


def compare(task: Task, column: str, values: Sequence[Value]) -> list[str] | None:
    """Return the notes on `values`, a column of references; None if the column holds no references of the task.

    Raises HarnessError if the values are the references of other documents.
    """
    values = sorted((value for value in values if references.text(value.value)), key=lambda value: value.place)
    forms = references.readings(task) if values else []
    if not forms:
        return None
    texts = [references.texts(value.value) for value in values]

    comparisons = sorted((_comparison(values, texts, form) for form in forms), key=lambda form: form.distance)
    different = comparisons[0].different
    is_named = column.lower() in REFERENCES
    # Where most references differ in every form, none of the forms is certain to be that of the column.
    for comparison in comparisons if 2 * len(different) > len(values) else comparisons[:1]:
        index = first_displaced(comparison, is_named=is_named)
        if index is not None:
            place = comparison.owners.only_owner(texts[index])
            other = "the reference of another document" if place is None else f"the reference of document {place}"
            raise contradiction(values[index], column, other, task.name)
    if len(different) == len(values) and not is_named:
        return None
    return difference(task.name, column, [values[index] for index in different], len(values), "reference")


def _comparison(values: Sequence[Value], texts: Sequence[Sequence[str]], reading: Reading) -> _Comparison:
    different = [i for i, value in enumerate(values) if not _agrees(texts[i], reading[value.place])]
    return _Comparison(values, texts, different, Owners(reading), reading)


def first_displaced(comparison: _Comparison, *, is_named: bool) -> int | None:
    """Return the index of the first misplaced line if references evidently belong to other documents, else None.

    `is_named` says whether the column holds references and nothing else.
    """
    different, owners = comparison.different, comparison.owners
    owned = {index: owner for index in different if (owner := owners.only_owner(comparison.texts[index])) is not None}
    evidence = [
        _change_places(comparison, owned, is_named=is_named),
        _are_of_others(comparison, owned, is_named=is_named),
        is_named and _are_in_other_order(comparison),
        _is_shifted(comparison, is_named=is_named),
    ]
    return next(iter(owned), different[0]) if different and any(evidence) else None


def _change_places(comparison: _Comparison, owned: dict[int, int], *, is_named: bool) -> bool:
    """Return whether the lines that differ have exchanged their references, each of which only one document has."""
    values, different = comparison.values, comparison.different
    if len(different) < 2 or {values[index].place for index in different} != {*owned.values()}:
        return False
    first = [comparison.texts[index][0] for index in range(len(values))]
    return is_named or (len(values) >= _FEW and len({*first}) == len(values))


def _are_of_others(comparison: _Comparison, owned: dict[int, int], *, is_named: bool) -> bool:
    """Return whether most of the lines that differ hold references of other documents."""
    values, texts, different = comparison.values, comparison.texts, comparison.different
    total, places = len(values), {*owned.values()}  # an answer that recurs has one owner in several lines
    long = {owner for index, owner in owned.items() if len(texts[index][0]) >= _DISTINCT}
    has_many = len(long) >= min(2, total) and 2 * len(long) >= len(different)
    has_many = has_many and (is_named or (len(long) >= 2 and 2 * len(different) >= total))
    share = 0.5 if is_named else 0.9  # short answers may be those of other documents by chance
    has_most = 2 * len(places) >= total and len(places) >= max(2, share * len(different))
    has_most = has_most and (is_named or total >= _FEW)
    foreign = [texts[index][0] for index in different if texts[index] in comparison.owners]
    is_foreign = is_named and total >= 4 and 2 * len(foreign) > total and len({*foreign}) >= 2
    return has_many or has_most or (is_foreign and not _has_other_labels(comparison))


def _has_other_labels(comparison: _Comparison) -> bool:
    """Return whether the column has other labels than the task, one for each reference, such as 0 to 4 for 1 to 5."""
    if all(texts in comparison.owners for texts in comparison.texts):
        return False
    pairs = {(texts[0], *comparison.expected(index)[:1]) for index, texts in enumerate(comparison.texts)}
    return len({pair[0] for pair in pairs}) == len({pair[1:] for pair in pairs}) == len(pairs)


def _are_in_other_order(comparison: _Comparison) -> bool:
    """Return whether the lines that differ have, together, the references of their documents, but in another order.

    If there are few different references, at least half as many lines must differ as would in a random order.
    """
    texts = [key(comparison.texts[index][0]) for index in comparison.different]
    expected = [key(next(iter(comparison.expected(index)), "")) for index in comparison.different]
    if len(texts) < 2 or Counter(texts) != Counter(expected):
        return False
    total = len(comparison.values)
    counts = Counter(key(next(iter(comparison.expected(index)), "")) for index in range(total))
    by_chance = total - sum(count * count for count in counts.values()) / total
    return len({*texts}) >= _MANY_TEXTS or len(texts) >= max(3, math.ceil(by_chance / 2))


def _is_shifted(comparison: _Comparison, *, is_named: bool) -> bool:
    """Return whether every line has the reference of the document a few places before or after its own."""
    values, texts, reading = comparison.values, comparison.texts, comparison.reading
    is_flipped = len({line[0] for line in texts}) == 2 and len(comparison.different) == len(values)
    if 4 * len(comparison.different) < len(values) or (not is_named and is_flipped):
        return False
    for shift in (shift for step in range(1, _LONGEST_SHIFT + 1) for shift in (step, -step)):
        inside = [index for index, value in enumerate(values) if 0 <= value.place + shift < len(reading)]
        variety = len({texts[index][0] for index in inside})
        if variety == len(inside):
            is_long = variety >= (3 if is_named else _FEW - 1)
        else:  # labels in groups, of which few lines differ, are no shift
            is_long = len(inside) >= (_FEW if is_named else 2 * _FEW) and len(comparison.different) >= 3
        if is_long and variety > 1 and all(_agrees(texts[i], reading[values[i].place + shift]) for i in inside):
            return True
    return False


def _agrees(recorded: Sequence[str], accepted: Sequence[str]) -> bool:
    """Return whether one of the `recorded` texts of a line is one of the `accepted` texts."""
    return any(is_same(text, expected) for text in recorded for expected in accepted)
